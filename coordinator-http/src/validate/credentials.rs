//! Credentials as an administrator asks for them.

use titan_api::{
    credentials::{CreateJoinToken, CreateKey, Quota},
    limits,
};

use super::{Findings, Validate};

/// Most agents that one join token lets in.
const JOIN_USES: u32 = 10_000;

impl Validate for CreateKey {
    fn check(&self, f: &mut Findings) {
        f.text("name", &self.name, limits::TEXT_BYTES);
        f.require(!self.scopes.is_empty(), "scopes", || "names no scope; a key without any can do nothing".to_owned());
        f.distinct("scopes", self.scopes.iter().map(|scope| scope.as_str()));
        if let Some(life_ms) = self.expires_in_ms {
            f.within("expires_in_ms", life_ms, limits::KEY_LIFE_MS);
        }
        f.inside("limits", |f| {
            for (name, quota) in [("requests", self.limits.requests), ("body_bytes", self.limits.body_bytes)] {
                if let Some(quota) = quota {
                    f.inside(name, |f| quota.check(f));
                }
            }
        });
    }
}

impl Validate for Quota {
    fn check(&self, f: &mut Findings) {
        f.within("quota", self.quota, limits::QUOTA);
        f.within("window_ms", self.window_ms, limits::QUOTA_WINDOW_MS);
    }
}

impl Validate for CreateJoinToken {
    fn check(&self, f: &mut Findings) {
        f.within("uses", self.uses, 1..=JOIN_USES);
        f.within("expires_in_ms", self.expires_in_ms, limits::JOIN_LIFE_MS);
    }
}
