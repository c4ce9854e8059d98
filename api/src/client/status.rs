//! The pool at a glance, and whether the coordinator and its store are well.

use reqwest::{Method, StatusCode};

use super::{CALL_TIMEOUT, Client, ClientError, Reply, query::Path, read_exact, unreachable_error};
use crate::{
    health::{Health, Readiness},
    status::Status,
};

impl Client {
    /// `GET /api/v1/status`: counts of agents and jobs, with `include_agents` the first 500 agents too.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn status(&self, include_agents: bool) -> Result<Reply<Status>, ClientError> {
        let path = Path::new("/api/v1/status").with("include_agents", include_agents.then_some(true));
        self.fetch(Method::GET, path).await
    }

    /// `GET /api/v1/health`: whether the coordinator answers, and its version.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn health(&self) -> Result<Reply<Health>, ClientError> {
        self.fetch(Method::GET, Path::new("/api/v1/health")).await
    }

    /// `GET /api/v1/ready`: each check of the store. "Not ready" (503) is an answer too, not an error.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn ready(&self) -> Result<Reply<Readiness>, ClientError> {
        let request = self.request(Method::GET, "/api/v1/ready").timeout(CALL_TIMEOUT);
        let response = request.send().await.map_err(|e| unreachable_error(self.base(), &e))?;
        if response.status().is_success() || response.status() == StatusCode::SERVICE_UNAVAILABLE {
            return read_exact(response).await;
        }
        let url = response.url().to_string();
        Err(ClientError::Unexpected { url, status: response.status().to_string() })
    }
}
