//! Models: whether backends that were named answer, what is found besides, and whether clients could be answered directly.

use std::net::TcpListener;

use super::finding::Findings;
use crate::{
    backends::{Backend, Kind, at_usual_ports},
    config::Config,
};

pub(super) async fn look(config: &Config, is_running: bool, findings: &mut Findings) {
    let mut is_any = !config.supervised.backends.is_empty();
    for arg in &config.backends {
        is_any = true;
        match Backend::new(arg) {
            Ok(backend) => serves(&backend, findings).await,
            Err(e) => findings.failed("models", format!("{e:#}"), "mend its api_key_file"),
        }
    }
    if config.probe_backends {
        let known: Vec<_> = config.backends.iter().map(|arg| arg.url.clone()).collect();
        for backend in at_usual_ports(&known).await {
            is_any = true;
            serves(&backend, findings).await;
        }
    }
    if !is_any {
        nothing(config, findings);
    }
    gateway(config, is_running, findings);
}

/// What a backend says that it serves.
async fn serves(backend: &Backend, findings: &mut Findings) {
    let name = &backend.name;
    match backend.ask().await {
        Ok(served) if served.is_empty() => {
            let advice = match backend.kind {
                Kind::Ollama => {
                    "get one: `ollama pull MODEL` here, or `titan models pull MODEL --agent AGENT` from anywhere"
                }
                _ => "start it with a model",
            };
            findings.warning("models", format!("{name} answers and has no model"), advice);
        }
        Ok(served) => {
            let models: Vec<_> = served.iter().map(|served| served.public.as_str()).collect();
            findings.ok("models", format!("{name} serves {}", models.join(", ")));
        }
        Err(why) => findings.failed(
            "models",
            format!("{name}: {why}"),
            "start it, or mend --backend; an agent that runs serves its models as soon as it answers",
        ),
    }
}

fn nothing(config: &Config, findings: &mut Findings) {
    if config.allow_jobs {
        findings.ok("models", "no backend: this box serves no models");
    } else {
        findings.warning(
            "models",
            "no backend and no process jobs: there would be nothing to do here",
            "name a backend (--backend ollama=http://127.0.0.1:11434), have one started (--enable-ollama), or --allow-jobs",
        );
    }
}

/// Whether the gateway could listen, and anybody be sent to it.
fn gateway(config: &Config, is_running: bool, findings: &mut Findings) {
    let Some(address) = config.gateway_listen else { return };
    // The agent that runs has the port.
    match if is_running { None } else { TcpListener::bind(address).err() } {
        Some(e) => findings.failed("gateway", format!("cannot listen on {address}: {e}"), "mend --gateway-listen"),
        None => match &config.endpoint {
            Some(url) => {
                findings.ok("gateway", format!("clients with a ticket are sent to {url}, which leads to {address}"))
            }
            None => {
                findings.warning("gateway", format!("nobody is sent to {address}"), "name its URL in --advertise-url")
            }
        },
    }
}
