//! What kinds of backends differ in.

use std::{fmt, pin::Pin};

use super::{Kind, NoAnswer, http::Http, llamacpp::LlamaCpp, ollama::Ollama, openai::OpenAi, vllm::Vllm};

/// An answer that is waited for.
pub(crate) type Soon<'a, T> = Pin<Box<dyn Future<Output = Result<T, NoAnswer>> + Send + 'a>>;

/// A model that a backend says it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The backend's own name.
    pub name: String,
    pub loaded: bool,
    /// Megabytes of its file.
    pub size_mb: Option<u64>,
    /// Requests at once, if the backend says so.
    pub parallel: Option<u32>,
}

impl Found {
    /// A loaded model of which nothing else is known.
    pub(crate) fn loaded(name: String) -> Self {
        Self { name, loaded: true, size_mb: None, parallel: None }
    }
}

/// One kind of backend.
pub(crate) trait Dialect: fmt::Debug + Send + Sync {
    /// Whether what listens there is of this kind, as far as can be told.
    fn is_this<'a>(&'a self, http: &'a Http) -> Soon<'a, bool>;

    /// What it serves.
    fn models<'a>(&'a self, http: &'a Http) -> Soon<'a, Vec<Found>>;

    /// Whether the model with that name (the backend's own) is in memory.
    fn is_loaded<'a>(&'a self, _http: &'a Http, _model: &'a str) -> Soon<'a, bool> {
        Box::pin(async { Ok(true) })
    }

    /// Whether it gets models by itself, by `/api/pull`.
    fn pulls(&self) -> bool {
        false
    }

    /// Requests at once for one model, if neither the backend nor the operator says so.
    fn usual_parallel(&self) -> u32;

    /// Members that make a request go on with the assistant's message that stands last in it, each as JSON has it.
    fn to_continue(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
}

/// The one of that kind.
pub(crate) fn of(kind: Kind) -> &'static dyn Dialect {
    match kind {
        Kind::Ollama => &Ollama,
        Kind::Vllm => &Vllm,
        Kind::LlamaCpp => &LlamaCpp,
        Kind::OpenAi => &OpenAi,
    }
}
