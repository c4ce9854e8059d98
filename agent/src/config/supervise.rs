//! Backends that the agent itself starts and looks after, as the operator wants them. Only what stands here decides what
//! is started; no coordinator has a say in it.

mod llamacpp;
mod ollama;
mod vllm;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use titan_api::limits;

pub use llamacpp::LlamaCppArgs;
pub use ollama::OllamaArgs;
pub use vllm::VllmArgs;

use super::{Accounts, JobUser, RunArgs};
use crate::{
    backends::Kind,
    supervise::{GpuChoice, LlamaCpp, Ollama, Recipe, Vllm},
};

/// Large models are fetched before they are loaded.
const START_TIMEOUT: Duration = Duration::from_mins(30);
/// Arguments of one backend, and bytes of one.
const ARGS: usize = 64;
const ARG_BYTES: usize = 4_096;

/// How a backend is to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunnerWish {
    /// As a process if its program is there, else in a container.
    #[default]
    Auto,
    /// As a process of this box.
    Process,
    /// In a container of Docker.
    Container,
}

/// What is the same for all kinds.
#[derive(Debug, Clone, Copy)]
struct Common<'a> {
    enable: bool,
    port: Option<u16>,
    gpus: Option<&'a str>,
    runner: RunnerWish,
    program: Option<&'a PathBuf>,
    image: Option<&'a str>,
    models: Option<&'a PathBuf>,
    parallel: Option<u32>,
    args: &'a [String],
}

/// All backends that are to be started.
#[derive(Debug, Clone)]
pub(crate) struct Supervised {
    pub backends: Vec<Wanted>,
    /// Whether they go on when the agent stops.
    pub keep: bool,
    /// How long one may take until it answers.
    pub start_timeout: Duration,
    pub hf_token_file: Option<PathBuf>,
    /// `None`: processes run as the agent does.
    pub user: Option<JobUser>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub kind: Kind,
    pub recipe: Arc<dyn Recipe>,
    pub port: Option<u16>,
    pub gpus: GpuChoice,
    pub runner: RunnerWish,
    pub program: Option<PathBuf>,
    pub image: Option<String>,
    pub models: Option<PathBuf>,
    pub parallel: Option<u32>,
}

/// Refuses what makes no sense.
///
/// # Errors
/// Says which setting is wrong, and how.
pub(super) fn check(args: &RunArgs, accounts: Accounts) -> anyhow::Result<Supervised> {
    let all = [
        wanted(Kind::Ollama, args.ollama.common(), || Ok(Arc::new(Ollama::of(&args.ollama)?))),
        wanted(Kind::Vllm, args.vllm.common(), || Ok(Arc::new(Vllm::of(&args.vllm)?))),
        wanted(Kind::LlamaCpp, args.llamacpp.common(), || Ok(Arc::new(LlamaCpp::of(&args.llamacpp)?))),
    ];
    let backends: Vec<_> = all.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let mut ports: Vec<_> = backends.iter().filter_map(|wanted| wanted.port).collect();
    ports.sort_unstable();
    ensure!(ports.windows(2).all(|two| two[0] != two[1]), "two backends are to listen at the same port");
    let user = args.backend_user.as_deref().filter(|name| !name.is_empty());
    Ok(Supervised {
        keep: args.keep_backends == Some(true),
        start_timeout: args.backend_start_timeout.unwrap_or(START_TIMEOUT),
        hf_token_file: args
            .hf_token_file
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty())
            .map(absolute)
            .transpose()?,
        user: user.map(|name| accounts.find(name).context("--backend-user cannot be used")).transpose()?.flatten(),
        backends,
    })
}

fn wanted(
    kind: Kind,
    common: Common<'_>,
    recipe: impl FnOnce() -> anyhow::Result<Arc<dyn Recipe>>,
) -> anyhow::Result<Option<Wanted>> {
    if !common.enable {
        return Ok(None);
    }
    let gpus = common.gpus.filter(|text| !text.trim().is_empty()).unwrap_or("all");
    let gpus = gpus.parse::<GpuChoice>().map_err(anyhow::Error::msg).with_context(|| format!("--{kind}-gpus"))?;
    ensure!(common.port != Some(0), "--{kind}-port is 0; leave it out and a free one is chosen");
    let most = limits::REQUESTS;
    let parallel = common.parallel.unwrap_or(1);
    ensure!((1..=most).contains(&parallel), "--{kind}-parallel is {parallel} and must be from 1 to {most}");
    let is_plain = |arg: &String| arg.len() <= ARG_BYTES && !arg.contains('\0');
    ensure!(
        common.args.len() <= ARGS && common.args.iter().all(is_plain),
        "{kind} may have {ARGS} further arguments of up to {ARG_BYTES} bytes"
    );
    // The whole box can read arguments.
    ensure!(
        !common.args.iter().any(|arg| arg.contains("hf-token") || arg.contains("hf_token") || arg.contains("api-key")),
        "a secret must not be an argument of {kind}: --hf-token-file names a file that holds the token"
    );
    let named = |path: Option<&PathBuf>| path.filter(|path| !path.as_os_str().is_empty()).cloned();
    Ok(Some(Wanted {
        kind,
        recipe: recipe().with_context(|| format!("{kind} cannot be started like that"))?,
        port: common.port,
        gpus,
        runner: common.runner,
        program: named(common.program),
        image: common.image.filter(|image| !image.is_empty()).map(str::to_owned),
        models: named(common.models).as_deref().map(absolute).transpose()?,
        parallel: common.parallel,
    }))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("`{}` is no path", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(change: impl FnOnce(&mut RunArgs)) -> anyhow::Result<Supervised> {
        let mut args = RunArgs::default();
        change(&mut args);
        check(&args, Accounts { is_root: false, may_be_root: false })
    }

    #[test]
    fn nothing_is_started_unless_it_is_asked_for() {
        let vllm = VllmArgs { model: Some("m".into()), port: Some(8_001), ..VllmArgs::default() };
        assert!(checked(|args| args.vllm = vllm.clone()).unwrap().backends.is_empty());
        let started = checked(|args| args.vllm = VllmArgs { enable: Some(true), ..vllm }).unwrap();
        assert_eq!((started.backends.len(), started.backends[0].port), (1, Some(8_001)));
        assert!(!started.keep && started.start_timeout == START_TIMEOUT);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_flag_that_says_it() {
        let refusal = |change: &dyn Fn(&mut VllmArgs)| {
            let mut vllm = VllmArgs { enable: Some(true), ..VllmArgs::default() };
            change(&mut vllm);
            format!("{:#}", checked(|args| args.vllm = vllm).unwrap_err())
        };
        assert!(refusal(&|vllm| vllm.port = Some(0)).contains("--vllm-port"));
        assert!(refusal(&|vllm| vllm.gpus = Some("0 1".into())).contains("--vllm-gpus"));
        assert!(refusal(&|vllm| vllm.tensor_parallel = Some(0)).contains("--vllm-tensor-parallel"));
        assert!(refusal(&|vllm| vllm.model = Some("--trust-remote-code".into())).contains("--vllm-model"));
        let secret = refusal(&|vllm| vllm.args = vec!["--hf-token=geheim".into()]);
        assert!(secret.contains("--hf-token-file") && !secret.contains("geheim"));
        let llamacpp = LlamaCppArgs { enable: Some(true), ..LlamaCppArgs::default() };
        assert!(format!("{:#}", checked(|args| args.llamacpp = llamacpp).unwrap_err()).contains("--llamacpp-model"));
    }
}
