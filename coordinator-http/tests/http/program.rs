//! The program itself: it starts, says where, answers, tells its log, and stops.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    redis_server::{RedisServer, free_port},
    world::{ADMIN, signing_keys},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_titan-coordinator");

fn start(redis: &RedisServer, dir: &Path, metrics_port: u16) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    Command::new(PROGRAM)
        .args(["--bind", "127.0.0.1", "--port", "0", "--log-level", "debug", "--port-file"])
        .arg(dir.join("port"))
        .env("REDIS_URL", redis.url())
        .env("ADMIN_TOKEN", ADMIN)
        .env("SIGNING_KEY", signing_keys())
        .env("METRICS_LISTEN", format!("127.0.0.1:{metrics_port}"))
        .env("CLEANUP_INTERVAL", "1s")
        .stdout(log)
        .spawn()
        .unwrap()
}

async fn address(dir: &Path) -> String {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(address) = std::fs::read_to_string(dir.join("port")) {
            return address.trim().to_owned();
        }
        assert!(Instant::now() < give_up, "the program does not say where it listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).env_remove("ADMIN_TOKEN").stdin(Stdio::null()).output().unwrap()
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let give_up = Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < give_up, "the program does not stop");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The lines of the log so far, once there are so many that warn of how Redis is set.
async fn warnings(dir: &Path, count: usize) -> Vec<serde_json::Value> {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        let log = std::fs::read_to_string(dir.join("log")).unwrap();
        let lines = log.split_inclusive('\n').filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let of_redis = |line: &serde_json::Value| line["message"] == "Redis answers, but is not set as it should be";
        let found: Vec<_> = lines.filter(of_redis).collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < give_up, "{count} warnings are missing: {log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_redis_would_lose_is_warned_of_once_at_start() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    redis.restart_with(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut program = start(&redis, dir.path(), free_port());
    let address = address(dir.path()).await;
    let found = warnings(dir.path(), 2).await;
    assert!(found.iter().all(|line| line["level"] == "WARN"), "{found:?}");
    let of = |check: &str| found.iter().find(|line| line["check"] == check).expect(check)["detail"].as_str().unwrap();
    let lost = of("persistence");
    assert!(lost.starts_with("durability: none") && lost.contains("set appendonly yes"), "{lost}");
    assert!(of("eviction_policy").contains("set noeviction"));
    for _ in 0..3 {
        let ready = ask(&address, "GET /api/v1/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(ready.contains("durability: none"), "{ready}");
        // What is found is told again for a second.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap();
    assert!(wait(&mut program).success());
    assert_eq!(warnings(dir.path(), 2).await.len(), 2, "each is told once");
}

#[tokio::test]
async fn what_redis_would_lose_is_warned_of_when_it_comes_later_and_when_it_comes_back_otherwise_set() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let dir = tempfile::tempdir().unwrap();
    let mut program = start(&redis, dir.path(), free_port());
    address(dir.path()).await;
    redis.restart_with(&["--appendonly", "no"]).await;
    assert_eq!(warnings(dir.path(), 1).await[0]["check"], "persistence");
    redis.kill();
    let give_up = Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(dir.path().join("log")).unwrap().contains("requests get 503") {
        assert!(Instant::now() < give_up, "nobody has missed it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    redis.restart_with(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]).await;
    let found = warnings(dir.path(), 2).await;
    Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap();
    assert!(wait(&mut program).success());
    assert_eq!((found.len(), &found[1]["check"]), (2, &"eviction_policy".into()), "{found:?}");
}

#[tokio::test]
async fn the_program_serves_logs_without_secrets_and_stops_on_sigterm() {
    let redis = RedisServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let metrics_port = free_port();
    let mut program = start(&redis, dir.path(), metrics_port);
    let address = address(dir.path()).await;
    let head = format!("Host: x\r\nConnection: close\r\nX-Request-Id: find-me\r\nAuthorization: Bearer {ADMIN}\r\n");
    let status = ask(&address, &format!("GET /api/v1/status HTTP/1.1\r\n{head}\r\n")).await;
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    let key_body = r#"{"scopes":["jobs:read"]}"#;
    let made = ask(
        &address,
        &format!("POST /api/v1/keys HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{key_body}", key_body.len()),
    )
    .await;
    let key = made.split("\"key\":\"").nth(1).unwrap().split('"').next().unwrap();
    let port = address.rsplit(':').next().unwrap();
    assert!(run(&["healthcheck", "--port", port]).status.success());
    assert!(run(&["healthcheck", "--ready", "--port", port]).status.success());

    let scrape = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let figures = ask(&format!("127.0.0.1:{metrics_port}"), scrape).await;
    assert!(figures.contains("titan_jobs{pool=\"default\",state=\"ended\"} 0"), "{figures}");

    Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap();
    assert!(wait(&mut program).success());
    assert!(!run(&["healthcheck", "--port", port]).status.success());

    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|l| l["request.id"] == "find-me" && l["route"] == "/api/v1/status").expect(&log);
    assert_eq!((&line["method"], &line["status"], &line["level"]), (&"GET".into(), &200.into(), &"INFO".into()));
    assert!(line["latency_ms"].as_f64().unwrap() > 0.0);
    for secret in [ADMIN, key, key.rsplit('_').next().unwrap(), "PRIVATE KEY"] {
        assert!(!log.contains(secret) && !figures.contains(secret), "the log or the figures hold a secret");
    }
}

#[tokio::test]
async fn log_lines_go_into_a_file_for_its_owner_alone_and_what_is_no_file_is_refused() {
    let redis = RedisServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("coordinator.log");
    let program = |file: &Path| {
        let mut command = Command::new(PROGRAM);
        command.args(["--bind", "127.0.0.1", "--port", "0", "--port-file"]).arg(dir.path().join("port"));
        command.env("REDIS_URL", redis.url()).env("ADMIN_TOKEN", ADMIN).env("SIGNING_KEY", signing_keys());
        command.env("LOG_FILE", file).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut running = program(&file).spawn().unwrap();
    let address = address(dir.path()).await;
    let health = ask(&address, "GET /api/v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(wait(&mut running).success());
    let output = running.wait_with_output().unwrap();
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let log = std::fs::read_to_string(&file).unwrap();
    let messages: Vec<_> =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].clone()).collect();
    assert_eq!((&messages[0], &messages[messages.len() - 1]), (&"listening".into(), &"stopped".into()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let refused = program(Path::new("/dev/full")).output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && message.contains("LOG_FILE /dev/full"), "{message}");
}

#[tokio::test]
async fn a_redis_that_is_away_is_named_by_its_address_and_a_wrong_url_ends_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let program = |url: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["--bind", "127.0.0.1", "--port", "0", "--port-file"]).arg(dir.path().join("port"));
        command.env("REDIS_URL", url).env("ADMIN_TOKEN", ADMIN).env("SIGNING_KEY", signing_keys());
        command
    };
    let (port, other) = (free_port(), free_port());
    for (url, named) in [
        (format!("redis://:hunter2@127.0.0.1:{port}"), format!("127.0.0.1:{port}")),
        (
            format!("redis+sentinel://:hunter2@127.0.0.1:{port},127.0.0.1:{other}/main?sentinel_password=hunter2"),
            format!("127.0.0.1:{port},127.0.0.1:{other}"),
        ),
        (
            format!("redis+cluster://u:hunter2@127.0.0.1:{port},127.0.0.1:{other}"),
            format!("127.0.0.1:{port},127.0.0.1:{other}"),
        ),
    ] {
        let log = dir.path().join("log");
        let mut running = program(&url).stdout(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let give_up = Instant::now() + Duration::from_secs(20);
        let text = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            if text.contains("requests get 503") || Instant::now() > give_up {
                break text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        running.kill().unwrap();
        running.wait().unwrap();
        let warning = text.lines().find(|line| line.contains("requests get 503")).unwrap_or_default();
        let warning: serde_json::Value = serde_json::from_str(warning).unwrap_or_default();
        assert_eq!((&warning["level"], &warning["redis"]), (&"WARN".into(), &named.into()), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    for url in [
        "redis://:hunter2@127.0.0.1:port",
        "127.0.0.1:6379",
        "redis+sentinel://:hunter2@a:1",
        "redis+cluster://",
        "redis://:p@hunter2#w@127.0.0.1:6379",
        "redis://:p@hunter2/w@127.0.0.1:6379",
        "redis+cluster://:p@hunter2?w@127.0.0.1:6379",
    ] {
        let refused = program(url).stdout(Stdio::null()).output().unwrap();
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && message.contains("REDIS_URL is no URL of Redis"), "{url}: {message}");
        assert!(message.contains("redis://HOST:PORT") && !message.contains("unavailable"), "{message}");
        assert!(!message.contains("InvalidClient"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn a_file_with_a_secret_that_others_can_read_is_warned_of_and_taken() {
    let (redis, dir) = (RedisServer::start().await, tempfile::tempdir().unwrap());
    let file = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path
    };
    let (admin, keys) = (file("admin", ADMIN, 0o640), file("keys", signing_keys(), 0o600));
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--bind", "127.0.0.1", "--port", "0", "--port-file"]).arg(dir.path().join("port"));
    command.env("REDIS_URL", redis.url()).env("ADMIN_TOKEN_FILE", &admin).env("SIGNING_KEY_FILE", &keys);
    let mut running = command.stdout(log).spawn().unwrap();
    address(dir.path()).await;
    Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(wait(&mut running).success());
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("chmod 600")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    let says = [r#""level":"WARN""#, admin.to_str().unwrap(), "0640", "ADMIN_TOKEN_FILE"];
    assert!(says.iter().all(|word| warnings[0].contains(word)), "{}", warnings[0]);
}

#[test]
fn the_program_refuses_wrong_settings_with_a_message() {
    let refused = run(&[]);
    assert!(!refused.status.success());
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("ADMIN_TOKEN is missing"), "{message}");
}

#[test]
fn the_program_prints_its_document_and_makes_keys() {
    let document: serde_json::Value = serde_json::from_slice(&run(&["openapi"]).stdout).unwrap();
    assert!(document["paths"]["/api/v1/jobs"]["post"].is_object());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.pem");
    let output = run(&["keygen", "--out", file.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("SIGNING_KEY_FILE={}", file.display())) && said.contains("same for every copy"),
        "{said}"
    );
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("-----BEGIN PRIVATE KEY-----").count(), 2);
    titan_coordinator::KeyRing::from_pem(&text).unwrap();
    assert!(!run(&["keygen", "--out", file.to_str().unwrap()]).status.success(), "it overwrites no keys");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
