//! `/metrics`: what it says, to whom, and that no caller can make it grow.

use std::collections::{BTreeMap, BTreeSet};

use http::header;
use serde_json::json;
use titan_api::problem::ProblemType;
use titan_coordinator::metrics_router;

use crate::{
    agent::TestAgent,
    world::{ADMIN, World, job, request, send},
};

/// A page, read as Prometheus does: the value of each sample by its name and labels.
struct Figures(BTreeMap<String, String>);

impl Figures {
    fn read(text: &str) -> Self {
        let (mut kinds, mut samples) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} begins twice");
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let kind =
                    kinds.get(name).or_else(|| kinds.get(family?)).unwrap_or_else(|| panic!("{name} is nothing"));
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
                assert!(samples.insert(series.to_owned(), value.to_owned()).is_none(), "{series} twice");
            }
        }
        Self(samples)
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        let value = self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()));
        value.parse().unwrap()
    }

    /// One that is a whole number.
    #[track_caller]
    fn count(&self, series: &str) -> u64 {
        let value = self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()));
        value.parse().unwrap()
    }

    fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|series| series.split('{').next().unwrap()).collect()
    }
}

async fn scrape(world: &World, bearer: &str) -> Figures {
    let reply = world.get(bearer, "/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    Figures::read(&reply.body)
}

#[tokio::test]
async fn a_page_tells_of_requests_the_store_and_the_fleet() {
    let world = World::start().await;
    let mut agent = TestAgent::register(&world, "box-1").await;
    let id = world.submit(ADMIN).await;
    world.submit(ADMIN).await;
    let lease = agent.claim(&world, 5_000).await.ok(200)["leases"][0].clone();
    agent.report(&world, &lease, vec![json!({"type": "started"})]).await.ok(200);
    world.get(ADMIN, &format!("/api/v1/jobs/{id}")).await.ok(200);
    world.get(ADMIN, "/api/v1/jobs/none").await.problem(ProblemType::NotFound);
    let figures = scrape(&world, ADMIN).await;
    let requests = |labels: &str| figures.count(&format!("titan_http_request_duration_seconds_count{{{labels}}}"));
    assert_eq!(requests(r#"method="POST",route="/api/v1/jobs",status="2xx""#), 2);
    assert_eq!(requests(r#"method="GET",route="/api/v1/jobs/{id}",status="2xx""#), 1);
    assert_eq!(requests(r#"method="GET",route="/api/v1/jobs/{id}",status="4xx""#), 1);
    assert_eq!(figures.count("titan_http_requests_in_flight"), 1, "the scrape itself");
    assert_eq!(figures.count("titan_http_requests_waiting"), 0);
    let submitted = ["pending", "scheduled"].iter().filter_map(|outcome| {
        figures
            .0
            .get(&format!("titan_jobs_submitted_total{{outcome=\"{outcome}\"}}"))
            .map(|n| n.parse::<u64>().unwrap())
    });
    assert_eq!(submitted.sum::<u64>(), 2);
    assert_eq!(figures.count(r#"titan_reports_total{kind="started",answer="accepted"}"#), 1);
    assert_eq!(figures.count("titan_store_up"), 1);
    assert!(figures.get("titan_store_command_duration_seconds_count") > 5.0);
    assert_eq!(figures.count(r#"titan_agents{pool="default",state="healthy"}"#), 1);
    let jobs: u64 = ["blocked", "delayed", "pending", "scheduled", "running", "ended"]
        .iter()
        .map(|state| figures.count(&format!("titan_jobs{{pool=\"default\",state=\"{state}\"}}")))
        .sum();
    assert_eq!(jobs, 2);
    assert_eq!(figures.count(r#"titan_classes{pool="default"}"#), 1);
    for name in figures.names() {
        assert!(name.starts_with("titan_") || name.starts_with("process_"), "{name}");
    }
    assert!(figures.get("process_start_time_seconds") > 1_700_000_000.0);
    assert!(figures.get("process_cpu_seconds_total") > 0.0);
    #[cfg(target_os = "linux")]
    assert!(figures.get("process_resident_memory_bytes") > 1e6 && figures.get("process_open_fds") > 2.0);
}

#[tokio::test]
async fn a_wait_is_no_part_of_what_a_request_took() {
    let world = World::start().await;
    let id = world.submit(ADMIN).await;
    let reply = world.get(ADMIN, &format!("/api/v1/jobs/{id}?wait_ms=1500")).await;
    reply.ok(200);
    let timing = reply.headers["server-timing"].to_str().unwrap();
    let part = |name: &str| -> f64 {
        let part = timing.split(", ").find_map(|part| part.strip_prefix(&format!("{name};dur="))).unwrap();
        part.split(';').next().unwrap().parse().unwrap()
    };
    assert!(part("wait") >= 1_400.0 && part("total") >= part("wait") + part("store") - 1.0, "{timing}");
    let figures = scrape(&world, ADMIN).await;
    let series = r#"titan_http_request_duration_seconds_sum{method="GET",route="/api/v1/jobs/{id}",status="2xx"}"#;
    assert!(figures.get(series) < 1.0, "{}", figures.get(series));
}

#[tokio::test]
async fn a_key_sees_the_figures_of_its_own_pool_and_the_administrator_those_of_the_pool_that_he_names() {
    let world = World::start().await;
    world.submit(ADMIN).await;
    let key = world.key("other", &["metrics:read"]).await;
    let pools = |figures: &Figures| -> BTreeSet<String> {
        let labels = figures.0.keys().filter_map(|series| series.split_once("pool=\"")?.1.split('"').next());
        labels.map(str::to_owned).collect()
    };
    assert_eq!(pools(&scrape(&world, &key).await), BTreeSet::from(["other".to_owned()]));
    assert_eq!(pools(&scrape(&world, ADMIN).await), BTreeSet::from(["default".to_owned()]));
    let mut named = request("GET", ADMIN, "/metrics", None);
    named.headers_mut().insert("x-titan-pool", "other".parse().unwrap());
    assert_eq!(pools(&Figures::read(&world.send(named).await.body)), BTreeSet::from(["other".to_owned()]));
    let all = send(&metrics_router(world.state.clone()), request("GET", "", "/metrics", None)).await;
    assert_eq!(pools(&Figures::read(&all.body)), BTreeSet::from(["default".to_owned(), "other".to_owned()]));
}

#[tokio::test]
async fn what_callers_choose_adds_no_series() {
    let world = World::start().await;
    let calls = async |n: u32| {
        for path in [format!("/api/v1/jobs/job-{n}"), format!("/nowhere/{n}"), format!("/api/v1/agents/{n}?x={n}")] {
            world.get(ADMIN, &path).await;
            world.call(&format!("M{n}"), ADMIN, &path, None).await;
        }
    };
    calls(0).await;
    let names = |figures: Figures| figures.0.into_keys().collect::<BTreeSet<_>>();
    scrape(&world, ADMIN).await;
    let before = names(scrape(&world, ADMIN).await);
    for n in 1..50 {
        calls(n).await;
    }
    let after = names(scrape(&world, ADMIN).await);
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(after.iter().any(|series| series.contains(r#"method="other",route="(none)""#)));
}

#[tokio::test]
async fn figures_of_the_fleet_are_read_every_two_seconds_at_most() {
    let world = World::start().await;
    scrape(&world, ADMIN).await;
    let commands = |figures: &Figures| figures.count("titan_store_command_duration_seconds_count");
    let before = scrape(&world, ADMIN).await;
    for _ in 0..50 {
        scrape(&world, ADMIN).await;
    }
    let after = scrape(&world, ADMIN).await;
    assert!(commands(&after) - commands(&before) <= 20, "{} commands for 51 scrapes", commands(&after));
}

#[tokio::test]
async fn with_redis_away_the_page_says_so() {
    let mut world = World::start().await;
    world.submit(ADMIN).await;
    world.redis.kill();
    world.post(ADMIN, "/api/v1/jobs", job(&["true"])).await.problem(ProblemType::StoreUnavailable);
    let figures = scrape(&world, ADMIN).await;
    assert_eq!(figures.count("titan_store_up"), 0);
    assert!(figures.get("titan_store_unanswered_total") >= 1.0);
    assert!(!figures.names().contains("titan_agents"));
    let nobody = send(&metrics_router(world.state.clone()), request("GET", "", "/metrics", None)).await;
    assert_eq!(Figures::read(&nobody.body).count("titan_store_up"), 0);
}

#[tokio::test]
async fn a_refusal_for_a_quota_is_counted_by_the_quota() {
    let world = World::start().await;
    let key = world.limited_key(json!({"requests": {"quota": 1, "window_ms": 3_600_000}})).await;
    for _ in 0..4 {
        world.get(&key, "/api/v1/jobs").await;
    }
    let figures = scrape(&world, ADMIN).await;
    assert_eq!(figures.count(r#"titan_quota_refusals_total{policy="requests"}"#), 3);
}

#[tokio::test]
async fn the_listener_for_figures_serves_nothing_else() {
    let world = World::start().await;
    let router = metrics_router(world.state.clone());
    for path in ["/", "/api/v1/jobs", "/api/v1/health", "/openapi.json", "/metrics/"] {
        send(&router, request("GET", ADMIN, path, None)).await.problem(ProblemType::NotFound);
    }
    send(&router, request("POST", ADMIN, "/metrics", None)).await.problem(ProblemType::MethodNotAllowed);
    send(&router, request("GET", "", "/metrics?pool=x", None)).await.problem(ProblemType::BadRequest);
}

#[tokio::test]
async fn every_figure_that_the_page_on_operations_names_is_there() {
    let page = include_str!("../../../docs/operations.md");
    let is_between = |c: char| !(c.is_ascii_lowercase() || c == '_');
    let named: BTreeSet<_> = page
        .split(is_between)
        .filter(|name| name.starts_with("titan_") && *name != "titan_")
        .map(|name| name.trim_end_matches("_bucket"))
        .collect();
    assert!(named.len() > 15, "{named:?}");
    let world = World::with(&["--otel-exporter-otlp-endpoint", "http://127.0.0.1:1"]).await;
    let text = world.get(ADMIN, "/metrics").await.body;
    let told: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(named.difference(&told).collect::<Vec<_>>(), Vec::<&&str>::new());
}
