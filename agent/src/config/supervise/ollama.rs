//! Ollama, as an operator wants it started.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Common, RunnerWish};
use crate::config::truth::Truth;

/// Settings for Ollama. In the file they stand in the table `ollama`, without the kind's name.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OllamaArgs {
    /// Start Ollama, serve its models, and look after it. Off by default.
    #[arg(id = "enable_ollama", long = "enable-ollama", env = "TITAN_ENABLE_OLLAMA", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = Truth)]
    #[serde(deserialize_with = "crate::config::truth::in_file")]
    pub enable: Option<bool>,

    /// The model that Ollama fetches once it runs, if it is not there; llama2 by default, none if it is empty.
    #[arg(id = "ollama_model", long = "ollama-model", env = "TITAN_OLLAMA_MODEL", value_name = "MODEL")]
    pub model: Option<String>,

    /// The port of loopback where Ollama listens; 11434 by default, another one if that is taken.
    #[arg(id = "ollama_port", long = "ollama-port", env = "TITAN_OLLAMA_PORT", value_name = "PORT")]
    pub port: Option<u16>,

    /// The GPUs that Ollama gets: `all` (the default), `none`, or numbers or UUIDs with commas.
    #[arg(id = "ollama_gpus", long = "ollama-gpus", env = "TITAN_OLLAMA_GPUS", value_name = "GPUS")]
    pub gpus: Option<String>,

    /// How Ollama is started: as a `process`, in a `container`, or `auto` (the default): as a process if its program is
    /// there, else in a container.
    #[arg(id = "ollama_runner", long = "ollama-runner", env = "TITAN_OLLAMA_RUNNER", value_name = "HOW")]
    pub runner: Option<RunnerWish>,

    /// The program; `ollama` in PATH by default.
    #[arg(id = "ollama_program", long = "ollama-program", env = "TITAN_OLLAMA_PROGRAM", value_name = "FILE")]
    pub program: Option<PathBuf>,

    /// The image for a container; ollama/ollama:latest by default.
    #[arg(id = "ollama_image", long = "ollama-image", env = "TITAN_OLLAMA_IMAGE", value_name = "IMAGE")]
    pub image: Option<String>,

    /// The folder where Ollama keeps models. By default its own, in a container the volume titan-ollama.
    #[arg(id = "ollama_models", long = "ollama-models", env = "TITAN_OLLAMA_MODELS", value_name = "FOLDER")]
    pub models: Option<PathBuf>,

    /// How many requests Ollama serves at once for each model; 1 by default.
    #[arg(id = "ollama_parallel", long = "ollama-parallel", env = "TITAN_OLLAMA_PARALLEL", value_name = "N")]
    pub parallel: Option<u32>,
}

impl OllamaArgs {
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
            args: &[],
        }
    }

    /// These, and for what they leave open the other ones.
    pub(in crate::config) fn or(self, other: Self) -> Self {
        let Self { enable, model, port, gpus, runner, program, image, models, parallel } = self;
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
        }
    }
}
