//! What was found by one look, and how it is shown.

use serde::Serialize;

use crate::{
    failure::Failure,
    render::{
        clean, lines,
        style::{Style, Tone},
    },
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failed,
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The exit code that says it, if it is broken.
    #[serde(skip)]
    code: u8,
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, detail: detail.into(), advice: None, code: 0 }
    }

    pub(super) fn warning(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, advice: Some(advice.into()), ..Self::ok(check, detail) }
    }

    pub(super) fn failed(check: &'static str, detail: impl Into<String>, advice: impl Into<String>, code: u8) -> Self {
        Self { verdict: Verdict::Failed, advice: Some(advice.into()), code, ..Self::ok(check, detail) }
    }

    /// What a command would have failed with.
    pub(super) fn of_failure(check: &'static str, failure: &Failure) -> Self {
        let advice = match failure {
            Failure::Call { hint, .. } => hint.clone(),
            _ => None,
        };
        let detail = failure.to_string();
        Self { verdict: Verdict::Failed, advice, code: failure.code(), ..Self::ok(check, detail) }
    }
}

/// All that was found, in order.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    pub(super) fn all(&self) -> &[Finding] {
        &self.0
    }

    /// A failure if something is broken.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let broken: Vec<_> = self.0.iter().filter(|finding| finding.verdict == Verdict::Failed).collect();
        match broken.as_slice() {
            [] => Ok(()),
            [first, ..] => {
                let mut names: Vec<_> = broken.iter().map(|finding| finding.check).collect();
                names.dedup();
                Err(Failure::Broken { message: format!("not in order: {}", names.join(", ")), code: first.code })
            }
        }
    }
}

/// What was found, one a line, with what to do below it.
pub(super) fn render(findings: &[Finding], style: Style) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    let line = |finding: &Finding| {
        let (word, tone) = match finding.verdict {
            Verdict::Ok => ("ok", Tone::Good),
            Verdict::Warning => ("warning", Tone::Warning),
            Verdict::Failed => ("failed", Tone::Bad),
        };
        let word = style.paint(&format!("{word:<7}"), tone);
        let advice = finding.advice.iter().map(|advice| format!("{:>7}  {:<width$}  → {}", "", "", clean(advice)));
        let detail = format!("{word}  {:<width$}  {}", finding.check, clean(&finding.detail));
        lines(std::iter::once(detail).chain(advice))
    };
    findings.iter().map(line).collect()
}
