//! Quotas as settings: so much in a time, or `off`.

use std::str::FromStr;

use titan_api::{credentials::Quota, limits};

use super::number::amount;

/// A quota, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaSetting(pub Option<Quota>);

impl FromStr for QuotaSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let wrong = || "write how much in what time, for example 600/1m or 64MiB/10s, or `off`".to_owned();
        let (quota, window) = text.split_once('/').ok_or_else(wrong)?;
        let quota = amount(quota).ok_or_else(wrong)?;
        let window = humantime::parse_duration(window).map_err(|_| wrong())?;
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        if !limits::QUOTA.contains(&quota) {
            return Err(format!("{quota} must be from {} to {}", limits::QUOTA.start(), limits::QUOTA.end()));
        }
        if !limits::QUOTA_WINDOW_MS.contains(&window_ms) {
            return Err("the time must be from 1s to 1d".to_owned());
        }
        Ok(Self(Some(Quota { quota, window_ms })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_an_amount_in_a_time() {
        let quota = |text: &str| text.parse::<QuotaSetting>().map(|setting| setting.0);
        assert_eq!(quota("off"), Ok(None));
        assert_eq!(quota("600/1m"), Ok(Some(Quota { quota: 600, window_ms: 60_000 })));
        assert_eq!(quota("64MiB/10s"), Ok(Some(Quota { quota: 64 << 20, window_ms: 10_000 })));
        for wrong in ["", "600", "/1m", "600/", "-1/1m", "0/1m", "600/1ms", "600/2d", "1e3/1m", "99999999999GiB/1m"] {
            assert!(quota(wrong).is_err(), "{wrong}");
        }
    }
}
