//! Where spans go, and which.

use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

/// Where spans go, and which.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL that spans are posted to.
    pub(crate) url: Url,
    /// What is sent along; the values may be secret.
    pub(crate) headers: HeaderMap,
    /// The part of new traces that is recorded, 0 to 1.
    pub(crate) ratio: f64,
}

/// A setting that cannot be used. What it holds is not told: it may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongSetting {
    /// The collector's URL is none.
    #[error(
        "OTEL_EXPORTER_OTLP_ENDPOINT must be the URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318"
    )]
    Endpoint,
    /// The headers are none.
    #[error("OTEL_EXPORTER_OTLP_HEADERS must be like `name=value,other=value`, with what is special in a value as %20")]
    Headers,
    /// The ratio is none.
    #[error("OTEL_TRACES_SAMPLER_ARG must be from 0 to 1")]
    Ratio,
    /// This machine's TLS settings are unusable.
    #[error("the HTTP client for OTEL_EXPORTER_OTLP_ENDPOINT cannot be prepared")]
    Client,
}

impl Settings {
    /// Reads them: the collector's URL without `/v1/traces`, headers as the standard variable has them, and the part of new
    /// traces that is recorded.
    ///
    /// # Errors
    /// [`WrongSetting`] says which.
    pub fn new(endpoint: &str, headers: Option<&str>, ratio: f64) -> Result<Self, WrongSetting> {
        let mut url = Url::parse(endpoint.trim()).map_err(|_| WrongSetting::Endpoint)?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return Err(WrongSetting::Endpoint);
        }
        url.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/')));
        if !(0.0..=1.0).contains(&ratio) {
            return Err(WrongSetting::Ratio);
        }
        Ok(Self { url, headers: parse(headers.unwrap_or_default()).ok_or(WrongSetting::Headers)?, ratio })
    }
}

fn parse(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let mut value = HeaderValue::from_bytes(&decoded(value.trim())?).ok()?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value);
    }
    Some(headers)
}

/// Bytes for which `%` and two digits may stand.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_to_the_url_of_the_collector() {
        let url = |text| Settings::new(text, None, 1.0).map(|s| s.url.to_string());
        assert_eq!(url("http://127.0.0.1:4318").unwrap(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(url("https://example.org/otlp/").unwrap(), "https://example.org/otlp/v1/traces");
        for wrong in ["", "127.0.0.1:4318", "ftp://a", "http://a?b"] {
            assert_eq!(url(wrong), Err(WrongSetting::Endpoint), "{wrong}");
        }
    }

    #[test]
    fn headers_are_decoded_and_never_shown() {
        let settings = Settings::new("http://a", Some("Authorization=Basic%20abc=, x-a = 1"), 0.5).unwrap();
        assert_eq!(
            (&settings.headers["authorization"], &settings.headers["x-a"]),
            (&"Basic abc=".parse().unwrap(), &"1".parse().unwrap())
        );
        assert!(!format!("{settings:?}").contains("abc"));
        for wrong in ["a", "a b=c", "a=%2", "a=%zz", "a=%0a"] {
            assert_eq!(Settings::new("http://a", Some(wrong), 1.0).err(), Some(WrongSetting::Headers), "{wrong}");
        }
        assert_eq!(Settings::new("http://a", None, f64::NAN).err(), Some(WrongSetting::Ratio));
    }
}
