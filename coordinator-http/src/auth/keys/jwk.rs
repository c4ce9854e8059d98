//! Public keys as JSON (RFC 7517), each named by its thumbprint (RFC 7638).

use aws_lc_rs::{
    digest::{SHA256, digest},
    rsa::PublicKey,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rsa::{RsaPublicKey, pkcs1::DecodeRsaPublicKey, traits::PublicKeyParts};
use serde::Serialize;
use utoipa::ToSchema;

/// One public key that signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Jwk {
    /// Ed25519 (RFC 8037).
    Okp {
        /// `OKP`.
        kty: &'static str,
        /// `Ed25519`.
        crv: &'static str,
        /// The key, base64url.
        x: String,
        /// `sig`.
        r#use: &'static str,
        /// `EdDSA`.
        alg: &'static str,
        /// The key's thumbprint.
        kid: String,
    },
    /// RSA.
    Rsa {
        /// `RSA`.
        kty: &'static str,
        /// The modulus, base64url.
        n: String,
        /// The exponent, base64url.
        e: String,
        /// `sig`.
        r#use: &'static str,
        /// `RS256`.
        alg: &'static str,
        /// The key's thumbprint.
        kid: String,
    },
}

impl Jwk {
    pub(super) fn ed25519(public: &[u8]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(public);
        let kid = thumbprint(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        Self::Okp { kty: "OKP", crv: "Ed25519", x, r#use: "sig", alg: "EdDSA", kid }
    }

    pub(super) fn rsa(public: &PublicKey) -> Option<Self> {
        let public = RsaPublicKey::from_pkcs1_der(public.as_ref()).ok()?;
        let n = URL_SAFE_NO_PAD.encode(public.n().to_bytes_be());
        let e = URL_SAFE_NO_PAD.encode(public.e().to_bytes_be());
        let kid = thumbprint(&format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#));
        Some(Self::Rsa { kty: "RSA", n, e, r#use: "sig", alg: "RS256", kid })
    }

    pub(super) fn kid(&self) -> &str {
        match self {
            Self::Okp { kid, .. } | Self::Rsa { kid, .. } => kid,
        }
    }
}

fn thumbprint(canonical: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbprint_is_that_of_the_example_in_rfc_8037() {
        let key = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(Jwk::ed25519(&key).kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
