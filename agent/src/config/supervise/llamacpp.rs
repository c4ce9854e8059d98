//! The server of llama.cpp, as an operator wants it started.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Common, RunnerWish};
use crate::config::truth::Truth;

/// Settings for the server of llama.cpp. In the file they stand in the table `llamacpp`, without the kind's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LlamaCppArgs {
    /// Start the server of llama.cpp, serve its models, and look after it. Off by default.
    #[arg(id = "enable_llamacpp", long = "enable-llamacpp", env = "TITAN_ENABLE_LLAMACPP", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "crate::config::truth::in_file")]
    pub enable: Option<bool>,

    /// The model that llama.cpp serves: a file (GGUF), or USER/REPOSITORY or USER/REPOSITORY:QUANT at Hugging Face. It has no default.
    #[arg(id = "llamacpp_model", long = "llamacpp-model", env = "TITAN_LLAMACPP_MODEL", value_name = "MODEL")]
    pub model: Option<String>,

    /// The port of loopback where the server of llama.cpp listens; 8080 by default, another one if that is taken.
    #[arg(id = "llamacpp_port", long = "llamacpp-port", env = "TITAN_LLAMACPP_PORT", value_name = "PORT")]
    pub port: Option<u16>,

    /// The GPUs that the server of llama.cpp gets: `all` (the default), `none`, or numbers or UUIDs with commas.
    #[arg(id = "llamacpp_gpus", long = "llamacpp-gpus", env = "TITAN_LLAMACPP_GPUS", value_name = "GPUS")]
    pub gpus: Option<String>,

    /// How the server of llama.cpp is started: as a `process`, in a `container`, or `auto` (the default): as a process if its program is
    /// there, else in a container.
    #[arg(id = "llamacpp_runner", long = "llamacpp-runner", env = "TITAN_LLAMACPP_RUNNER", value_name = "HOW")]
    pub runner: Option<RunnerWish>,

    /// The program; `llama-server` in PATH by default.
    #[arg(id = "llamacpp_program", long = "llamacpp-program", env = "TITAN_LLAMACPP_PROGRAM", value_name = "FILE")]
    pub program: Option<PathBuf>,

    /// The image for a container; ghcr.io/ggml-org/llama.cpp:server (server-cuda with GPUs) by default.
    #[arg(id = "llamacpp_image", long = "llamacpp-image", env = "TITAN_LLAMACPP_IMAGE", value_name = "IMAGE")]
    pub image: Option<String>,

    /// The folder where llama.cpp keeps what it fetches. By default its own, in a container the volume titan-llamacpp.
    #[arg(id = "llamacpp_models", long = "llamacpp-models", env = "TITAN_LLAMACPP_MODELS", value_name = "FOLDER")]
    pub models: Option<PathBuf>,

    /// How many requests llama.cpp serves at once; 1 by default.
    #[arg(id = "llamacpp_parallel", long = "llamacpp-parallel", env = "TITAN_LLAMACPP_PARALLEL", value_name = "N")]
    pub parallel: Option<u32>,

    /// The tokens that llama.cpp keeps for all of these together; as many as the model was made for by default.
    #[arg(
        id = "llamacpp_ctx_size",
        long = "llamacpp-ctx-size",
        env = "TITAN_LLAMACPP_CTX_SIZE",
        value_name = "TOKENS"
    )]
    pub ctx_size: Option<u32>,

    /// One more argument for llama.cpp, for example `--llamacpp-arg=--flash-attn=on`. May be repeated. In the file the list
    /// `args`.
    #[arg(
        id = "llamacpp_arg",
        long = "llamacpp-arg",
        env = "TITAN_LLAMACPP_ARG",
        value_name = "ARGUMENT",
        allow_hyphen_values = true
    )]
    pub args: Vec<String>,
}

impl LlamaCppArgs {
    pub(super) fn common(&self) -> Common<'_> {
        Common {
            enable: self.enable == Some(true),
            port: self.port,
            gpus: self.gpus.as_deref(),
            runner: self.runner.unwrap_or_default(),
            program: self.program.as_ref(),
            image: self.image.as_deref(),
            models: self.models.as_ref(),
            parallel: self.parallel,
            args: &self.args,
        }
    }

    /// These, and for what they leave open the other ones.
    pub(in crate::config) fn or(self, other: Self) -> Self {
        let Self { enable, model, port, gpus, runner, program, image, models, parallel, ctx_size, args } = self;
        Self {
            enable: enable.or(other.enable),
            model: model.or(other.model),
            port: port.or(other.port),
            gpus: gpus.or(other.gpus),
            runner: runner.or(other.runner),
            program: program.or(other.program),
            image: image.or(other.image),
            models: models.or(other.models),
            parallel: parallel.or(other.parallel),
            ctx_size: ctx_size.or(other.ctx_size),
            args: if args.is_empty() { other.args } else { args },
        }
    }
}
