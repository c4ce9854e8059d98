//! What people see: tables, ages, sizes and colours, with nothing in it that could steer a terminal.

pub mod agents;
pub mod jobs;
pub mod style;
pub mod table;
pub mod units;

/// The text on one line, without characters that steer a terminal or reorder what is shown.
///
/// Names and messages come from agents and other people; a line of them must not move the cursor, recolour the screen
/// or pass for something else. Line breaks and tabs become spaces, all other such characters are left out.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' | '\r' | '\t' => Some(' '),
            c if c.is_control() || reorders(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Each thing on a line of its own, with its line break.
pub fn lines<T: std::fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().fold(String::new(), |text, thing| text + &thing.to_string() + "\n")
}

/// Marks of bidirectional text, line and paragraph separators, and characters of no width that hide differences.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
