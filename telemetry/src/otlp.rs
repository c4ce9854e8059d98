//! The protocol: an `ExportTraceServiceRequest` in JSON, and the collector that takes it.

use std::time::{Duration, SystemTime};

use reqwest::{StatusCode, header};
use serde_json::{Value as Json, json};
use titan_api::loopback;

use crate::{
    Service,
    settings::{Settings, WrongSetting},
    span::{Kind, Span, Value},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where spans are posted to.
#[derive(Debug)]
pub(crate) struct Collector {
    http: reqwest::Client,
    settings: Settings,
    resource: Json,
}

/// Why a batch was not taken. It names no URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSent {
    #[error("the collector cannot be reached")]
    Unreachable,
    #[error("the collector answered {0}")]
    Refused(StatusCode),
}

impl NotSent {
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable => true,
            Self::Refused(status) => *status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error(),
        }
    }
}

impl Collector {
    pub(crate) fn new(settings: &Settings, service: &Service) -> Result<Self, WrongSetting> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(format!("{}/{}", service.name, service.version));
        let host = settings.url.host_str().unwrap_or_default();
        if loopback::is_host(host) {
            // A proxy of the environment cannot reach this machine's own ports.
            http = http.no_proxy();
        }
        let resource = json!({"attributes": [
            attribute("service.name", &service.name.into()),
            attribute("service.version", &service.version.into()),
            attribute("process.pid", &i64::from(std::process::id()).into()),
        ]});
        Ok(Self { http: http.build().map_err(|_| WrongSetting::Client)?, settings: settings.clone(), resource })
    }

    pub(crate) fn resource(&self) -> &Json {
        &self.resource
    }

    pub(crate) async fn post(&self, body: &str) -> Result<(), NotSent> {
        let request = self.http.post(self.settings.url.clone()).headers(self.settings.headers.clone());
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_owned());
        let response = request.send().await.map_err(|_| NotSent::Unreachable)?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(NotSent::Refused(status)) }
    }
}

/// The request.
pub(crate) fn body(resource: &Json, batch: &[Span]) -> String {
    let spans: Vec<_> = batch.iter().map(span).collect();
    let scope = json!({"name": "titancompute", "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}).to_string()
}

fn span(span: &Span) -> Json {
    let kind = match span.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Consumer => 5,
    };
    let attributes: Vec<_> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut json = json!({
        "traceId": format!("{:032x}", span.place.trace_id),
        "spanId": format!("{:016x}", span.place.span_id),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanos(span.began),
        "endTimeUnixNano": nanos(span.began + span.took),
        "attributes": attributes,
    });
    if let Some(state) = &span.state {
        json["traceState"] = state.as_str().into();
    }
    if let Some(parent) = span.parent {
        json["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        json["status"] = json!({"code": 2, "message": error});
    }
    json
}

fn attribute(name: &str, value: &Value) -> Json {
    // The format has 64-bit numbers as texts.
    let value = match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
    };
    json!({"key": name, "value": value})
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
