//! What to make of a call that brought no answer, and of the clock of one that did.

use reqwest::Response;

use crate::time::Timestamp;

/// What to do about the usual causes, told by the words of the system and of the TLS library.
#[must_use]
pub fn advice_for(cause: &str) -> Option<&'static str> {
    let cause = cause.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    if says(&["unknownissuer", "unknown issuer", "self-signed", "self signed"]) {
        Some(
            "its certificate is signed by nobody that this machine trusts: give --ca-file the certificate that signed it",
        )
    } else if says(&["notvalidforname", "not valid for name"]) {
        Some("its certificate is for another name: use the name that it is for, or have the certificate made again")
    } else if says(&["expired"]) {
        Some("its certificate is not valid now: have it renewed, and look at this machine's clock")
    } else if says(&["invalidcontenttype"]) {
        Some("what answers there speaks no TLS: write http:// instead of https:// if that is meant")
    } else if says(&["certificate", "handshake", "corrupt message", "tls"]) {
        Some("TLS fails: check that it is https that is spoken on this port")
    } else if says(&["lookup", "resolve", "name or service", "dns"]) {
        Some("the host's name is not known here: check its spelling, and DNS")
    } else if says(&["refused"]) {
        Some("nothing listens there: check the port, and that the coordinator runs")
    } else if says(&["timed out", "timeout", "unreachable"]) {
        Some("nothing comes back: check the address, firewalls, and whether a proxy is needed (HTTPS_PROXY)")
    } else {
        None
    }
}

/// The server's time when it replied, in whole seconds; `None` if it does not say.
#[must_use]
pub fn date_of(response: &Response) -> Option<Timestamp> {
    date(response.headers().get("date")?.to_str().ok()?)
}

fn date(text: &str) -> Option<Timestamp> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_ms(at.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_headers_are_read() {
        let at = date("Sun, 06 Nov 1994 08:49:37 GMT").map(|at| at.to_string());
        assert_eq!(at.as_deref(), Some("1994-11-06T08:49:37Z"));
        assert!(date("yesterday").is_none());
    }

    #[test]
    fn the_usual_causes_have_advice() {
        for (cause, word) in [
            ("invalid peer certificate: UnknownIssuer", "--ca-file"),
            ("invalid peer certificate: certificate not valid for name \"x\"", "another name"),
            ("invalid peer certificate: Expired", "renewed"),
            ("received corrupt message of type InvalidContentType", "http://"),
            ("peer sent a corrupt message", "https"),
            ("failed to lookup address information: Name or service not known", "DNS"),
            ("Connection refused (os error 111)", "port"),
            ("operation timed out", "firewalls"),
        ] {
            assert!(advice_for(cause).is_some_and(|advice| advice.contains(word)), "{cause}");
        }
        assert_eq!(advice_for("something else"), None);
    }
}
