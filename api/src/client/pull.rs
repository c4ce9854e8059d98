//! The call that has an agent pull a model.

use super::{Client, ClientError, Reply};
use crate::{jobs::SubmittedJob, pull::PullModel};

impl Client {
    /// `POST /api/v1/models/pull`, with an `Idempotency-Key`: the job that pulls it.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn pull_model(&self, wish: &PullModel, key: &str) -> Result<Reply<SubmittedJob>, ClientError> {
        self.create_once("/api/v1/models/pull", wish, key).await
    }
}
