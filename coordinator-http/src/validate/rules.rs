//! Rules that several kinds of bodies share.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
    ops::RangeInclusive,
};

use titan_api::{PROTOCOL, limits, pull};

use super::Findings;

impl Findings {
    pub(super) fn within<T: PartialOrd + Display + Copy>(&mut self, field: &str, value: T, range: RangeInclusive<T>) {
        self.require(range.contains(&value), field, || format!("must be from {} to {}", range.start(), range.end()));
    }

    /// A list of at most so many entries.
    pub(super) fn at_most(&mut self, field: &str, count: usize, most: usize) {
        self.require(count <= most, field, || format!("has {count} entries; at most {most} are taken"));
    }

    /// A text for people: not too long, without control characters.
    pub(crate) fn text(&mut self, field: &str, text: &str, most_bytes: usize) {
        self.require(text.len() <= most_bytes, field, || format!("is longer than {most_bytes} bytes"));
        self.require(!text.chars().any(char::is_control), field, || "holds a control character".to_owned());
    }

    /// A text that must not be empty.
    pub(super) fn name(&mut self, field: &str, text: &str, most_bytes: usize) {
        self.require(!text.trim().is_empty(), field, || "is empty".to_owned());
        self.text(field, text, most_bytes);
    }

    /// A name that machines compare: letters, digits and `. _ - :`.
    pub(super) fn token(&mut self, field: &str, text: &str) {
        let good = (1..=limits::LABEL_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'));
        self.require(good, field, || "must be 1 to 128 characters of A-Z a-z 0-9 . _ - :".to_owned());
    }

    /// The public name of a model.
    pub(crate) fn model_name(&mut self, field: &str, text: &str) {
        self.name(field, text, limits::MODEL_BYTES);
        self.require(!pull::is_puller(text), field, || {
            format!("begins with `{}`, which stands for pulling models", pull::PULLER)
        });
    }

    /// Labels: names of machine-readable characters, values without control characters.
    pub(super) fn labels(&mut self, field: &str, labels: &BTreeMap<String, String>) {
        self.at_most(field, labels.len(), limits::LABELS);
        self.inside(field, |f| {
            for (name, value) in labels {
                let good = (1..=limits::LABEL_BYTES).contains(&name.len())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/'));
                f.require(good, name, || {
                    "a label's name must be 1 to 128 characters of A-Z a-z 0-9 . _ - /".to_owned()
                });
                f.text(name, value, limits::LABEL_BYTES);
            }
        });
    }

    /// Names that must differ from each other.
    pub(super) fn distinct<'a>(&mut self, field: &str, names: impl IntoIterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        let twice = names.into_iter().find(|name| !seen.insert(*name));
        self.require(twice.is_none(), field, || "names one thing twice".to_owned());
    }

    /// The protocol that an agent speaks.
    pub(super) fn protocol(&mut self, protocol: u32) {
        self.require(protocol <= PROTOCOL, "protocol", || {
            format!(
                "the agent speaks protocol {protocol}, this coordinator only up to {PROTOCOL}: upgrade the coordinator"
            )
        });
        self.require(protocol >= 1, "protocol", || {
            format!("the agent speaks protocol {protocol}, this coordinator {PROTOCOL}: upgrade the agent")
        });
    }
}
