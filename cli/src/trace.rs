//! The trace that `titan` itself is part of: what starts it says so in `TRACEPARENT` and `TRACESTATE`, as pipelines do, and as a
//! job finds it that submits others.

use std::env;

use titan_api::trace::{TRACEPARENT, TRACESTATE, TraceContext};

/// The place in the environment; one that is malformed counts as missing, since no work must fail for it.
pub(crate) fn of_environment() -> Option<TraceContext> {
    of(|name| env::var(name.to_uppercase()).ok())
}

fn of(variable: impl Fn(&str) -> Option<String>) -> Option<TraceContext> {
    let parent = variable(TRACEPARENT)?.trim().parse().ok()?;
    Some(TraceContext { parent, state: variable(TRACESTATE).and_then(|state| state.parse().ok()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_with_what_goes_with_it_and_a_wrong_one_is_none() {
        let read = |parent: &str, state: &str| {
            let found = of(|name| Some(if name == TRACEPARENT { parent } else { state }.to_owned()))?;
            Some((found.parent.to_string(), found.state.map(|state| state.as_str().to_owned())))
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(read(good, "a=1"), Some((good.to_owned(), Some("a=1".to_owned()))));
        assert_eq!(read(good, "a"), Some((good.to_owned(), None)));
        assert_eq!((read("", "a=1"), read("00-1-2-3", "a=1")), (None, None));
    }
}
