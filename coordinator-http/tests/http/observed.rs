//! What lies around every request: ids, problems, CORS.

use http::header;
use serde_json::{Value, json};
use titan_api::problem::ProblemType;

use crate::world::{ADMIN, World, request};

#[tokio::test]
async fn a_request_keeps_a_fit_id_and_is_given_another_for_one_that_is_not() {
    let world = World::start().await;
    let with = |id: &str| {
        let mut request = request("GET", "", "/api/v1/nothing", None);
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        world.send(request)
    };
    let reply = with("my-trace.1").await;
    assert_eq!(reply.problem(ProblemType::NotFound).request_id.as_deref(), Some("my-trace.1"));
    for unfit in ["a b", "<script>", &"x".repeat(200)] {
        let reply = with(unfit).await;
        assert_ne!(reply.problem(ProblemType::NotFound).request_id.as_deref(), Some(unfit));
    }
    let health = world.get("", "/api/v1/health").await;
    assert!(health.headers.contains_key("x-request-id"));
    assert_eq!(health.ok(200)["service"], "titancompute-coordinator");
}

#[tokio::test]
async fn pages_of_the_allowed_origins_may_call_and_others_may_not() {
    let world = World::with(&["--cors-allowed-origins", "https://a.example,http://localhost:3000"]).await;
    let preflight = |origin: &str| {
        let mut request = request("OPTIONS", "", "/api/v1/jobs", None);
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        request.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_METHOD, "POST".parse().unwrap());
        world.send(request)
    };
    let allowed = preflight("https://a.example").await;
    assert_eq!(allowed.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
    let refused = preflight("https://b.example").await;
    assert!(!refused.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    let closed = World::start().await;
    let mut request = request("GET", ADMIN, "/api/v1/jobs", None);
    request.headers_mut().insert(header::ORIGIN, "https://a.example".parse().unwrap());
    assert!(!closed.send(request).await.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

/// The headers that routes of clients take, but for the one that every page may send.
fn taken_headers() -> Vec<String> {
    let document: Value = serde_json::from_str(&titan_coordinator::openapi().to_json().unwrap()).unwrap();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values());
    let of_clients = operations.filter(|operation| operation["tags"][0] != "agents");
    let parameters = of_clients.filter_map(|operation| operation["parameters"].as_array()).flatten();
    let headers = parameters.filter(|parameter| parameter["in"] == "header" && parameter["name"] != "Accept");
    headers.map(|parameter| parameter["name"].as_str().unwrap().to_lowercase()).collect()
}

#[tokio::test]
async fn pages_may_send_and_read_every_header_of_the_interface_but_no_cookie() {
    for origins in ["https://a.example", "*"] {
        let world = World::with(&["--cors-allowed-origins", origins]).await;
        let mut preflight = request("OPTIONS", "", "/api/v1/events", None);
        preflight.headers_mut().insert(header::ORIGIN, "https://a.example".parse().unwrap());
        preflight.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_METHOD, "POST".parse().unwrap());
        let told = world.send(preflight).await;
        assert_eq!(told.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], origins);
        assert!(!told.headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "keys are sent, never cookies");
        let allowed = told.headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
        for name in
            ["authorization", "content-type", "traceparent"].map(str::to_owned).into_iter().chain(taken_headers())
        {
            assert!(allowed.contains(&name.as_str()), "{name}: {allowed:?}");
        }
        let mut call = request("GET", ADMIN, "/api/v1/jobs", None);
        call.headers_mut().insert(header::ORIGIN, "https://a.example".parse().unwrap());
        let reply = world.send(call).await;
        assert_eq!(reply.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], origins);
        let exposed = reply.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        for name in ["location", "retry-after", "x-request-id", "ratelimit", "ratelimit-policy", "server-timing"] {
            assert!(exposed.contains(name), "{name}: {exposed}");
        }
    }
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_every_reference_in_it_leads_somewhere() {
    let world = World::start().await;
    let document = world.get("", "/openapi.json").await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
    assert!(!text.contains("[`"), "a link that only rustdoc follows");
    for (path, item) in document["paths"].as_object().unwrap() {
        let named: Vec<_> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let in_path = parameters.filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap());
            assert_eq!(in_path.collect::<Vec<_>>(), named, "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert_ne!(response["description"].as_str().unwrap_or_default(), "", "{method} {path}: {status}");
            }
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path}: the handler has no doc comment, which is the summary");
            let (kind, schema) = if path.starts_with("/v1/") {
                ("application/json", "OpenAiFailure")
            } else {
                ("application/problem+json", "Problem")
            };
            let failure = json!({kind: {"schema": {"$ref": format!("#/components/schemas/{schema}")}}});
            assert_eq!(operation["responses"]["default"]["content"], failure, "{method} {path}");
            let says_nothing = ["sweep", "drain_agent", "resume_agent", "agent_use_ticket", "stream_output"]
                .map(Value::from)
                .contains(&operation["operationId"]);
            let described = operation["requestBody"]["content"]["application/json"].is_object();
            assert_eq!(described, ["post", "put"].contains(&method.as_str()) && !says_nothing, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_ready_coordinator_says_what_it_checked() {
    let world = World::start().await;
    let ready = world.get("", "/api/v1/ready").await.ok(200);
    let names: Vec<_> = ready["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["reachable", "writable", "eviction_policy", "persistence", "scripts", "replicas"]);
}

#[tokio::test]
async fn the_page_to_try_the_interface_is_small_and_needs_nothing_from_elsewhere() {
    let world = World::start().await;
    let page = world.get("", "/docs").await;
    assert_eq!(
        (page.status.as_u16(), &page.headers[header::CONTENT_TYPE]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    let mut bytes = page.body.len();
    let mut found = files(&page.body);
    assert!(found.contains(&"app.js".to_owned()) && found.contains(&"style.css".to_owned()), "{found:?}");
    let mut at = 0;
    while let Some(name) = found.get(at).cloned() {
        let file = world.get("", &format!("/docs/{name}")).await;
        assert_eq!(file.status, 200, "{name}");
        let kind = if is_style(&name) { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        assert_eq!(file.headers[header::CONTENT_TYPE], kind);
        bytes += file.body.len();
        for more in files(&file.body) {
            if !found.contains(&more) {
                found.push(more);
            }
        }
        for reply in [&page, &file] {
            let policy = reply.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
                "{policy}"
            );
            assert_eq!(reply.headers["x-content-type-options"], "nosniff");
            assert!(!reply.body.contains("://"), "{name} or the page names another place");
        }
        at += 1;
    }
    assert!(bytes < 40_000, "{bytes} bytes");
    for wrong in ["/docs/", "/docs/nothing.js", "/docs/..%2fCargo.toml", "/docs/index.html"] {
        world.get("", wrong).await.problem(ProblemType::NotFound);
    }
    world.get("", "/docs/%ff").await.problem(ProblemType::BadRequest);
}

fn is_style(name: &str) -> bool {
    name.rsplit('.').next() == Some("css")
}

/// The names of the files that a file of the page refers to.
fn files(text: &str) -> Vec<String> {
    let parts = text.split(['"', '/']).filter(|part| matches!(part.split_once('.'), Some((_, "js" | "css"))));
    parts.map(str::to_owned).collect()
}
