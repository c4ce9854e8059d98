//! What jobs can be held to. It depends on the group that the agent is started in, so a running agent knows it best.

use super::finding::Findings;
use crate::{
    cgroups::{Cgroups, What},
    config::Config,
    local::Health,
};

const ADVICE: &str = "start the agent as a service with Delegate=yes and DelegateSubgroup=agent, or as root where the box \
                      has version 1 of the control groups; docs/agent.md has more";

pub(super) fn look(config: Option<&Config>, running: Option<&Health>, findings: &mut Findings) {
    if config.is_none_or(|config| !config.allow_jobs) {
        return;
    }
    let (who, enforced) = match running {
        Some(health) => ("the running agent holds", health.enforces.clone()),
        None => ("an agent started from here would hold", Cgroups::foresee().enforces()),
    };
    let missing: Vec<_> =
        What::ALL.into_iter().map(What::word).filter(|word| !enforced.iter().any(|e| e == word)).collect();
    if missing.is_empty() {
        return findings.ok("limits", format!("{who} jobs to their {}", enforced.join(", ")));
    }
    findings.warning("limits", format!("{who} no job to its {}", missing.join(", ")), ADVICE);
}
