//! Events as people see them: rows that come one by one, so that no column waits for the widest.

use titan_api::events::Event;

use super::{
    clean,
    style::{Style, Tone},
};

/// How wide the pool's own topics are at most.
const TOPIC_WIDTH: usize = 19;

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

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn every_topic_of_the_pool_fits_its_column() {
        let help =
            crate::events::read::What::augment_args(clap::Command::default()).get_after_help().unwrap().to_string();
        let (topics, _) = help.split_once(". Others").unwrap();
        let topics: Vec<_> = topics.split([' ', ',', ';', '\n']).filter(|word| word.contains('.')).collect();
        assert!(topics.contains(&"agent.attempts_lost") && topics.contains(&"breaker.model"), "{topics:?}");
        let widest = topics.iter().map(|topic| topic.len()).max();
        assert_eq!(widest, Some(TOPIC_WIDTH), "{topics:?}");
    }
}
