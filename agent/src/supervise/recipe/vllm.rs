//! vLLM: one model, loaded when it starts, spread over GPUs.

use anyhow::ensure;

use super::{Place, Recipe, Token, check_model};
use crate::config::VllmArgs;

const MODEL: &str = "mistralai/Mistral-7B-Instruct-v0.1";
const MAX_MODEL_LEN: u32 = 4_096;
/// Its processes pass tensors through shared memory.
const SHARED_BYTES: i64 = 8 * 1_024 * 1_024 * 1_024;

#[derive(Debug)]
pub(crate) struct Vllm {
    model: String,
    tensor_parallel: u32,
    max_model_len: u32,
    args: Vec<String>,
}

impl Vllm {
    /// As the operator wants it.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub(crate) fn of(args: &VllmArgs) -> anyhow::Result<Self> {
        let model = args.model.as_deref().filter(|model| !model.is_empty()).unwrap_or(MODEL).to_owned();
        check_model("--vllm-model", &model)?;
        let (tensor_parallel, max_model_len) =
            (args.tensor_parallel.unwrap_or(1), args.max_model_len.unwrap_or(MAX_MODEL_LEN));
        ensure!((1..=64).contains(&tensor_parallel), "--vllm-tensor-parallel is {tensor_parallel}; it must be 1 to 64");
        ensure!(max_model_len > 0, "--vllm-max-model-len must not be 0");
        Ok(Self { model, tensor_parallel, max_model_len, args: args.args.clone() })
    }
}

impl Recipe for Vllm {
    fn program(&self) -> &'static str {
        "vllm"
    }

    fn usual_port(&self) -> u16 {
        8_000
    }

    fn image(&self, _has_gpus: bool) -> &'static str {
        "vllm/vllm-openai:latest"
    }

    fn entrypoint(&self) -> &'static [&'static str] {
        // Images of different ages begin differently; this all of them know.
        &["vllm"]
    }

    fn arguments(&self, place: &Place<'_>) -> Vec<String> {
        let mut all = vec!["serve".to_owned(), self.model.clone()];
        all.extend(self.args.iter().cloned());
        // Last, so that nothing before them can make it listen elsewhere.
        let (host, port) = (place.host.to_owned(), place.port.to_string());
        let (parallel, len) = (self.tensor_parallel.to_string(), self.max_model_len.to_string());
        all.extend(["--tensor-parallel-size".to_owned(), parallel, "--max-model-len".to_owned(), len]);
        all.extend(["--host".to_owned(), host, "--port".to_owned(), port]);
        all
    }

    fn passed_on(&self) -> &'static [&'static str] {
        &["VLLM_", "HF_", "NCCL_"]
    }

    fn models_variable(&self) -> &'static str {
        "HF_HOME"
    }

    fn health(&self) -> &'static str {
        "/health"
    }

    fn token(&self) -> Token {
        Token::File("HF_TOKEN_PATH")
    }

    fn needed_gpus(&self) -> usize {
        if self.tensor_parallel > 1 { self.tensor_parallel as usize } else { 0 }
    }

    fn shared_bytes(&self) -> Option<i64> {
        Some(SHARED_BYTES)
    }
}
