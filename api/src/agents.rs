//! Agents: how they join and register, what they say of themselves, and how clients see them.

mod agent;
mod facts;
mod joining;
mod measures;
mod state;

pub use self::{
    agent::{Agent, AgentGpu, AgentList},
    facts::{Facts, Gpu, Model},
    joining::{AgentSettings, AgentToken, JoinReply, JoinRequest, RegisterReply, RegisterRequest},
    measures::{GpuMeasure, Hindrance, Measures},
    state::{AgentState, Breaker, Trouble},
};
