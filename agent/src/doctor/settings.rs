//! What the operator has set.

use super::finding::Findings;
use crate::{
    config::{Config, RunArgs},
    run::is_open,
};

pub(super) fn look(args: &RunArgs, config: &Config, findings: &mut Findings) {
    let urls = config.coordinators.join(", ");
    let file = args.config.as_ref().map(|file| format!(", the rest from {}", file.display())).unwrap_or_default();
    findings.ok("settings", format!("{urls}{file}; state in {}", config.state_dir.display()));
    for url in config.coordinators.iter().filter(|url| is_open(url)) {
        findings.warning(
            "encryption",
            format!("{url} is not encrypted: whoever is on the way reads tokens and jobs"),
            "put TLS in front of the coordinator and use https",
        );
    }
    let names = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    if let Some(name) = names.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
        findings.ok("proxy", format!("{name} is set, so calls go that way unless NO_PROXY names the host"));
    }
}
