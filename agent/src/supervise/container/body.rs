//! What Docker is asked for: one container that can be reached from this box alone.

use std::{collections::HashMap, path::Path};

use aws_lc_rs::digest;
use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};

use crate::{
    config::{Supervised, Wanted},
    supervise::{
        environment::of_container,
        gpus::Chosen,
        recipe::{Place, Token},
    },
};

/// Which agent it belongs to.
pub(super) const AGENT: &str = "titancompute.agent";
/// What kind of backend it is.
pub(super) const BACKEND: &str = "titancompute.backend";
/// What it was made from.
pub(super) const PLAN: &str = "titancompute.plan";
/// Where it can be reached.
pub(super) const PORT: &str = "titancompute.port";

const MODELS: &str = "/models";
const MODEL_FILE: &str = "/model.gguf";
const TOKEN_FILE: &str = "/run/secrets/hf-token";

/// The container for `wanted` at `port` of loopback.
///
/// # Errors
/// It cannot be had in a container, in words.
pub(super) fn of(
    wanted: &Wanted,
    supervised: &Supervised,
    gpus: &Chosen,
    agent: &str,
    port: u16,
) -> Result<ContainerCreateBody, String> {
    let (recipe, has_gpus) = (&wanted.recipe, gpus.count() > 0);
    let inner = recipe.usual_port();
    let model_file = recipe.model_file().map(|_| MODEL_FILE);
    let place = Place { host: "0.0.0.0", port: inner, gpus: gpus.count(), model_file, parallel: wanted.parallel };
    let (mut env, _) = of_container(recipe.passed_on());
    env.extend(recipe.environment(&place).into_iter().map(|(name, value)| (name.to_owned(), value)));
    env.insert(recipe.models_variable().to_owned(), MODELS.to_owned());
    if *gpus == Chosen::These(Vec::new()) {
        // Where NVIDIA's runtime is Docker's usual one, images ask it for all.
        env.insert("NVIDIA_VISIBLE_DEVICES".to_owned(), "void".to_owned());
    }
    let mut mounts = vec![models(wanted)];
    if let Some(file) = recipe.model_file() {
        mounts.push(bind(file, MODEL_FILE, true));
    }
    if let Some(file) = &supervised.hf_token_file {
        match recipe.token() {
            Token::Unused => {}
            Token::File(name) => {
                env.insert(name.to_owned(), TOKEN_FILE.to_owned());
                mounts.push(bind(file, TOKEN_FILE, true));
            }
            Token::Variable(_) if recipe.model_file().is_some() => {}
            // Whoever may ask Docker could read it there.
            Token::Variable(_) => {
                return Err(format!(
                    "{} takes a token from its environment alone, which Docker shows: start it as a process, or fetch \
                     the model yourself and name its file",
                    wanted.kind
                ));
            }
        }
    }
    let image = wanted.image.clone().unwrap_or_else(|| recipe.image(has_gpus).to_owned());
    let entrypoint: Vec<_> = recipe.entrypoint().iter().map(|&word| word.to_owned()).collect();
    let mut labels = HashMap::from([
        (AGENT.to_owned(), agent.to_owned()),
        (BACKEND.to_owned(), wanted.kind.to_string()),
        (PORT.to_owned(), port.to_string()),
    ]);
    let mut body = ContainerCreateBody {
        image: Some(image),
        entrypoint: (!entrypoint.is_empty()).then_some(entrypoint),
        cmd: Some(recipe.arguments(&place)),
        env: Some(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        exposed_ports: Some(vec![format!("{inner}/tcp")]),
        host_config: Some(host(inner, port, mounts, gpus, recipe.shared_bytes())),
        ..ContainerCreateBody::default()
    };
    labels.insert(PLAN.to_owned(), fingerprint(&body));
    body.labels = Some(labels);
    Ok(body)
}

fn host(inner: u16, port: u16, mounts: Vec<Mount>, gpus: &Chosen, shm_size: Option<i64>) -> HostConfig {
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port.to_string()) };
    let log = [("max-size", "10m"), ("max-file", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    HostConfig {
        port_bindings: Some(HashMap::from([(format!("{inner}/tcp"), Some(vec![binding]))])),
        mounts: Some(mounts),
        device_requests: device_request(gpus).map(|request| vec![request]),
        shm_size,
        // The agent starts it again, with its own patience.
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        // Somebody who collects the dead.
        init: Some(true),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(HashMap::from(log)) }),
        ..HostConfig::default()
    }
}

fn device_request(gpus: &Chosen) -> Option<DeviceRequest> {
    let (count, device_ids) = match gpus {
        Chosen::All(0) => return None,
        Chosen::All(_) => (Some(-1), None),
        Chosen::These(ids) if ids.is_empty() => return None,
        Chosen::These(ids) => (None, Some(ids.clone())),
    };
    let (driver, capabilities) = (Some("nvidia".to_owned()), Some(vec![vec!["gpu".to_owned()]]));
    Some(DeviceRequest { driver, count, device_ids, capabilities, options: None })
}

/// A folder of the box, or a volume of Docker's that outlives the container.
fn models(wanted: &Wanted) -> Mount {
    if let Some(folder) = &wanted.models {
        return bind(folder, MODELS, false);
    }
    let (source, target) = (Some(format!("titan-{}", wanted.kind)), Some(MODELS.to_owned()));
    Mount { source, target, typ: Some(MountType::VOLUME), ..Mount::default() }
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        typ: Some(MountType::BIND),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// Short, and another one for every other container.
fn fingerprint(body: &ContainerCreateBody) -> String {
    // As a value, whose members are in order.
    let text = serde_json::to_value(body).map(|value| value.to_string()).unwrap_or_default();
    short_digest(text.as_bytes())
}

/// Sixteen hexadecimal digits that stand for `bytes`.
pub(super) fn short_digest(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    let number = digest.as_ref().iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{number:016x}")
}
