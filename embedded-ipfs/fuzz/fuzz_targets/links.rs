#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = embedded_ipfs::fuzzing::links(bytes);
});
