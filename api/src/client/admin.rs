//! Calls that need the admin token: API keys, join tokens, the scheduler's weights, and settling what is overdue.

use reqwest::Method;

use super::{CALL_TIMEOUT, Client, ClientError, Reply, query::Path, read_exact};
use crate::{
    credentials::{CreateJoinToken, CreateKey, CreatedJoinToken, CreatedKey, JoinTokenList, KeyList},
    ids::CredentialId,
    scheduler::{Scheduler, SetScheduler},
    status::Swept,
};

impl Client {
    /// `POST /api/v1/keys`: makes an API key; the reply alone shows its secret.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn create_key(&self, key: &CreateKey) -> Result<CreatedKey, ClientError> {
        self.create("/api/v1/keys", key).await
    }

    /// `GET /api/v1/keys`: a page of the pool's API keys.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn keys(&self, limit: Option<u32>, cursor: Option<&str>) -> Result<Reply<KeyList>, ClientError> {
        self.fetch(Method::GET, Path::new("/api/v1/keys").with("limit", limit).with("cursor", cursor)).await
    }

    /// `DELETE /api/v1/keys/{id}`: revokes an API key.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn delete_key(&self, id: &CredentialId) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/keys/{id}")).await
    }

    /// `POST /api/v1/join-tokens`: makes a join token; the reply alone shows its secret.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn create_join_token(&self, token: &CreateJoinToken) -> Result<CreatedJoinToken, ClientError> {
        self.create("/api/v1/join-tokens", token).await
    }

    /// `GET /api/v1/join-tokens`: a page of the pool's join tokens.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn join_tokens(
        &self,
        limit: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<Reply<JoinTokenList>, ClientError> {
        self.fetch(Method::GET, Path::new("/api/v1/join-tokens").with("limit", limit).with("cursor", cursor)).await
    }

    /// `DELETE /api/v1/join-tokens/{id}`: revokes a join token; agents that have joined with it stay.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn delete_join_token(&self, id: &CredentialId) -> Result<(), ClientError> {
        self.delete(&format!("/api/v1/join-tokens/{id}")).await
    }

    /// `GET /api/v1/scheduler`: the weights in use.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn scheduler(&self) -> Result<Reply<Scheduler>, ClientError> {
        self.fetch(Method::GET, Path::new("/api/v1/scheduler")).await
    }

    /// `PUT /api/v1/scheduler`: other weights.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn set_scheduler(&self, scheduler: &SetScheduler) -> Result<Reply<Scheduler>, ClientError> {
        let request = self.request(Method::PUT, "/api/v1/scheduler").json(scheduler).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await
    }

    /// `POST /api/v1/sweep`: settles some of what is overdue.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn sweep(&self) -> Result<Reply<Swept>, ClientError> {
        self.fetch(Method::POST, Path::new("/api/v1/sweep")).await
    }

    async fn create<B: serde::Serialize + Sync, R: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<R, ClientError> {
        let request = self.request(Method::POST, path).json(body).timeout(CALL_TIMEOUT);
        read_exact(self.send(request).await?).await.map(Reply::into_value)
    }
}
