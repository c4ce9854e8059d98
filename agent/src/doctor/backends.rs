//! Backends that were named, which should answer, and those that the agent is to start: whether what that takes is there,
//! and how those stand that run.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use futures_util::future::join_all;

use super::{
    devices::{has_nvidia, has_program},
    finding::Findings,
};
use crate::{
    backends,
    config::{Config, Wanted},
    local::Health,
    supervise::{GpuChoice, Phase, Status, Way, connect_docker, way},
};

pub(super) async fn look(config: &Config, running: Option<&Health>, findings: &mut Findings) {
    named(config, findings).await;
    for wanted in &config.supervised.backends {
        match way(wanted) {
            Ok(Way::Process(program)) => {
                findings.ok("backend", format!("{} is started as {}", wanted.kind, program.display()));
            }
            Ok(Way::Container) => container(wanted, findings).await,
            Err(why) => findings.failed("backend", format!("{} cannot be started: {why}", wanted.kind), ADVICE),
        }
        if let Some(file) = wanted.recipe.model_file().filter(|file| !file.is_file()) {
            let detail = format!("the model of {} is not there: {}", wanted.kind, file.display());
            findings.failed("backend", detail, format!("mend --{}-model", wanted.kind));
        }
    }
    if let Some(file) = config.supervised.hf_token_file.as_deref().filter(|_| !config.supervised.backends.is_empty()) {
        token(file, findings);
    }
    for status in running.into_iter().flat_map(|health| &health.backends) {
        stand(status, findings);
    }
}

/// All are asked at once: a dead one takes seconds.
async fn named(config: &Config, findings: &mut Findings) {
    let answers = join_all(config.backends.iter().map(backends::ask)).await;
    for (arg, answer) in config.backends.iter().zip(answers) {
        let name = format!("{} at {}", arg.kind, arg.url);
        match answer {
            Ok(0) => findings.warning("backend", format!("{name} answers, and has no model"), "have it get one"),
            Ok(models) => findings.ok("backend", format!("{name} answers; models: {models}")),
            Err(why) => {
                let advice = "start it, or mend --backend: the kind, and the URL with its port";
                findings.failed("backend", format!("{name} does not answer as it should: {why}"), advice);
            }
        }
    }
}

const ADVICE: &str =
    "docs/backends.md says what each kind takes; --backend serves one that is started by something else";

async fn container(wanted: &Wanted, findings: &mut Findings) {
    let kind = wanted.kind;
    let version = async { connect_docker().await?.version().await.map_err(|e| e.to_string()) };
    match version.await {
        Ok(version) => {
            let version = version.version.unwrap_or_default();
            findings.ok("backend", format!("{kind} is started in a container of Docker {version}"));
        }
        Err(why) => return findings.failed("backend", format!("{kind} cannot be started: {why}"), ADVICE),
    }
    let wants_gpus = wanted.gpus != GpuChoice::These(Vec::new());
    if wants_gpus && has_nvidia() && !has_program("nvidia-ctk") {
        findings.failed(
            "backend",
            format!("Docker has no GPU to give to {kind}: there is no nvidia-ctk"),
            format!(
                "install the NVIDIA container toolkit, run `nvidia-ctk runtime configure --runtime=docker` and restart \
                 Docker; or say --{kind}-gpus none"
            ),
        );
    }
}

/// The token itself is not looked at.
fn token(file: &Path, findings: &mut Findings) {
    let name = file.display();
    match fs::metadata(file) {
        Err(e) => findings.failed("backend", format!("the token file {name}: {e}"), "mend --hf-token-file"),
        Ok(about) if about.mode() & 0o077 != 0 => findings.warning(
            "backend",
            format!("other accounts of this box can read the token in {name}"),
            format!("chmod 600 {name}"),
        ),
        Ok(_) => findings.ok("backend", format!("{name} holds the token of Hugging Face")),
    }
}

fn stand(status: &Status, findings: &mut Findings) {
    let doing = status.doing.as_deref().map(|doing| format!("; it {doing}")).unwrap_or_default();
    let reason = status.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let (kind, state) = (&status.kind, status.state.word().replace('_', " "));
    let detail = format!("{kind} is {state}, started again {} times{doing}{reason}", status.restarts);
    let advice = "what it said is in `backends` in the state folder";
    match status.state {
        Phase::Healthy | Phase::Starting | Phase::Stopped => findings.ok("backend", detail),
        Phase::Unhealthy | Phase::Restarting => findings.warning("backend", detail, advice),
        Phase::GivenUp => findings.failed(
            "backend",
            detail,
            format!("{advice}; once that is mended, start the agent again, or wait ten minutes"),
        ),
    }
}
