//! Calls about agents, as clients make them.

use reqwest::Method;

use super::{CALL_TIMEOUT, Client, ClientError, Reply, query::Path};
use crate::{
    agents::{Agent, AgentList},
    ids::AgentId,
};

impl Client {
    /// `GET /api/v1/agents`: a page of agents, by id.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn agents(&self, limit: Option<u32>, cursor: Option<&str>) -> Result<Reply<AgentList>, ClientError> {
        let path = Path::new("/api/v1/agents").with("limit", limit).with("cursor", cursor);
        self.fetch(Method::GET, path).await
    }

    /// `GET /api/v1/agents/{id}`: one agent.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn agent(&self, id: &AgentId) -> Result<Reply<Agent>, ClientError> {
        self.fetch(Method::GET, Path::new(format!("/api/v1/agents/{id}"))).await
    }

    /// `POST /api/v1/agents/{id}/drain`: no new work for the agent; what runs goes on.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn drain_agent(&self, id: &AgentId) -> Result<Reply<Agent>, ClientError> {
        self.fetch(Method::POST, Path::new(format!("/api/v1/agents/{id}/drain"))).await
    }

    /// `POST /api/v1/agents/{id}/resume`: the agent takes work again.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn resume_agent(&self, id: &AgentId) -> Result<Reply<Agent>, ClientError> {
        self.fetch(Method::POST, Path::new(format!("/api/v1/agents/{id}/resume"))).await
    }

    /// `DELETE /api/v1/agents/{id}`: removes the agent for good; its credential is void.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub async fn remove_agent(&self, id: &AgentId) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, &format!("/api/v1/agents/{id}")).timeout(CALL_TIMEOUT);
        self.send(request).await.map(drop)
    }
}
