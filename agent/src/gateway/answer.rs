//! One call of a client: its ticket is checked, used once, and the answer relayed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::json;
use titan_api::{
    ids::AgentId,
    inference::{InferenceRoute, InferenceSpec, Receipt, Usage, UsedTicket},
    jobs::Reason,
    limits,
    openai::Failure,
    problem::ProblemType,
    trace::{TRACEPARENT, Traceparent},
    work::{Happening, HeldLease},
};
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::{
    Bounds, Gateway, Taken,
    reply::{self, Ended, Reply, error},
    ticket::{Ticket, Unfit},
};
use crate::{agent::Agent, attempts::Brought, clock, identity, link::CallError, relay, relay::Piece};

/// How long the coordinator may take to say that a ticket is used.
const USE: Duration = Duration::from_secs(10);
/// Pieces of an answer that may wait for the client.
const PIECES: usize = 16;

/// What of a request's body matters here.
#[derive(Deserialize)]
struct Asked {
    model: String,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    messages: Option<serde::de::IgnoredAny>,
}

pub(super) async fn answer(gateway: Arc<Gateway>, request: Request<Incoming>) -> Reply {
    match admit(&gateway, request).await {
        Ok(admitted) => relay_to_client(&gateway, admitted).await,
        Err(refused) => *refused,
    }
}

/// What a good ticket is for.
struct Admitted<'a> {
    taken: Taken<'a>,
    request: InferenceSpec,
    traceparent: Option<Traceparent>,
}

/// Everything that is checked before the ticket counts as used. It is taken before the body is read: one ticket is good for
/// one body in memory.
async fn admit(gateway: &Gateway, request: Request<Incoming>) -> Result<Admitted<'_>, Box<Reply>> {
    let path = request.uri().path().to_owned();
    let route = InferenceRoute::ALL.into_iter().find(|route| route.path() == path);
    if route.is_none() && path != "/inference" {
        return Err(refusal(ProblemType::NotFound, "there is no such route; see /v1/chat/completions"));
    }
    if request.method() != Method::POST {
        return Err(refusal(ProblemType::MethodNotAllowed, "the method must be POST"));
    }
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let text = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let ticket = gateway.check(&text).await.map_err(|unfit| unauthorized(&unfit))?;
    let taken = gateway.take(ticket).ok_or_else(|| Box::new(gone()))?;
    let traceparent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = whole(request.into_body(), gateway.bounds.body).await?;
    let malformed = || refusal(ProblemType::BadRequest, "the body must be a JSON object with a `model`");
    let asked: Asked = serde_json::from_str(&body).map_err(|_| malformed())?;
    if asked.model != taken.ticket.model {
        return Err(refusal(Failure::WRONG_MODEL, "the ticket is for another model"));
    }
    let plain = if asked.messages.is_some() { InferenceRoute::ChatCompletions } else { InferenceRoute::Completions };
    let Bounds { first_token, token, document, load, .. } = gateway.bounds;
    let request = InferenceSpec {
        model: asked.model,
        route: route.unwrap_or(plain),
        body,
        stream: asked.stream,
        continues: false,
        first_token_timeout_ms: clock::millis(if asked.stream { first_token } else { document }),
        token_timeout_ms: clock::millis(token),
        load_timeout_ms: clock::millis(load),
    };
    Ok(Admitted { taken, request, traceparent })
}

/// The text of a body that comes within its time and its bound.
async fn whole(body: Incoming, limit: Duration) -> Result<String, Box<Reply>> {
    let body = tokio::time::timeout(limit, Limited::new(body, limits::PROMPT_BYTES).collect()).await;
    let body =
        body.map_err(|_| refusal(ProblemType::RequestTimeout, &format!("the body must come within {limit:?}")))?;
    let body = body.map_err(|e| {
        if e.is::<LengthLimitError>() {
            refusal(ProblemType::TooLarge, "the body must be at most 8 MiB")
        } else {
            refusal(ProblemType::BadRequest, "the body broke off")
        }
    })?;
    String::from_utf8(body.to_bytes().into()).map_err(|_| refusal(ProblemType::BadRequest, "the body must be UTF-8"))
}

fn gone() -> Reply {
    error(ProblemType::TicketGone, "a ticket is good once; ask the coordinator for a new one")
}

fn refusal(failure: impl Into<Failure>, message: &str) -> Box<Reply> {
    Box::new(error(failure, message))
}

/// Why it is refused is for the operator: whoever forges tickets learns nothing.
fn unauthorized(unfit: &Unfit) -> Box<Reply> {
    debug!("a ticket is refused: {unfit:?}");
    refusal(Failure::INVALID_TICKET, "the bearer must be a ticket for this agent that is good now")
}

async fn relay_to_client(gateway: &Gateway, admitted: Admitted<'_>) -> Reply {
    let Admitted { taken, mut request, traceparent } = admitted;
    let no_place = || error(Failure::NO_PLACE, "there is no place for the request now");
    let Some(place) = gateway.agent.attempts.expect_request() else { return no_place() };
    let sent_ms = clock::now_ms();
    // Whoever goes away meanwhile can bring the ticket again: if the coordinator has heard of it, it gives the same lease.
    let used = match use_ticket(gateway, &taken.ticket).await {
        Ok(used) => used,
        Err(CallError::Refused { problem, .. }) if problem.problem_type() == Some(ProblemType::TicketGone) => {
            taken.use_up();
            return gone();
        }
        Err(why) => {
            warn!(job.id = %taken.ticket.request, "a ticket could not be used: {why}");
            let is_full = matches!(&why, CallError::Refused { problem, .. } if problem.status == 429);
            return if is_full {
                no_place()
            } else {
                error(ProblemType::StoreUnavailable, "the coordinator does not answer; try again")
            };
        }
    };
    let ticket = taken.use_up();
    let deadline_ms = sent_ms.saturating_add(used.lease_ttl_ms);
    let held = HeldLease { job_id: ticket.request.clone(), attempt: used.attempt, lease_id: used.lease_id };
    if !used.model.is_empty() {
        // The client may know it by an alias that is the coordinator's.
        request.model = used.model;
    }
    begin(gateway, held, deadline_ms, Paid { ticket, request, traceparent }, place).await
}

/// A request whose ticket is used.
struct Paid {
    ticket: Ticket,
    request: InferenceSpec,
    traceparent: Option<Traceparent>,
}

async fn use_ticket(gateway: &Gateway, ticket: &Ticket) -> Result<UsedTicket, CallError> {
    let session = gateway.agent.link.session();
    let agent = session.agent_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
    let path = format!("/api/v1/agents/{agent}/tickets/{}/use", ticket.request);
    gateway.agent.link.post(&path, Some(&session.token), &json!({}), USE).await
}

/// Begins the attempt, and gives the client what comes of it.
async fn begin(gateway: &Gateway, held: HeldLease, deadline_ms: u64, paid: Paid, place: Brought<'_>) -> Reply {
    let agent = Arc::clone(&gateway.agent);
    let spool = agent.outbox.open_in_memory(held.clone());
    let orders = agent.attempts.adopt_request(held.clone(), deadline_ms);
    drop(place);
    let (pieces, mut rest) = mpsc::channel(PIECES);
    let (telling, ended) = oneshot::channel();
    let Paid { ticket, request, traceparent } = paid;
    let is_stream = request.stream;
    // A task of its own: a client that goes away does not take the report with it.
    tokio::spawn(async move {
        let asked = relay::Asked {
            lease: &held,
            timeout_ms: Some(limits::INFERENCE_TIMEOUT_MS),
            request: &request,
            traceparent,
        };
        let end = relay::run(&agent, asked, &spool, orders, Some(pieces)).await;
        let told = match &end {
            Some(Happening::Completed { usage, .. }) => {
                let receipt = receipt(&agent, &ticket, usage.unwrap_or_default());
                agent.outbox.receipt(&held.lease_id, receipt.clone());
                Ended::Well(receipt)
            }
            Some(Happening::Failed { reason, message, .. }) => {
                Ended::Badly(problem_of(*reason), message.clone().unwrap_or_default())
            }
            _ => Ended::Badly(ProblemType::BackendFailed, "the request was ended".to_owned()),
        };
        // The client may be gone.
        let _ = telling.send(told);
        agent.conclude(&held, false, end);
    });
    let failed = |ended: Result<Ended, _>| match ended {
        Ok(Ended::Badly(kind, why)) => error(kind, &why),
        Ok(Ended::Well(_)) | Err(_) => error(ProblemType::BackendFailed, "the backend answered with nothing"),
    };
    match rest.recv().await {
        None => failed(ended.await),
        Some(Piece::Refused(status)) => reply::document(status, collect(Vec::new(), &mut rest).await),
        Some(Piece::Bytes(first)) if is_stream => reply::stream(first, rest, ended),
        Some(Piece::Bytes(first)) => {
            let body = collect(first.to_vec(), &mut rest).await;
            match ended.await {
                Ok(Ended::Well(receipt)) => reply::with_receipt(reply::document(StatusCode::OK, body), &receipt),
                ended => failed(ended),
            }
        }
    }
}

/// The agent's word for what the answer took: the client gets it, and the coordinator with the report.
fn receipt(agent: &Agent, ticket: &Ticket, usage: Usage) -> String {
    let session = agent.link.session();
    let id = session.agent_id.as_ref().map(AgentId::as_str).unwrap_or_default();
    let claims = json!({
        "iss": id, "sub": ticket.request, "model": ticket.model, "iat": agent.registration.now_s(), "usage": usage,
    });
    identity::signed(agent.identity.key(), Receipt::TYP, &claims)
}

/// What a client of the coordinator would be told of such an end.
fn problem_of(reason: Reason) -> ProblemType {
    match reason {
        Reason::Stalled | Reason::LoadTimeout => ProblemType::BackendStalled,
        _ => ProblemType::BackendFailed,
    }
}

async fn collect(mut body: Vec<u8>, rest: &mut mpsc::Receiver<Piece>) -> Bytes {
    while let Some(Piece::Bytes(bytes)) = rest.recv().await {
        body.extend_from_slice(&bytes);
    }
    body.into()
}
