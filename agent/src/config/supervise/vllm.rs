//! vLLM, as an operator wants it started.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Common, RunnerWish};
use crate::config::truth::Truth;

/// Settings for vLLM. In the file they stand in the table `vllm`, without the kind's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VllmArgs {
    /// Start vLLM, serve its models, and look after it. Off by default.
    #[arg(id = "enable_vllm", long = "enable-vllm", env = "TITAN_ENABLE_VLLM", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "crate::config::truth::in_file")]
    pub enable: Option<bool>,

    /// The model that vLLM serves; mistralai/Mistral-7B-Instruct-v0.1 by default.
    #[arg(id = "vllm_model", long = "vllm-model", env = "TITAN_VLLM_MODEL", value_name = "MODEL")]
    pub model: Option<String>,

    /// The port of loopback where vLLM listens; 8000 by default, another one if that is taken.
    #[arg(id = "vllm_port", long = "vllm-port", env = "TITAN_VLLM_PORT", value_name = "PORT")]
    pub port: Option<u16>,

    /// The GPUs that vLLM gets: `all` (the default), `none`, or numbers or UUIDs with commas.
    #[arg(id = "vllm_gpus", long = "vllm-gpus", env = "TITAN_VLLM_GPUS", value_name = "GPUS")]
    pub gpus: Option<String>,

    /// How vLLM is started: as a `process`, in a `container`, or `auto` (the default): as a process if its program is
    /// there, else in a container.
    #[arg(id = "vllm_runner", long = "vllm-runner", env = "TITAN_VLLM_RUNNER", value_name = "HOW")]
    pub runner: Option<RunnerWish>,

    /// The program; `vllm` in PATH by default.
    #[arg(id = "vllm_program", long = "vllm-program", env = "TITAN_VLLM_PROGRAM", value_name = "FILE")]
    pub program: Option<PathBuf>,

    /// The image for a container; vllm/vllm-openai:latest by default.
    #[arg(id = "vllm_image", long = "vllm-image", env = "TITAN_VLLM_IMAGE", value_name = "IMAGE")]
    pub image: Option<String>,

    /// The folder where vLLM keeps what it fetches (`HF_HOME`). By default its own, in a container the volume titan-vllm.
    #[arg(id = "vllm_models", long = "vllm-models", env = "TITAN_VLLM_MODELS", value_name = "FOLDER")]
    pub models: Option<PathBuf>,

    /// Over how many GPUs vLLM spreads the model; 1 by default.
    #[arg(
        id = "vllm_tensor_parallel",
        long = "vllm-tensor-parallel",
        env = "TITAN_VLLM_TENSOR_PARALLEL",
        value_name = "N"
    )]
    pub tensor_parallel: Option<u32>,

    /// The longest text that vLLM serves, in tokens; 4096 by default.
    #[arg(
        id = "vllm_max_model_len",
        long = "vllm-max-model-len",
        env = "TITAN_VLLM_MAX_MODEL_LEN",
        value_name = "TOKENS"
    )]
    pub max_model_len: Option<u32>,

    /// One more argument for vLLM, for example `--vllm-arg=--dtype=half`. May be repeated. In the file the list `args`.
    #[arg(
        id = "vllm_arg",
        long = "vllm-arg",
        env = "TITAN_VLLM_ARG",
        value_name = "ARGUMENT",
        allow_hyphen_values = true
    )]
    pub args: Vec<String>,
}

impl VllmArgs {
    pub(super) fn common(&self) -> Common<'_> {
        Common {
            enable: self.enable == Some(true),
            port: self.port,
            gpus: self.gpus.as_deref(),
            runner: self.runner.unwrap_or_default(),
            program: self.program.as_ref(),
            image: self.image.as_deref(),
            models: self.models.as_ref(),
            parallel: None,
            args: &self.args,
        }
    }

    /// These, and for what they leave open the other ones.
    pub(in crate::config) fn or(self, other: Self) -> Self {
        let Self { enable, model, port, gpus, runner, program, image, models, tensor_parallel, max_model_len, args } =
            self;
        Self {
            enable: enable.or(other.enable),
            model: model.or(other.model),
            port: port.or(other.port),
            gpus: gpus.or(other.gpus),
            runner: runner.or(other.runner),
            program: program.or(other.program),
            image: image.or(other.image),
            models: models.or(other.models),
            tensor_parallel: tensor_parallel.or(other.tensor_parallel),
            max_model_len: max_model_len.or(other.max_model_len),
            args: if args.is_empty() { other.args } else { args },
        }
    }
}
