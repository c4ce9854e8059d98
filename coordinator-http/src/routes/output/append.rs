//! `POST /api/v1/jobs/{id}/attempts/{number}/stream`: an attempt's output as one upload that lasts as long as the attempt.

use axum::extract::{Request, State};
use http::HeaderMap;
use titan_api::{
    headers as names,
    ids::{JobId, LeaseId},
    inference::StreamedOutput,
    work::HeldLease,
};

use crate::{
    auth::callers::AgentBearer, error::ApiError, extract::ApiPath, reply::Json, server::Patience, state::AppState,
    upload::Uploading,
};

/// Takes in an attempt's output as it is written.
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/attempts/{number}/stream",
    operation_id = "stream_output",
    tag = "agents",
    request_body(content = String, content_type = "application/octet-stream", description = "What the attempt writes, as it writes it"),
    params(
        ("id" = String, Path, description = "The job's id"),
        ("number" = u32, Path, description = "The attempt's number"),
        ("X-Titan-Lease" = String, Header, description = "The attempt's lease"),
        ("X-Titan-Offset" = Option<u64>, Header, description = "Bytes that were sent before; 0 by default")
    ),
    security(("agent" = [])),
    responses((status = 200, body = StreamedOutput))
)]
pub(crate) async fn handler(
    State(state): State<AppState>,
    agent: AgentBearer,
    ApiPath((job_id, attempt)): ApiPath<(JobId, u32)>,
    request: Request,
) -> Result<Json<StreamedOutput>, ApiError> {
    if !state.pace.parking() {
        return Err(ApiError::NotFound(
            "no uploads are taken where a held request costs money: send reports".to_owned(),
        ));
    }
    let lease = HeldLease { job_id, attempt, lease_id: lease_of(request.headers())? };
    let offset = offset_of(request.headers())?;
    let mut uploading = Uploading::begin(&state, &agent, lease, offset).await?;
    if let Some(patience) = request.extensions().get::<Patience>() {
        patience.is_endless();
    }
    let accepted_offset = uploading.take(request.into_body().into_data_stream()).await?;
    Ok(Json(StreamedOutput { accepted_offset }))
}

fn lease_of(headers: &HeaderMap) -> Result<LeaseId, ApiError> {
    let lease = headers.get(names::LEASE).and_then(|value| LeaseId::new(value.to_str().ok()?).ok());
    lease.ok_or_else(|| ApiError::BadRequest("X-Titan-Lease must be the attempt's lease".to_owned()))
}

fn offset_of(headers: &HeaderMap) -> Result<u64, ApiError> {
    let Some(value) = headers.get(names::OFFSET) else { return Ok(0) };
    let offset = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|offset| *offset < 1 << 52);
    offset.ok_or_else(|| ApiError::BadRequest("X-Titan-Offset must be a number of bytes".to_owned()))
}
