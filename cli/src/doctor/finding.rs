//! What was found, as this program ends with it and shows it.

use titan_agent::{Finding, Findings, Verdict};

use crate::{
    failure::Failure,
    render::{
        clean,
        style::{Style, Tone},
    },
    session::LOOKS_CLOSER,
};

/// What a command would have failed with.
pub(super) fn of_failure(check: &'static str, failure: &Failure) -> Finding {
    Finding::failed(check, failure.to_string(), advice(failure), failure.code())
}

/// What to do about a failure, beside looking closer, which is done here.
pub(super) fn advice(failure: &Failure) -> Option<String> {
    let Failure::Call { hint: Some(hint), .. } = failure else { return None };
    Some(hint.replace(LOOKS_CLOSER, ""))
}

/// Something is broken, which an exit code says.
pub(super) fn failed(check: &'static str, detail: impl Into<String>, advice: impl Into<String>, code: u8) -> Finding {
    Finding::failed(check, detail, Some(advice.into()), code)
}

/// A failure if something is broken.
pub(super) fn verdict(findings: &Findings) -> Result<(), Failure> {
    let Some(first) = findings.broken().next() else { return Ok(()) };
    let mut names: Vec<_> = findings.broken().map(|finding| finding.check).collect();
    names.dedup();
    Err(Failure::Broken { message: format!("not in order: {}", names.join(", ")), code: first.code })
}

/// What was found, one a line, with what to do below it.
pub(super) fn render(findings: &Findings, style: Style) -> String {
    let tone = |verdict| match verdict {
        Verdict::Ok => Tone::Good,
        Verdict::Warning => Tone::Warning,
        Verdict::Failed => Tone::Bad,
    };
    findings.shown(style.width, clean, |word, verdict| style.paint(word, tone(verdict)))
}
