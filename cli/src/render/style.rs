//! How much a terminal can show: its width and whether it takes colours.

use std::io::IsTerminal;

use crate::settings::{Format, Global};

/// What standard output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; none where output is not a terminal, and nothing is cut.
    pub width: Option<usize>,
    /// Lines of the terminal.
    pub height: Option<usize>,
    /// Whether to use colours.
    pub color: bool,
    /// Whether tables begin with a line of headings.
    pub headers: bool,
}

/// What a piece of text says at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Warning,
    /// Something is wrong.
    Bad,
    /// Of less interest.
    Faint,
}

impl Style {
    /// No terminal: nothing is cut, nothing is coloured.
    pub const PLAIN: Self = Self { width: None, height: None, color: false, headers: true };

    /// What standard output can show; `--no-color` and the variables `NO_COLOR` and `TERM=dumb` forbid colours, and
    /// `-o wide` forbids cutting.
    #[must_use]
    pub fn of_stdout(global: &Global) -> Self {
        let headers = !global.no_headers;
        if !std::io::stdout().is_terminal() {
            return Self { headers, ..Self::PLAIN };
        }
        let (width, height) = size_of(std::io::stdout());
        let width = width.filter(|_| global.output != Format::Wide);
        Self { width, height, color: !global.no_color && colors_wanted(), headers }
    }

    /// The same for standard error, which shows remarks and progress.
    #[must_use]
    pub fn of_stderr(global: &Global) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let (width, height) = size_of(std::io::stderr());
        Self { width, height, color: is_terminal && !global.no_color && colors_wanted(), headers: true }
    }

    /// The text in the colour of its tone.
    #[must_use]
    pub fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Warning => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Columns and lines of a terminal.
fn size_of(terminal: impl std::os::fd::AsFd) -> (Option<usize>, Option<usize>) {
    let size = terminal_size::terminal_size_of(terminal);
    (size.map(|(width, _)| usize::from(width.0)), size.map(|(_, height)| usize::from(height.0)))
}

/// Whether the environment lets programs colour their output (<https://no-color.org>).
fn colors_wanted() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    !no_color && !dumb
}
