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

    pub(super) fn text(&self) -> String {
        self.shown(clean, |word, _| word.to_owned())
    }

    /// One a line, with what to do below it: what others have said is cleaned, and the verdict painted.
    pub fn shown(&self, clean: impl Fn(&str) -> String, paint: impl Fn(&str, Verdict) -> String) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        let lines = |finding: &Finding| -> String {
            let word = paint(&format!("{:<7}", finding.verdict.word()), finding.verdict);
            let detail = format!("{word}  {:<width$}  {}\n", finding.check, clean(&finding.detail));
            let advice =
                finding.advice.iter().map(|advice| format!("{:>7}  {:<width$}  → {}\n", "", "", clean(advice)));
            std::iter::once(detail).chain(advice).collect()
        };
        self.0.iter().map(lines).collect()
    }
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
            findings.text(),
            "ok       disk        there is room\nfailed   connection  nothing [2J there\n                     → start it\n"
        );
        assert!(findings.broken().count() == 1 && findings.json().unwrap().contains(r#""verdict": "failed""#));
    }
}
