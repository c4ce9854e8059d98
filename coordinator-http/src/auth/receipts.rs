//! Receipts: what an agent signed for a client that brought it a ticket. The agent's word is all there is of such an answer,
//! so that one that is not good is taken for none of it.

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use titan_api::{
    ids::AgentId,
    inference::Receipt,
    work::{Happening, Report},
};

use super::{jws, proof::public_key_bytes};

/// Whether a report has no receipt, or one that this agent has signed for what the report says.
///
/// What model was asked for only the store knows, which compares it.
pub(crate) fn is_good(report: &Report, agent: &AgentId, public_key: &str) -> bool {
    let Some(receipt) = &report.receipt else { return true };
    let Happening::Completed { usage: Some(usage), .. } = &report.event else { return false };
    let key = public_key_bytes(public_key).and_then(|key| ParsedPublicKey::new(&ED25519, key).ok());
    let claims = jws::verify::<Receipt>(receipt, Receipt::TYP, |_| key.as_ref());
    claims.is_ok_and(|claims| claims.iss == *agent && claims.sub == report.lease.job_id && claims.usage == *usage)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};
    use titan_api::{
        ids::{JobId, LeaseId},
        inference::Usage,
        work::HeldLease,
    };

    use super::*;

    fn signed(pair: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes())))
    }

    fn header() -> Value {
        json!({ "alg": "EdDSA", "typ": "titan-receipt+jwt" })
    }

    fn claims() -> Value {
        json!({ "iss": "box", "sub": "job-1", "model": "small", "iat": 1_000, "usage": { "completion_tokens": 5 } })
    }

    fn report(receipt: String) -> Report {
        let lease =
            HeldLease { job_id: JobId::new("job-1").unwrap(), attempt: 1, lease_id: LeaseId::new("lease-1").unwrap() };
        let usage = Usage { completion_tokens: Some(5), ..Usage::default() };
        let event = Happening::Completed { result: None, message: None, usage: Some(usage) };
        Report { receipt: Some(receipt), ..Report::new(lease, event) }
    }

    #[test]
    fn a_receipt_is_good_for_its_own_agent_request_and_usage_alone() {
        let (pair, other) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let key = URL_SAFE_NO_PAD.encode(pair.public_key());
        let agent = AgentId::new("box").unwrap();
        let good = |report: &Report| is_good(report, &agent, &key);
        let right = report(signed(&pair, &header(), &claims()));
        assert!(good(&right));
        assert!(!is_good(&right, &agent, "") && !is_good(&right, &AgentId::new("other").unwrap(), &key));
        let mut wrong = vec![signed(&other, &header(), &claims()), String::new(), "a.b.c".to_owned()];
        for (name, value) in
            [("iss", json!("other")), ("sub", json!("job-2")), ("usage", json!({})), ("model", json!(1))]
        {
            let mut claims = claims();
            claims[name] = value;
            wrong.push(signed(&pair, &header(), &claims));
        }
        for (name, value) in [("typ", "titan-proof+jwt"), ("alg", "none"), ("alg", "HS256")] {
            let mut header = header();
            header[name] = json!(value);
            wrong.push(signed(&pair, &header, &claims()));
        }
        for receipt in wrong {
            assert!(!good(&report(receipt.clone())), "{receipt}");
        }
        for event in [Happening::Started {}, Happening::Completed { result: None, message: None, usage: None }] {
            assert!(!good(&Report { event, ..right.clone() }));
        }
    }
}
