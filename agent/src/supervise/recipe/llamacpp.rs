//! The server of llama.cpp: one model, from a file or fetched, in a fixed number of slots.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::{Place, Recipe, Token, check_model};
use crate::config::LlamaCppArgs;

#[derive(Debug)]
pub(crate) struct LlamaCpp {
    model: Model,
    ctx_size: Option<u32>,
    args: Vec<String>,
}

#[derive(Debug)]
enum Model {
    File(PathBuf),
    /// At Hugging Face.
    Repository(String),
}

impl LlamaCpp {
    /// As the operator wants it.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub(crate) fn of(args: &LlamaCppArgs) -> anyhow::Result<Self> {
        let model = args.model.as_deref().filter(|model| !model.is_empty());
        let model = model.context("--llamacpp-model is missing: a file (GGUF), or USER/REPOSITORY at Hugging Face")?;
        check_model("--llamacpp-model", model)?;
        ensure!(args.ctx_size != Some(0), "--llamacpp-ctx-size must not be 0");
        let is_file = model.starts_with(['/', '.'])
            || Path::new(model).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
        let model = if is_file {
            Model::File(std::path::absolute(model).with_context(|| format!("`{model}` is no path"))?)
        } else {
            ensure!(model.matches('/').count() == 1, "--llamacpp-model is neither a file (GGUF) nor USER/REPOSITORY");
            Model::Repository(model.to_owned())
        };
        Ok(Self { model, ctx_size: args.ctx_size, args: args.args.clone() })
    }

    /// What the pool calls a model of which there is only a file.
    fn alias(path: &Path) -> String {
        path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

impl Recipe for LlamaCpp {
    fn program(&self) -> &'static str {
        "llama-server"
    }

    fn usual_port(&self) -> u16 {
        8_080
    }

    fn image(&self, has_gpus: bool) -> &'static str {
        if has_gpus { "ghcr.io/ggml-org/llama.cpp:server-cuda" } else { "ghcr.io/ggml-org/llama.cpp:server" }
    }

    fn entrypoint(&self) -> &'static [&'static str] {
        &[]
    }

    fn arguments(&self, place: &Place<'_>) -> Vec<String> {
        let mut all = match &self.model {
            Model::File(path) => {
                let file = place.model_file.map_or_else(|| path.to_string_lossy().into_owned(), str::to_owned);
                vec!["--model".to_owned(), file, "--alias".to_owned(), Self::alias(path)]
            }
            Model::Repository(name) => vec!["--hf-repo".to_owned(), name.clone(), "--alias".to_owned(), name.clone()],
        };
        if place.gpus > 0 {
            // All layers that fit; older servers put none there by themselves.
            all.extend(["--n-gpu-layers".to_owned(), "999".to_owned()]);
        }
        if let Some(tokens) = self.ctx_size {
            all.extend(["--ctx-size".to_owned(), tokens.to_string()]);
        }
        all.extend(["--parallel".to_owned(), place.parallel.unwrap_or(1).to_string()]);
        all.extend(self.args.iter().cloned());
        // Last, so that nothing before them can make it listen elsewhere.
        all.extend(["--host".to_owned(), place.host.to_owned(), "--port".to_owned(), place.port.to_string()]);
        all
    }

    fn passed_on(&self) -> &'static [&'static str] {
        &["LLAMA_", "GGML_", "HF_"]
    }

    fn models_variable(&self) -> &'static str {
        "LLAMA_CACHE"
    }

    fn health(&self) -> &'static str {
        "/health"
    }

    fn token(&self) -> Token {
        Token::Variable("HF_TOKEN")
    }

    fn model_file(&self) -> Option<&Path> {
        match &self.model {
            Model::File(path) => Some(path),
            Model::Repository(_) => None,
        }
    }
}
