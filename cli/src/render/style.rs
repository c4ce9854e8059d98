//! How much a terminal can show: its width and whether it takes colours.

use std::io::IsTerminal;

/// What standard output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; none where output is not a terminal, and nothing is cut.
    pub width: Option<usize>,
    /// Whether to use colours.
    pub color: bool,
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
    pub const PLAIN: Self = Self { width: None, color: false };

    /// What standard output can show; `no_color` and the variables `NO_COLOR` and `TERM=dumb` forbid colours.
    #[must_use]
    pub fn of_stdout(no_color: bool) -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self { width, color: !no_color && colors_wanted() }
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

/// Whether the environment lets programs colour their output (<https://no-color.org>).
fn colors_wanted() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    !no_color && !dumb
}
