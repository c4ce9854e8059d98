//! Which log lines are wanted.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Reads a level, or a list of levels with the parts of the program that they are for, such as `info,titan_lua=debug`; none if it
/// is neither. A word that is no level is none: tracing would take it for the name of a part, and be silent of all others.
#[must_use]
pub fn log_filter(text: &str) -> Option<EnvFilter> {
    let is_known = |directive: &str| {
        directive.contains(['=', '[']) || directive.is_empty() || directive.parse::<LevelFilter>().is_ok()
    };
    text.split(',').map(str::trim).all(is_known).then(|| EnvFilter::try_new(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_level_is_none() {
        for good in
            ["info", "WARN", "off", "info,", "info,titan_lua=debug", "titan_agent=trace, error", "[request]=debug"]
        {
            assert!(log_filter(good).is_some(), "{good}");
        }
        for wrong in ["loud", "inf", "info,titan_lua", "titan_lua=loud"] {
            assert!(log_filter(wrong).is_none(), "{wrong}");
        }
    }
}
