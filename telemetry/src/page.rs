//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::{Display, Write};

/// What it is sent as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page that is being written, family by family.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    name: &'static str,
}

/// What a figure may do.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// It only rises, until the process ends.
    Counter,
    /// It rises and falls.
    Gauge,
}

impl Page {
    /// Begins a family of figures; its samples follow.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.begin(name, kind, help)
    }

    /// Begins a family of histograms.
    pub fn histogram_family(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, "histogram", help)
    }

    /// One figure of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// One histogram of the family: for each upper bound how many values there were up to it, then how many there were in
    /// all, and their sum.
    pub fn histogram(&mut self, labels: &[(&str, &str)], buckets: &[(f64, u64)], count: u64, sum: f64) {
        for (bound, count) in buckets {
            self.line("_bucket", labels, Some(&bound.to_string()), count);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, count);
    }

    /// The whole text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.name = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: impl Display) {
        let name = self.name;
        self.write(format_args!("{name}{suffix}"));
        let mut before = '{';
        for (label, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            self.write(format_args!("{before}{label}=\"{}\"", escaped(value)));
            before = ',';
        }
        self.write(format_args!("{} {value}\n", if before == ',' { "}" } else { "" }));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "All.");
        page.sample(&[], 1);
        page.sample(&[("b", "x\"\\\n"), ("c", "y")], 2.5);
        page.histogram_family("d_seconds", "Some.");
        page.histogram(&[("b", "x")], &[(0.5, 1)], 3, 7.25);
        assert_eq!(
            page.into_text(),
            "# HELP a_total All.\n# TYPE a_total counter\na_total 1\na_total{b=\"x\\\"\\\\\\n\",c=\"y\"} 2.5\n\
             # HELP d_seconds Some.\n# TYPE d_seconds histogram\nd_seconds_bucket{b=\"x\",le=\"0.5\"} 1\n\
             d_seconds_bucket{b=\"x\",le=\"+Inf\"} 3\nd_seconds_sum{b=\"x\"} 7.25\nd_seconds_count{b=\"x\"} 3\n"
        );
    }
}
