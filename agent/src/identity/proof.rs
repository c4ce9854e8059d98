//! The proof that a registration comes from the holder of the key: a short JWT (RFC 7519) signed with it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use titan_api::agents::JoinReply;

use super::Key;

/// A proof for this credential and this run, made at `issued_at_s` (seconds since the epoch, on the coordinator's clock).
/// No other credential of the same key can be shown with it.
pub(crate) fn proof(key: &Key, credential: &JoinReply, instance_id: &str, issued_at_s: i64) -> String {
    let claims = json!({
        "sub": credential.agent_id, "aud": "titan-coordinator/register", "jti": instance_id, "iat": issued_at_s,
        "credential_sha256": URL_SAFE_NO_PAD.encode(digest(&SHA256, credential.credential.as_bytes())),
    });
    signed(key, "titan-proof+jwt", &claims)
}

/// A JWT of that type with these claims, signed with the key.
pub(crate) fn signed(key: &Key, typ: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA", "typ": typ })), part(claims));
    let signature = key.sign(signed.as_bytes());
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    use titan_api::ids::{AgentId, PoolName};

    use super::*;

    #[test]
    fn an_ordinary_jwt_library_accepts_the_proof() {
        let state = tempfile::tempdir().unwrap();
        let key = Key::read_or_make(&state.path().join("key")).unwrap();
        let credential = JoinReply {
            agent_id: AgentId::new("box-1").unwrap(),
            pool: PoolName::default(),
            credential: "abc".to_owned(),
        };
        let token = proof(&key, &credential, "run-1", 1_800_000_000);
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&["titan-coordinator/register"]);
        rules.set_required_spec_claims(&["sub", "aud"]);
        rules.validate_exp = false;
        let public = DecodingKey::from_ed_components(&key.public()).unwrap();
        let read = decode::<serde_json::Value>(&token, &public, &rules).unwrap();
        assert_eq!(read.header.typ.as_deref(), Some("titan-proof+jwt"));
        assert_eq!((&read.claims["sub"], &read.claims["jti"]), (&json!("box-1"), &json!("run-1")));
        assert_eq!(read.claims["iat"], json!(1_800_000_000));
        assert_eq!(read.claims["credential_sha256"], json!("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"));
    }
}
