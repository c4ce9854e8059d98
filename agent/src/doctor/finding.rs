//! What was found by one look, and how it is shown.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// All that was found, in order.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// It is as it should be.
    pub(super) fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Ok, detail: detail.into(), advice: None });
    }

    /// It works, but not as well as it could.
    pub(super) fn warning(&mut self, check: &'static str, detail: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Warning, detail: detail.into(), advice: Some(advice.into()) });
    }

    /// The agent cannot work like that.
    pub(super) fn failed(&mut self, check: &'static str, detail: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { check, verdict: Verdict::Failed, detail: detail.into(), advice: Some(advice.into()) });
    }

    pub(super) fn is_broken(&self) -> bool {
        self.0.iter().any(|finding| finding.verdict == Verdict::Failed)
    }

    /// For programs.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(&self.0)? + "\n")
    }

    /// One a line, with what to do below it.
    pub(super) fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        let lines = |finding: &Finding| -> String {
            let word = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Failed => "failed",
            };
            let detail = format!("{word:<7}  {:<width$}  {}\n", finding.check, clean(&finding.detail));
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
        assert!(!findings.is_broken());
        findings.failed("connection", "nothing\x1b[2J there", "start it");
        assert_eq!(
            findings.text(),
            "ok       disk        there is room\nfailed   connection  nothing [2J there\n                     → start it\n"
        );
        assert!(findings.is_broken() && findings.json().unwrap().contains(r#""verdict": "failed""#));
    }
}
