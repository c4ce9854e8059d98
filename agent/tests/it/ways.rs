//! Ways to the coordinator: with a certificate of one's own, and through a proxy.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::{
    agent::{Start, sh},
    coordinator::Coordinator,
};

/// A coordinator with a certificate that nobody has signed, and that certificate in a file.
struct Private {
    coordinator: Coordinator,
    certificate: tempfile::NamedTempFile,
}

impl Private {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(certificate.path(), made.cert.pem()).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self { coordinator: Coordinator::start_with(Some(Arc::new(tls))).await, certificate }
    }

    fn agent(&self) -> Start {
        Start::of(&self.coordinator).args(&["--ca-file", self.certificate.path().to_str().unwrap()])
    }
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_trusted_if_it_is_named() {
    let private = Private::start().await;
    let _agent = private.agent().spawn();
    let id = private.coordinator.give(sh("echo over TLS"));
    assert_eq!(private.coordinator.ended(&id).await.output, b"over TLS\n");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_and_the_log_says_what_to_do() {
    let private = Private::start().await;
    let agent = Start::of(&private.coordinator).spawn();
    crate::agent::until("the log says so", || agent.log().contains("name its authority with --ca-file")).await;
    assert_eq!(private.coordinator.with(|s| s.calls.len()), 0, "nothing was told to whoever this is");
}

/// A proxy that connects to wherever it is asked to, and the places that it was asked for.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, asked) = (format!("http://{}", listener.local_addr().unwrap()), Arc::<Mutex<Vec<String>>>::default());
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connect(stream, Arc::clone(&seen)));
        }
    });
    (url, asked)
}

async fn connect(stream: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let place = line.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    let mut onward = TcpStream::connect(&place).await.unwrap();
    seen.lock().unwrap().push(place);
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut onward).await;
}

#[tokio::test]
async fn the_proxy_that_the_environment_names_is_used() {
    let private = Private::start().await;
    let (proxy, asked) = proxy().await;
    let _agent = private.agent().env("HTTPS_PROXY", &proxy).spawn();
    let id = private.coordinator.give(sh("echo through a proxy; env"));
    let said = String::from_utf8(private.coordinator.ended(&id).await.output).unwrap();
    assert!(said.starts_with("through a proxy\n") && !said.contains("PROXY"), "{said}");
    let place = private.coordinator.url.strip_prefix("https://").unwrap();
    assert!(asked.lock().unwrap().iter().all(|asked| asked == place) && !asked.lock().unwrap().is_empty());
}
