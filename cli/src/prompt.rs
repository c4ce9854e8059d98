//! Questions to whoever sits at the terminal.

use std::{
    io::{BufRead, IsTerminal, Read, Write, stderr, stdin},
    os::fd::AsFd,
};

use anyhow::Context as _;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const CTRL_U: u8 = 21;
const BACKSPACE: [u8; 2] = [8, 127];

/// Asks for a yes; without a terminal to ask on, `otherwise` says what to do instead.
///
/// # Errors
/// [`Failure`] if the answer is not yes, or nobody can be asked.
pub fn confirm(question: &str, otherwise: &str) -> Result<(), Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::Usage(otherwise.to_owned()));
    }
    write!(stderr(), "{question} [y/N] ")?;
    stderr().flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(anyhow::anyhow!("nothing was done").into()),
    }
}

/// Asks for a line that is not shown. Ctrl-C is read like any other key, so that the terminal is never left without
/// its echo.
///
/// # Errors
/// [`Failure`] if the terminal cannot be read, or on Ctrl-C.
pub fn hidden(question: &str) -> Result<String, Failure> {
    write!(stderr(), "{question}")?;
    stderr().flush()?;
    let _quiet = Quiet::set().context("the terminal cannot be told not to show what is typed")?;
    let typed = read_keys();
    writeln!(stderr())?;
    typed
}

fn read_keys() -> Result<String, Failure> {
    let mut typed = Vec::new();
    for byte in stdin().lock().bytes() {
        match byte.context("the terminal cannot be read")? {
            b'\n' | b'\r' | CTRL_D => break,
            CTRL_C => return Err(Failure::Interrupted),
            CTRL_U => typed.clear(),
            byte if BACKSPACE.contains(&byte) => drop(typed.pop()),
            byte => typed.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&typed).into_owned())
}

/// While it exists, the terminal shows nothing of what is typed and hands over each key at once.
struct Quiet(Termios);

impl Quiet {
    fn set() -> nix::Result<Self> {
        let before = tcgetattr(stdin().as_fd())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(stdin().as_fd(), SetArg::TCSADRAIN, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing can be done if the terminal is gone.
        let _ = tcsetattr(stdin().as_fd(), SetArg::TCSADRAIN, &self.0);
    }
}
