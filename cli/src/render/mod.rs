//! What people see: tables, ages, sizes and colours, with nothing in it that could steer a terminal.

pub mod agents;
pub mod events;
pub mod jobs;
pub mod ruled_out;
pub mod style;
pub mod table;
pub mod units;

/// The text on one line, without characters that steer a terminal or reorder what is shown.
///
/// Names and messages come from agents and other people; a line of them must not move the cursor, recolour the screen
/// or pass for something else. Line breaks and tabs become spaces; escape sequences and all other such characters are
/// left out.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' | '\r' | '\t' => cleaned.push(' '),
            '\u{1b}' => rest = after_sequence(rest),
            c if c.is_control() || reorders(c) => {}
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// The same for a text of many lines: its line breaks and tabs stay.
#[must_use]
pub fn clean_text(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !(c.is_control() || reorders(*c))).collect()
}

/// What follows an escape sequence such as that for a colour. Anything else that follows ESC is text.
fn after_sequence(rest: std::str::Chars<'_>) -> std::str::Chars<'_> {
    let Some(parameters) = rest.as_str().strip_prefix('[') else { return rest };
    let end = parameters.find(|c| !matches!(c, ' '..='?'));
    match end.map(|end| (end, parameters.as_bytes()[end])) {
        Some((end, b'@'..=b'~')) => parameters[end + 1..].chars(),
        _ => rest,
    }
}

/// Each thing on a line of its own, with its line break.
pub fn lines<T: std::fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().fold(String::new(), |text, thing| text + &thing.to_string() + "\n")
}

/// Marks of bidirectional text, line and paragraph separators, and characters of no width that hide differences.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
