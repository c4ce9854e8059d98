//! A Redis that speaks TLS, with a certificate that only its operator vouches for.

use std::path::Path;

use tempfile::TempDir;
use titan_api::{
    client::Client,
    health::Readiness,
    jobs::{JobList, SubmitJob, SubmittedJob},
};
use titan_tests::{
    coordinator::{Coordinator, CoordinatorOptions},
    ports::free_port,
    redis::RedisServer,
    skip::skipped,
    wait::eventually,
};

use crate::helpers::shell;

/// A Redis, what it listens on with TLS, and its certificate.
struct Encrypted {
    _redis: RedisServer,
    url: String,
    folder: TempDir,
}

impl Encrypted {
    async fn start() -> Option<Self> {
        if !RedisServer::speaks_tls() {
            skipped("this redis-server was built without TLS");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let port = free_port();
        let redis = RedisServer::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &file("cert.pem"),
            "--tls-key-file",
            &file("key.pem"),
            "--tls-auth-clients",
            "no",
        ])
        .await;
        Some(Self { _redis: redis, url: format!("rediss://127.0.0.1:{port}"), folder })
    }

    async fn coordinator(&self, name: &str, settings: &[(&str, &Path)]) -> Coordinator {
        let options = CoordinatorOptions {
            redis_url: self.url.clone(),
            admin_token: "an-administrator's-token".to_owned(),
            settings: settings.iter().map(|(name, path)| ((*name).to_owned(), path.display().to_string())).collect(),
        };
        Coordinator::start(name, self.folder.path(), options).await
    }
}

async fn submit(client: &Client) -> Option<SubmittedJob> {
    client.post("/api/v1/jobs", &SubmitJob { allow_unserved: true, ..shell("true") }).await.ok()
}

#[tokio::test]
async fn a_redis_with_a_certificate_of_ones_own_is_trusted_if_that_is_named() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let certificate = encrypted.folder.path().join("cert.pem");
    let coordinator = encrypted.coordinator("trusting", &[("SSL_CERT_FILE", &certificate)]).await;
    let client = coordinator.client().await;
    let job = submit(&client).await.unwrap();
    let listed: JobList = client.get("/api/v1/jobs").await.unwrap();
    assert_eq!(listed.jobs[0].id, job.id);
    let ready: Readiness = client.get("/api/v1/ready").await.unwrap();
    assert!(ready.ready, "{ready:?}");
}

#[tokio::test]
async fn a_redis_that_nobody_vouches_for_is_refused_and_the_log_says_what_to_do() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let mut coordinator = encrypted.coordinator("distrusting", &[]).await;
    assert!(submit(&coordinator.admin()).await.is_none());
    let log = eventually("the log says why", async || {
        let log = coordinator.process().log();
        log.contains("UnknownIssuer").then_some(log)
    })
    .await;
    assert!(log.contains("name the certificate of its authority in SSL_CERT_FILE"), "{log}");
}
