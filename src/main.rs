//! The program `scatter`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The HTTP client panics without a provider; it fails only if there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    scatter::cli::main()
}
