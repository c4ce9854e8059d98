//! What kinds of backends differ in when they are started.

mod llamacpp;
mod ollama;
mod vllm;

use std::{fmt, path::Path};

use anyhow::ensure;

pub(crate) use llamacpp::LlamaCpp;
pub(crate) use ollama::Ollama;
pub(crate) use vllm::Vllm;

/// Bytes of a model's name.
const MODEL_BYTES: usize = 1_024;

/// Where a backend finds itself when it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The address to listen at. It can be reached from this box alone: it is loopback's, or that of a container of
    /// which only a port of loopback is published.
    pub host: &'static str,
    pub port: u16,
    /// How many GPUs it sees.
    pub gpus: usize,
    /// Where the model's file is, if it is one.
    pub model_file: Option<&'a str>,
    pub parallel: Option<u32>,
}

/// How a backend takes the token of Hugging Face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// Not at all.
    Unused,
    /// It reads a file that a variable names.
    File(&'static str),
    /// From a variable.
    Variable(&'static str),
}

/// How one kind of backend is started.
pub(crate) trait Recipe: fmt::Debug + Send + Sync {
    /// The name of its program.
    fn program(&self) -> &'static str;

    /// Where it listens unless it is told otherwise.
    fn usual_port(&self) -> u16;

    /// The image of its container.
    fn image(&self, has_gpus: bool) -> &'static str;

    /// What is run in the container; the image's own way if this is empty.
    fn entrypoint(&self) -> &'static [&'static str];

    /// The arguments of the program.
    fn arguments(&self, place: &Place<'_>) -> Vec<String>;

    /// Variables that it goes by.
    fn environment(&self, _place: &Place<'_>) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The beginnings of variables that are handed on to it from the agent's environment.
    fn passed_on(&self) -> &'static [&'static str];

    /// The variable that names the folder of its models.
    fn models_variable(&self) -> &'static str;

    /// The path that is answered with 200 once it can serve.
    fn health(&self) -> &'static str;

    fn token(&self) -> Token {
        Token::Unused
    }

    /// The model, if it is a file of this box.
    fn model_file(&self) -> Option<&Path> {
        None
    }

    /// A model that is to be fetched once it runs.
    fn fetches(&self) -> Option<&str> {
        None
    }

    /// How many GPUs it cannot do without.
    fn needed_gpus(&self) -> usize {
        0
    }

    /// Memory that the processes in its container share; Docker's own share is small.
    fn shared_bytes(&self) -> Option<i64> {
        None
    }
}

/// Refuses a name that no model has, or that would be taken for an option.
fn check_model(flag: &str, model: &str) -> anyhow::Result<()> {
    let good = !model.is_empty() && model.len() <= MODEL_BYTES && !model.starts_with('-');
    ensure!(good && !model.chars().any(char::is_control), "{flag} must name a model, and no option");
    Ok(())
}
