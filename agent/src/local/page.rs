//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::{Arguments, Display, Write};

/// What it is sent as.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page that is being written, family by family.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// Begins a family of figures that rise and fall; its samples follow.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, "gauge", help)
    }

    /// Begins a family of figures that only rise.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> &mut Self {
        self.begin(name, "counter", help)
    }

    /// One figure of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let name = self.name;
        self.write(format_args!("{name}"));
        for (at, (label, value)) in labels.iter().enumerate() {
            self.write(format_args!("{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value)));
        }
        self.write(format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }))
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.name = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"))
    }

    fn write(&mut self, text: Arguments<'_>) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(text);
        self
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
        page.counter("a_total", "All.").sample(&[], 1);
        page.gauge("b", "Some.").sample(&[("c", "x\"\\\n"), ("d", "y")], 2.5);
        let text = "# HELP a_total All.\n# TYPE a_total counter\na_total 1\n\
                    # HELP b Some.\n# TYPE b gauge\nb{c=\"x\\\"\\\\\\n\",d=\"y\"} 2.5\n";
        assert_eq!(page.into_text(), text);
    }
}
