//! What doctors find, and how it is shown. That of the command line tells its findings in the same way.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// It cannot work like that.
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The exit code that says it, if it is broken.
    #[serde(skip)]
    pub code: u8,
}

impl Finding {
    /// It is as it should be.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, detail: detail.into(), advice: None, code: 0 }
    }

    /// It works, but not as well as it could.
    pub fn warning(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, advice: Some(advice.into()), ..Self::ok(check, detail) }
    }

    /// It cannot work like that, which an exit code says.
    pub fn failed(check: &'static str, detail: impl Into<String>, advice: Option<String>, code: u8) -> Self {
        Self { verdict: Verdict::Failed, advice, code, ..Self::ok(check, detail) }
    }
}

/// All that was found, in order.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// One more.
    pub fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    pub(super) fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.add(Finding::ok(check, detail));
    }

    pub(super) fn warning(&mut self, check: &'static str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(Finding::warning(check, detail, advice));
    }

    /// The agent cannot work like that.
    pub(super) fn failed(&mut self, check: &'static str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(Finding::failed(check, detail, Some(advice.into()), 1));
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Finding] {
        &self.0
    }

    /// Those that are broken.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.verdict == Verdict::Failed)
    }

    /// For programs.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(&self.0)? + "\n")
    }

    pub(super) fn text(&self, columns: Option<usize>) -> String {
        self.shown(columns, clean, |word, _| word.to_owned())
    }

    /// One a line, with what to do below it: what others have said is cleaned, and the verdict painted. What is longer than a
    /// window of so many columns goes on below where it began.
    pub fn shown(
        &self,
        columns: Option<usize>,
        clean: impl Fn(&str) -> String,
        paint: impl Fn(&str, Verdict) -> String,
    ) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        let indent = " ".repeat("failed   ".len() + width + 2);
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(indent.len()).max(NARROWEST));
        let lines = |finding: &Finding| -> String {
            let word = paint(&format!("{:<7}", finding.verdict.word()), finding.verdict);
            let detail = fold(&clean(&finding.detail), room).join(&format!("\n{indent}"));
            let advice = finding.advice.iter().map(|advice| {
                let advice = fold(&clean(advice), room.saturating_sub(2)).join(&format!("\n{indent}  "));
                format!("{indent}→ {advice}\n")
            });
            std::iter::once(format!("{word}  {:<width$}  {detail}\n", finding.check)).chain(advice).collect()
        };
        self.0.iter().map(lines).collect()
    }
}

/// Columns below which text is folded no more: lines of two or three words are harder to read than what a terminal makes of them.
const NARROWEST: usize = 24;

/// The text in lines of at most so many columns, as far as its words are no longer. What stands in backticks is one word, so that
/// it can be copied.
fn fold(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words(text) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

fn words(text: &str) -> Vec<String> {
    let (mut words, mut is_open) = (Vec::<String>::new(), false);
    for piece in text.split(' ') {
        match words.last_mut() {
            Some(word) if is_open => {
                word.push(' ');
                word.push_str(piece);
            }
            _ => words.push(piece.to_owned()),
        }
        is_open ^= piece.matches('`').count() % 2 == 1;
    }
    words
}

/// What others have said could steer a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_stand_in_columns_with_advice_below() {
        let mut findings = Findings::default();
        findings.ok("disk", "there is room");
        assert_eq!(findings.broken().count(), 0);
        findings.failed("connection", "nothing\x1b[2J there", "start it");
        assert_eq!(
            findings.text(None),
            "ok       disk        there is room\nfailed   connection  nothing [2J there\n                     → start it\n"
        );
        assert!(findings.broken().count() == 1 && findings.json().unwrap().contains(r#""verdict": "failed""#));
    }

    #[test]
    fn what_is_wider_than_the_window_goes_on_below_where_it_began() {
        let mut findings = Findings::default();
        findings.warning(
            "key",
            "one two three four five six",
            "say `titan login http://box.example.org:7070` and again",
        );
        let narrow = "warning  key  one two three four five\n              six\n              → say\n                \
                      `titan login http://box.example.org:7070`\n                and again\n";
        assert_eq!(findings.text(Some(14 + NARROWEST)), narrow);
        assert_eq!(findings.text(Some(1)), narrow, "no line is narrower than can be read");
        assert_eq!(findings.text(None).lines().count(), 2);
        assert_eq!(fold("a `b c", 3), ["a", "`b c"], "whoever forgets the second one gets the text");
    }
}
