//! Questions to a person at a terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{tcgetattr, tcsetattr, LocalModes, OptionalActions, Termios};
use secrecy::SecretString;

/// Whether somebody is there to be asked.
pub(super) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for yes or no; anything but yes is no.
pub(super) fn confirm(question: &str) -> io::Result<bool> {
    let answer = ask(question)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a password without showing it.
pub(super) fn password(question: &str) -> io::Result<SecretString> {
    let _hidden = Hidden::begin()?;
    let answer = ask(question)?;
    let _ = writeln!(io::stderr());
    Ok(SecretString::from(answer.trim_end_matches(['\r', '\n']).to_owned()))
}

fn ask(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{question} ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}

/// The terminal does not show what is typed as long as this lives.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
