//! Traces: from a client's request over coordinator, Redis and agent into the job, as a collector gets to see them.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use titan_api::{
    client::{Client, OutputFrom},
    ids::JobId,
    jobs::SubmittedJob,
};
use titan_tests::{fleet::Fleet, wait::eventually};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::helpers::{completed, patient, shell};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What takes spans on loopback, and keeps them.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { url, spans }
    }

    fn spans(&self) -> Vec<Value> {
        self.spans.lock().unwrap().clone()
    }

    /// The span of that name and trace, as soon as it has come.
    async fn span(&self, trace: &str, name: &str) -> Value {
        eventually(format!("the span {name} of {trace}"), async || {
            self.spans().into_iter().find(|span| span["traceId"] == trace && span["name"] == name)
        })
        .await
    }
}

async fn serve(stream: TcpStream, spans: Arc<Mutex<Vec<Value>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("content-type: application/json\r\n") && head.contains("x-key: a b\r\n"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        for resource in body["resourceSpans"].as_array().unwrap() {
            let service = &resource["resource"]["attributes"][0];
            assert_eq!(service["key"], "service.name");
            for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
                let mut span = span.clone();
                span["service"] = service["value"]["stringValue"].clone();
                spans.lock().unwrap().push(span);
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
    }
}

async fn traced(url: &str) -> Fleet {
    let headers = "x-key=a%20b";
    let plan = patient().agents(1).coordinator_setting("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    let plan = plan.coordinator_setting("OTEL_EXPORTER_OTLP_HEADERS", headers);
    let plan =
        plan.agent_setting("OTEL_EXPORTER_OTLP_ENDPOINT", url).agent_setting("OTEL_EXPORTER_OTLP_HEADERS", headers);
    plan.start().await
}

/// Submits a job that tells its place, perhaps as part of a trace.
async fn submit(client: &Client, traceparent: Option<&str>) -> JobId {
    let mut request = client.request(reqwest::Method::POST, "/api/v1/jobs").json(&shell("echo $TRACEPARENT"));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    client.send(request).await.unwrap().json::<SubmittedJob>().await.unwrap().id
}

fn nanos(span: &Value, name: &str) -> u128 {
    span[name].as_str().unwrap().parse().unwrap()
}

/// Where the job says that it is.
async fn place(client: &Client, id: &JobId) -> String {
    completed(client, id).await;
    let output = client.output(id, OutputFrom::default()).await.unwrap();
    output.chunks.iter().map(|chunk| chunk.data.as_str()).collect::<String>().trim().to_owned()
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    span["attributes"].as_array().unwrap().iter().find(|a| a["key"] == name).map_or(&Value::Null, |a| &a["value"])
}

#[tokio::test]
async fn one_trace_runs_from_the_client_over_route_script_and_attempt_into_the_job() {
    let collector = Collector::start().await;
    let fleet = traced(&collector.url).await;
    let client = fleet.client().await;
    let id = submit(&client, Some(&format!("00-{TRACE}-b7ad6b7169203331-01"))).await;
    let place = place(&client, &id).await;
    let request = collector.span(TRACE, "POST /api/v1/jobs").await;
    let script = collector.span(TRACE, "jobs/submit").await;
    let attempt = collector.span(TRACE, "attempt").await;
    assert_eq!((&request["service"], &attempt["service"]), (&"titan-coordinator".into(), &"titan-agent".into()));
    assert_eq!(request["parentSpanId"], "b7ad6b7169203331");
    assert_eq!(script["parentSpanId"], request["spanId"]);
    assert_eq!(attempt["parentSpanId"], request["spanId"]);
    assert_eq!(place, format!("00-{TRACE}-{}-01", attempt["spanId"].as_str().unwrap()));
    assert_eq!((&request["kind"], &script["kind"], &attempt["kind"]), (&2.into(), &3.into(), &5.into()));
    assert_eq!(attribute(&request, "http.response.status_code")["intValue"], "202");
    assert_eq!(attribute(&attempt, "job.id")["stringValue"], id.as_str());
    assert_eq!(attribute(&attempt, "outcome")["stringValue"], "completed");
    for span in [&request, &script, &attempt] {
        assert!(nanos(span, "startTimeUnixNano") <= nanos(span, "endTimeUnixNano"));
    }
    assert!(nanos(&request, "startTimeUnixNano") <= nanos(&script, "startTimeUnixNano"));
    assert!(nanos(&script, "endTimeUnixNano") <= nanos(&request, "endTimeUnixNano"));
}

#[tokio::test]
async fn the_callers_flag_decides_and_without_a_caller_a_trace_begins_at_the_route() {
    let collector = Collector::start().await;
    let fleet = traced(&collector.url).await;
    let client = fleet.client().await;
    let given = format!("00-{TRACE}-b7ad6b7169203331-00");
    let unsampled = submit(&client, Some(&given)).await;
    assert_eq!(place(&client, &unsampled).await, given, "the place is passed on as it is");
    let own = submit(&client, Some("00-wrong")).await;
    let place = place(&client, &own).await;
    let trace = place.split('-').nth(1).unwrap();
    let request = collector.span(trace, "POST /api/v1/jobs").await;
    let attempt = collector.span(trace, "attempt").await;
    assert_eq!((&request["parentSpanId"], &attempt["parentSpanId"]), (&Value::Null, &request["spanId"]));
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span["traceId"] != TRACE), "the caller did not want it recorded");
    let chatter = |span: &&Value| span["name"].as_str().unwrap().ends_with("/claim");
    assert_eq!(spans.iter().find(chatter), None, "what agents say all day begins no trace");
}

#[tokio::test]
async fn an_attempt_that_a_restarted_agent_took_over_is_one_span_from_its_beginning() {
    let collector = Collector::start().await;
    let mut fleet = traced(&collector.url).await;
    let (client, folder) = (fleet.client().await, tempfile::tempdir().unwrap());
    let line = format!(
        "cd {}; echo $TRACESTATE $TRACEPARENT > place.new; mv place.new place; until [ -e go ]; do sleep 0.05; done",
        folder.path().display()
    );
    let request = client.request(reqwest::Method::POST, "/api/v1/jobs").json(&shell(&line));
    let request = request.header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"));
    let request = request.header("tracestate", "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE");
    let id = client.send(request).await.unwrap().json::<SubmittedJob>().await.unwrap().id;
    let place = eventually("the job runs", async || std::fs::read_to_string(folder.path().join("place")).ok()).await;
    fleet.agents[0].restart();
    let restarted = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    std::fs::write(folder.path().join("go"), "").unwrap();
    let job = completed(&client, &id).await;
    assert_eq!((job.attempt, job.failures.len()), (1, 0));
    let attempt = collector.span(TRACE, "attempt").await;
    let request = collector.span(TRACE, "POST /api/v1/jobs").await;
    let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
    assert_eq!(place, format!("{state} 00-{TRACE}-{}-01\n", attempt["spanId"].as_str().unwrap()));
    assert_eq!((&attempt["traceState"], &request["traceState"]), (&state.into(), &state.into()));
    assert_eq!(attempt["parentSpanId"], request["spanId"]);
    assert_eq!(attribute(&attempt, "attempt.taken_over")["stringValue"], "true");
    assert_eq!(attribute(&attempt, "outcome")["stringValue"], "completed");
    assert!(nanos(&attempt, "startTimeUnixNano") < restarted, "it began before the restart");
    assert!(nanos(&attempt, "endTimeUnixNano") > restarted);
    let spans = collector.spans();
    assert_eq!(spans.iter().filter(|span| span["traceId"] == TRACE && span["name"] == "attempt").count(), 1);
}

#[tokio::test]
async fn a_collector_that_never_answers_neither_slows_nor_fails_anything() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut fleet = traced(&format!("http://{}", silent.local_addr().unwrap())).await;
    let client = fleet.client().await;
    // More spans than may wait.
    let begun = Instant::now();
    for _ in 0..1_500 {
        client.get::<Value>("/api/v1/status").await.unwrap();
    }
    let each = begun.elapsed() / 1_500;
    assert!(each < Duration::from_millis(100), "{each:?}");
    let id = submit(&client, None).await;
    completed(&client, &id).await;
    let figures = client.send(client.request(reqwest::Method::GET, "/metrics")).await.unwrap().text().await.unwrap();
    let lost = figures.lines().find_map(|line| line.strip_prefix("titan_spans_total{outcome=\"lost\"} ")).unwrap();
    assert!(lost.parse::<u64>().unwrap() > 0, "{figures}");
    assert!(fleet.agents[0].stop().await.success());
    assert!(fleet.coordinators[0].stop().await.success());
}
