//! Events as people see them: rows that come one by one, so that no column waits for the widest.

use titan_api::events::Event;

use super::{
    clean,
    style::{Style, Tone},
};

/// How wide topics are, usually.
const TOPIC_WIDTH: usize = 18;

/// The rows, of which the first has headings above it.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    style: Style,
    begun: bool,
}

impl Rows {
    /// No row yet.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, begun: false }
    }

    /// The next row.
    pub fn next(&mut self, event: &Event) -> String {
        let heading = (self.style.headers && !self.begun).then(|| {
            let text = format!("{:<24}  {:<13}  {:<TOPIC_WIDTH$}  PAYLOAD", "AT", "ID", "TOPIC");
            self.style.paint(&text, Tone::Faint) + "\n"
        });
        self.begun = true;
        let payload = if event.payload.is_null() { String::new() } else { clean(&event.payload.to_string()) };
        let (at, topic) = (event.at.to_string(), event.topic.as_str());
        let row = format!("{at:<24}  {:<13}  {topic:<TOPIC_WIDTH$}  {payload}", event.id);
        heading.unwrap_or_default() + row.trim_end() + "\n"
    }
}
