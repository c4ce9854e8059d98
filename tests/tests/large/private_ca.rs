//! A coordinator behind something that ends TLS for it, with a certificate of an authority that only its operator knows: an
//! agent and `titan` use it like any other, once they are told of that authority.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, process::Command, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use titan_tests::{
    agent::{Agent, AgentOptions},
    binaries::program,
    coordinator::{Coordinator, CoordinatorOptions},
    process::clean,
    redis::RedisServer,
    wait::eventually,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls};

const HOST: &str = "127.0.0.1";

/// An installation, and the folder of whoever uses it.
struct Private {
    coordinator: Coordinator,
    url: String,
    authority: PathBuf,
    folder: TempDir,
    _redis: RedisServer,
    _front: JoinSet<()>,
}

impl Private {
    async fn start() -> Self {
        let (redis, folder) = (RedisServer::start().await, TempDir::new().unwrap());
        let options = CoordinatorOptions {
            redis_url: redis.url(),
            admin_token: "an-administrator-of-this-test".to_owned(),
            settings: BTreeMap::new(),
        };
        let coordinator = Coordinator::start("private", folder.path(), options).await;
        let (tls, authority) = (certified(), folder.path().join("authority.pem"));
        std::fs::write(&authority, tls.1).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut front = JoinSet::new();
        front.spawn(end_tls(listener, TlsAcceptor::from(Arc::new(tls.0)), coordinator.port()));
        Self { coordinator, url, authority, folder, _redis: redis, _front: front }
    }

    /// What `titan` says, by somebody who has logged in before or has not; whether it went well.
    async fn titan(&self, arguments: &[&str], input: &str) -> (bool, String) {
        let said = self.folder.path().join("said");
        std::fs::write(&said, input).unwrap();
        let mut command = Command::new(program("titan"));
        clean(&mut command).args(arguments).env("HOME", self.folder.path()).stdin(std::fs::File::open(said).unwrap());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.success(), told.into_owned())
    }

    fn authority(&self) -> &str {
        self.authority.to_str().unwrap()
    }

    async fn agent(&self, settings: &[(&str, &str)]) -> Agent {
        let options = AgentOptions {
            id: "private".to_owned(),
            coordinators: vec![self.url.clone()],
            join_token: self.coordinator.join_token().await,
            settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        };
        Agent::start(self.folder.path(), options)
    }
}

/// A certificate for this host, and the authority that signed it, in PEM.
fn certified() -> (rustls::ServerConfig, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (tls, authority.pem())
}

/// Hands on in the clear what comes encrypted.
async fn end_tls(listener: TcpListener, acceptor: TlsAcceptor, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // Whoever does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut coordinator = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut coordinator).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

#[tokio::test]
async fn with_an_authority_of_ones_own_that_is_named_once_everything_goes_as_with_any_other() {
    let private = Private::start().await;
    let _agent = private.agent(&[("TITAN_CA_FILE", private.authority())]).await;
    let login = ["login", &private.url, "--ca-file", private.authority()];
    let (is_well, told) = private.titan(&login, &private.coordinator.api_key().await).await;
    assert!(is_well, "{told}");
    // The context knows the authority.
    let (is_well, told) = private.titan(&["submit", "--gpus", "0", "--", "echo", "in private"], "").await;
    assert!(is_well && told.contains("in private"), "{told}");
    let (is_well, told) = private.titan(&["agents", "ls"], "").await;
    assert!(is_well && told.contains("healthy"), "{told}");
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_trusted_by_nobody_and_each_says_how_to_name_it() {
    let private = Private::start().await;
    let mut agent = private.agent(&[]).await;
    let key = private.coordinator.api_key().await;
    for arguments in [&["login", &private.url][..], &["doctor", "--url", &private.url]] {
        let (is_well, told) = private.titan(arguments, &key).await;
        assert!(!is_well && told.contains("--ca-file"), "{arguments:?}: {told}");
        assert!(!told.contains(&key), "{told}");
    }
    eventually("the agent says so", async || agent.process().log().contains("--ca-file").then_some(())).await;
    let (is_well, told) = private.titan(&["login", &private.url, "--ca-file", private.authority()], &key).await;
    assert!(is_well, "{told}");
    let (is_well, told) = private.titan(&["agents", "ls"], "").await;
    assert!(is_well && !told.contains("healthy"), "{told}");
}
