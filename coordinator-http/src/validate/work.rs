//! What agents send about their work. A single report that is wrong is answered as such by the store; here are only
//! the bounds of the whole.

use titan_api::{
    limits,
    work::{Claim, ClaimRequest, HeartbeatRequest, ReportRequest},
};

use super::{Findings, Validate, agent::check_models};

/// Highest number that survives as an exact number in JSON and in Lua: 2⁵³ − 1.
const EXACT: u64 = (1 << 53) - 1;

impl Validate for HeartbeatRequest {
    fn check(&self, f: &mut Findings) {
        f.protocol(self.protocol);
        f.within("seq", self.seq, 0..=EXACT);
        f.within("last_claim", self.last_claim, 0..=EXACT);
        f.at_most("leases", self.leases.len(), limits::LEASES);
        f.at_most("reports", self.reports.len(), limits::REPORTS);
        f.inside("measures", |f| self.measures.check(f));
        f.within("pulls", self.pulls, 0..=limits::PULLS);
        if let Some(models) = &self.models {
            check_models(models, f);
        }
        if let Some(claim) = &self.claim {
            f.inside("claim", |f| claim.check(f));
        }
    }
}

impl Validate for ClaimRequest {
    fn check(&self, f: &mut Findings) {
        f.protocol(self.protocol);
        self.claim.check(f);
        f.within("wait_ms", self.wait_ms, 0..=limits::CLAIM_WAIT_MS);
        if let Some(measures) = &self.measures {
            f.inside("measures", |f| measures.check(f));
        }
    }
}

impl Validate for Claim {
    fn check(&self, f: &mut Findings) {
        f.within("claim", self.claim, 1..=EXACT);
        f.within("free_slots", self.free_slots, 0..=limits::MAX_JOBS);
        f.within("free_requests", self.free_requests, 0..=limits::REQUESTS);
    }
}

impl Validate for ReportRequest {
    fn check(&self, f: &mut Findings) {
        f.protocol(self.protocol);
        f.at_most("reports", self.reports.len(), limits::REPORTS);
        if let Some(claim) = &self.claim {
            f.inside("claim", |f| claim.check(f));
        }
    }
}
