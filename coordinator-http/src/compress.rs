//! Smaller replies: `gzip` for those who take it, on the routes that say so in the table.
//!
//! Only what is long and holds no secret is compressed. The length of a compressed text tells what of it repeats, so a reply
//! that has a secret beside text of another's choosing would give the secret away, letter by letter, to whoever sees the
//! lengths. Streams are not compressed either: each event has to go out as it comes.

use axum::extract::Request;
use http::{HeaderValue, header};
use tower_http::compression::{
    CompressionLayer, CompressionLevel,
    predicate::{And, NotForContentType, Predicate, SizeAbove},
};

/// Shorter replies are not worth it: they fit into one packet as they are.
const AT_LEAST_BYTES: u64 = 1_024;

/// The layer; it wants [`only_gzip`] around it.
pub(crate) fn layer() -> CompressionLayer<And<SizeAbove, NotForContentType>> {
    let worth_it = SizeAbove::new(AT_LEAST_BYTES).and(NotForContentType::SSE);
    CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest).compress_when(worth_it)
}

/// Leaves of `Accept-Encoding` what is answered to: `gzip` or nothing. A caller that accepts nothing at all gets its reply as
/// it is, not a refusal after the work is done.
pub(crate) async fn only_gzip(mut request: Request) -> Request {
    let accepted = request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let takes_gzip = accepted.flat_map(|value| value.split(',')).any(is_gzip);
    if takes_gzip {
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    } else {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    request
}

fn is_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    is_named && weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_if_it_is_named_and_not_weighed_with_nothing() {
        for coding in ["gzip", " GZIP ", "gzip;q=0.1", "gzip; q=1", "*"] {
            assert!(is_gzip(coding), "{coding}");
        }
        for coding in ["", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=x", "identity;q=0"] {
            assert!(!is_gzip(coding), "{coding}");
        }
    }
}
