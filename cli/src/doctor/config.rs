//! What is configured on this machine.

use titan_agent::{Finding, Findings};
use titan_api::loopback;

use crate::target::{KeyOrigin, Origin, Target, exposed_contexts, proxy_variable};

/// Looks at where URL and key come from, and who else could read them.
pub(super) fn look(target: &Target, findings: &mut Findings) {
    let from = match &target.origin {
        Origin::Flag => "--url".to_owned(),
        Origin::Argument => "the command line".to_owned(),
        Origin::Variable => "TITAN_URL".to_owned(),
        Origin::Context(name) => format!("context {name}"),
        Origin::Dev { dev, .. } => format!("`titan dev` (process {})", dev.pid),
        Origin::Default => "nothing that says where: it is the default".to_owned(),
    };
    let pool = target.pool.as_ref().map(|pool| format!(", pool {pool}")).unwrap_or_default();
    findings.add(Finding::ok("configuration", format!("{} from {from}{pool}", target.url)));
    if let Some(file) = exposed_contexts() {
        let file = file.display();
        findings.add(Finding::warning(
            "file",
            format!("{file} holds keys, and other accounts of this machine may read it"),
            format!("chmod 600 {file}"),
        ));
    }
    if target.url.starts_with("http://") && !loopback::is_url(&target.url) {
        findings.add(Finding::warning(
            "encryption",
            "the URL is http: whoever is on the way reads the key and what jobs write",
            "put TLS in front of the coordinator and use https",
        ));
    }
    proxy(target, findings);
}

/// A proxy explains much of what goes wrong on the way.
fn proxy(target: &Target, findings: &mut Findings) {
    if let Some(name) = proxy_variable(&target.url) {
        findings
            .add(Finding::ok("proxy", format!("{name} is set, so calls go that way unless NO_PROXY names the host")));
    }
}

/// Where the key is from, in words.
pub(super) fn key_source(origin: &KeyOrigin) -> String {
    match origin {
        KeyOrigin::Flag => "--key-file".to_owned(),
        KeyOrigin::Variable => "TITAN_API_KEY".to_owned(),
        KeyOrigin::VariableFile(file) => format!("{} (TITAN_API_KEY_FILE)", file.display()),
        KeyOrigin::Context(name) => format!("context {name}"),
        KeyOrigin::Dev => "the running `titan dev`".to_owned(),
    }
}
