//! Ollama: one program for many models, which it loads when they are asked for.

use super::{Place, Recipe, check_model};
use crate::config::OllamaArgs;

const MODEL: &str = "llama2";

#[derive(Debug)]
pub(crate) struct Ollama {
    /// Fetched once it runs.
    model: Option<String>,
}

impl Ollama {
    /// As the operator wants it.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub(crate) fn of(args: &OllamaArgs) -> anyhow::Result<Self> {
        let model = args.model.as_deref().unwrap_or(MODEL).trim();
        if model.is_empty() {
            return Ok(Self { model: None });
        }
        check_model("--ollama-model", model)?;
        Ok(Self { model: Some(model.to_owned()) })
    }
}

impl Recipe for Ollama {
    fn program(&self) -> &'static str {
        "ollama"
    }

    fn usual_port(&self) -> u16 {
        11_434
    }

    fn image(&self, _has_gpus: bool) -> &'static str {
        "ollama/ollama:latest"
    }

    fn entrypoint(&self) -> &'static [&'static str] {
        &["ollama"]
    }

    fn arguments(&self, _place: &Place<'_>) -> Vec<String> {
        vec!["serve".to_owned()]
    }

    fn environment(&self, place: &Place<'_>) -> Vec<(&'static str, String)> {
        let parallel = place.parallel.unwrap_or(1);
        let host = format!("{}:{}", place.host, place.port);
        vec![("OLLAMA_HOST", host), ("OLLAMA_NUM_PARALLEL", parallel.to_string())]
    }

    fn passed_on(&self) -> &'static [&'static str] {
        &["OLLAMA_"]
    }

    fn models_variable(&self) -> &'static str {
        "OLLAMA_MODELS"
    }

    fn health(&self) -> &'static str {
        "/api/version"
    }

    fn fetches(&self) -> Option<&str> {
        self.model.as_deref()
    }
}
