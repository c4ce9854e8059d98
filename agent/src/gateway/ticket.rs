//! Tickets: what a client shows that a coordinator has sent. They are checked here, offline, against the coordinator's
//! public keys: one algorithm, one agent, one model, one use, a short time.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};
use titan_api::ids::JobId;

use super::keys::Keys;

/// Bytes of a ticket.
const BYTES: usize = 8 * 1_024;
/// How far the clocks of coordinators may differ, seconds.
const SLACK_S: i64 = 60;
/// No ticket is good for longer, whatever it says, seconds.
const LONGEST_S: i64 = 3_600;

/// A good ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The request, which it is good for once.
    pub request: JobId,
    pub model: String,
    /// Until when it is good, seconds since the epoch.
    pub expires_s: i64,
}

/// What a ticket has to fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Here<'a> {
    pub agent: &'a str,
    /// Now, on the coordinator's clock.
    pub now_s: i64,
    /// When this run of the agent began, on the same clock: what was issued before may have been used already.
    pub began_s: i64,
}

impl<'a> Here<'a> {
    /// What it has to fit now, for an agent whose run began so long ago. The beginning is the same second at every call: a
    /// ticket of that second is not good at one moment and refused at the next.
    pub(crate) fn at(agent: &'a str, now_ms: i64, age: Duration) -> Self {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let began_s = now_ms.saturating_sub(age_ms).div_euclid(1_000);
        Self { agent, now_s: now_ms.div_euclid(1_000), began_s }
    }
}

/// Why a ticket is not taken. A client is told no more than that it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is no ticket, or not for here, or not now.
    Bad(&'static str),
    /// Nobody here knows the key that has signed it; a coordinator may have a new one.
    UnknownKey,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    /// Extensions that a reader must know; there are none.
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    jti: JobId,
    model: String,
    iat: i64,
    exp: i64,
}

/// Checks a ticket.
///
/// # Errors
/// Why it is not taken.
pub(crate) fn check(text: &str, keys: &Keys, here: Here<'_>) -> Result<Ticket, Unfit> {
    if text.len() > BYTES {
        return Err(Unfit::Bad("it is too long"));
    }
    let mut parts = text.split('.');
    let (Some(header), Some(claims), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Unfit::Bad("it has not three parts"));
    };
    let known: Header = read(header)?;
    // Before anything is looked up by what it says of itself: only this one algorithm, with a key of that kind.
    if known.alg != "RS256" || known.typ != "titan-ticket+jwt" || known.crit.is_some() {
        return Err(Unfit::Bad("it is signed in another way"));
    }
    if !keys.has(&known.kid) {
        return Err(Unfit::UnknownKey);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Unfit::Bad("its signature is malformed"))?;
    let signed = &text[..header.len() + 1 + claims.len()];
    if !keys.verify(&known.kid, signed.as_bytes(), &signature) {
        return Err(Unfit::Bad("its signature is not good"));
    }
    let claims: Claims = read(claims)?;
    if claims.iss != "titan-coordinator" || claims.aud != here.agent {
        return Err(Unfit::Bad("it is for another agent"));
    }
    let is_timely = claims.iat <= here.now_s.saturating_add(SLACK_S)
        && here.now_s < claims.exp
        && claims.exp.saturating_sub(claims.iat) <= LONGEST_S;
    if !is_timely {
        return Err(Unfit::Bad("it is not good now"));
    }
    if claims.iat < here.began_s {
        return Err(Unfit::Bad("it was issued before this agent started"));
    }
    Ok(Ticket { request: claims.jti, model: claims.model, expires_s: claims.exp })
}

fn read<T: DeserializeOwned>(part: &str) -> Result<T, Unfit> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Unfit::Bad("it is malformed"))?;
    serde_json::from_slice(&bytes).map_err(|_| Unfit::Bad("it is malformed"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        hmac,
        rand::SystemRandom,
        rsa::{KeyPair, KeySize},
        signature::{KeyPair as _, RSA_PKCS1_SHA256},
    };
    use serde_json::{Value, json};

    use super::*;

    struct Signer {
        pair: KeyPair,
        n: String,
        der: Vec<u8>,
    }

    fn signer() -> Signer {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der = pair.public_key().as_der().unwrap();
        let der = der.as_ref().to_vec();
        // The modulus of a key of this size is always in this place.
        Signer { pair, n: URL_SAFE_NO_PAD.encode(&der[33..289]), der }
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    impl Signer {
        fn sign(&self, header: &Value, claims: &Value) -> String {
            let signed = format!("{}.{}", part(header), part(claims));
            let mut signature = vec![0; self.pair.public_modulus_len()];
            self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn keys(&self) -> Keys {
            let set = json!({ "keys": [
                { "kty": "OKP", "kid": "k2", "crv": "Ed25519", "x": "AAAA" },
                { "kty": "RSA", "kid": "k1", "n": self.n, "e": "AQAB", "alg": "RS256" },
            ] });
            serde_json::from_value::<KeySet>(set).unwrap().into()
        }
    }

    use super::super::keys::KeySet;

    fn header() -> Value {
        json!({ "alg": "RS256", "typ": "titan-ticket+jwt", "kid": "k1" })
    }

    fn claims() -> Value {
        json!({
            "iss": "titan-coordinator", "aud": "box-1", "sub": "me", "jti": "request-1", "model": "small",
            "pool": "default", "iat": 1_000, "exp": 1_300,
        })
    }

    const HERE: Here<'static> = Here { agent: "box-1", now_s: 1_010, began_s: 900 };

    #[test]
    fn a_ticket_is_good_here_and_now_alone() {
        let signer = signer();
        let keys = signer.keys();
        let text = signer.sign(&header(), &claims());
        let ticket = check(&text, &keys, HERE).unwrap();
        assert_eq!((ticket.request.as_str(), ticket.model.as_str(), ticket.expires_s), ("request-1", "small", 1_300));
        let refused = |here: Here<'_>| check(&text, &keys, here).is_err();
        assert!(refused(Here { agent: "box-2", ..HERE }), "another agent's");
        assert!(refused(Here { now_s: 1_300, ..HERE }), "expired");
        assert!(refused(Here { now_s: 900, ..HERE }), "not yet");
        assert!(refused(Here { began_s: 1_001, ..HERE }), "older than this run");
        for (name, value) in [
            ("iss", json!("other")),
            ("exp", json!(9_999)),
            ("jti", json!("")),
            ("model", json!(1)),
            ("iat", json!(i64::MIN)),
        ] {
            let mut claims = claims();
            claims[name] = value;
            assert!(check(&signer.sign(&header(), &claims), &keys, HERE).is_err(), "{name}");
        }
    }

    #[test]
    fn an_altered_ticket_is_refused() {
        let signer = signer();
        let (keys, text) = (signer.keys(), signer.sign(&header(), &claims()));
        let parts: Vec<_> = text.split('.').collect();
        let mut other = claims();
        other["model"] = json!("large");
        for wrong in [
            format!("{}.{}.{}", parts[0], part(&other), parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{text}.{}", parts[2]),
            format!("{text}A"),
            String::new(),
            "x".repeat(10_000),
            self::signer().sign(&header(), &claims()),
        ] {
            assert!(matches!(check(&wrong, &keys, HERE), Err(Unfit::Bad(_))), "{wrong}");
        }
    }

    #[test]
    fn no_other_algorithm_is_believed() {
        let signer = signer();
        let keys = signer.keys();
        let with = |name: &str, value: Value| {
            let mut header = header();
            header[name] = value;
            header
        };
        for alg in ["none", "None", "HS256", "RS512", "PS256", "EdDSA", "rs256", ""] {
            let forged = signer.sign(&with("alg", json!(alg)), &claims());
            assert!(matches!(check(&forged, &keys, HERE), Err(Unfit::Bad(_))), "{alg}");
            let unsigned = format!("{}.{}.", part(&with("alg", json!(alg))), part(&claims()));
            assert!(check(&unsigned, &keys, HERE).is_err(), "{alg}");
        }
        // The public key as the secret of an HMAC.
        for secret in [signer.der.as_slice(), signer.n.as_bytes()] {
            let content = format!("{}.{}", part(&with("alg", json!("HS256"))), part(&claims()));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), content.as_bytes());
            let forged = format!("{content}.{}", URL_SAFE_NO_PAD.encode(tag));
            assert!(check(&forged, &keys, HERE).is_err());
        }
        for (name, value) in [("typ", json!("JWT")), ("crit", json!(["x"])), ("kid", json!("k2"))] {
            assert!(check(&signer.sign(&with(name, value), &claims()), &keys, HERE).is_err(), "{name}");
        }
        let unknown = signer.sign(&with("kid", json!("k9")), &claims());
        assert_eq!(check(&unknown, &keys, HERE), Err(Unfit::UnknownKey));
    }

    #[test]
    fn an_agent_has_begun_in_the_same_second_whenever_it_is_asked() {
        for began_ms in [100_000, 100_300, 100_999] {
            for age in [0, 1, 700, 701, 1_000, 1_700, 86_400_123] {
                let here = Here::at("box", began_ms + age, Duration::from_millis(age.unsigned_abs()));
                assert_eq!((here.began_s, here.now_s), (100, (began_ms + age) / 1_000), "{began_ms} {age}");
            }
        }
    }
}
