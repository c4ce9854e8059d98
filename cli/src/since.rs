//! From when on something is wanted, as people write it.

use titan_api::time::Since;

use crate::credential::milliseconds;

/// How long before now, or a time.
pub(crate) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse() {
        return Ok(Since::At(time));
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "must be a duration like 10m, or a time like 2026-11-21T06:18:45Z".to_owned())?;
    Ok(Since::LastMs(milliseconds(ago)))
}
