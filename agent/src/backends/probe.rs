//! Backends at the usual ports of this box. What listens there is served only if it shows what it is: at 8000 and 8080
//! anything may listen, a coordinator too.

use std::time::Duration;

use tokio::{task::JoinSet, time::timeout};
use tracing::info;

use super::{Backend, Kind, dialect, http::Http};
use crate::config::BackendArg;

/// Where the kinds listen unless they are told otherwise.
const USUAL: [(u16, Kind); 3] = [(11_434, Kind::Ollama), (8_000, Kind::Vllm), (8_080, Kind::LlamaCpp)];
/// How long something may take to show what it is. One that is silent keeps the agent from nothing else.
const LIMIT: Duration = Duration::from_secs(2);

/// Those that are there, but not those at the URLs that are known.
pub(super) async fn find(known: &[String]) -> Vec<Backend> {
    find_at(&USUAL, known).await
}

async fn find_at(ports: &[(u16, Kind)], known: &[String]) -> Vec<Backend> {
    let mut asking = JoinSet::new();
    for &(port, kind) in ports.iter().filter(|(port, _)| !known.iter().any(|url| is_at(url, *port))) {
        asking.spawn(look(port, kind));
    }
    asking.join_all().await.into_iter().flatten().collect()
}

/// The backend of that kind at that port, if there is one.
async fn look(port: u16, kind: Kind) -> Option<Backend> {
    let arg = BackendArg::plain(kind, format!("http://127.0.0.1:{port}"));
    let http = Http::new(&arg).ok()?;
    let is_this = timeout(LIMIT, dialect::of(kind).is_this(&http)).await;
    if is_this != Ok(Ok(true)) {
        return None;
    }
    info!("found {kind} at port {port}; --probe-backends=false leaves it alone");
    Backend::new(&arg).ok()
}

/// Whether `url` is that port of this box.
fn is_at(url: &str, port: u16) -> bool {
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| *url == format!("http://{host}:{port}"))
}

#[cfg(test)]
#[path = "../../../tests/src/backend/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "it belongs to the harness of the whole, which uses all of it")]
mod scripted;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{
        scripted::{Backend as Scripted, Shape},
        *,
    };

    fn port(url: &str) -> u16 {
        url.rsplit(':').next().unwrap().parse().unwrap()
    }

    async fn found(ports: &[(u16, Kind)], known: &[String]) -> Vec<String> {
        let mut found: Vec<_> = find_at(ports, known).await.iter().map(|b| format!("{} {}", b.kind, b.url())).collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn what_listens_at_a_usual_port_and_shows_what_it_is_is_served() {
        let there = [
            Scripted::like(Shape::Ollama).await,
            Scripted::like(Shape::Vllm).await,
            Scripted::like(Shape::LlamaCpp).await,
        ];
        let kinds = USUAL.map(|(_, kind)| kind);
        assert_eq!(kinds, [Kind::Ollama, Kind::Vllm, Kind::LlamaCpp]);
        let ports: Vec<_> = there.iter().zip(kinds).map(|(server, kind)| (port(server.url()), kind)).collect();
        let all: Vec<_> = there.iter().zip(kinds).map(|(server, kind)| format!("{kind} {}", server.url())).collect();
        assert_eq!(found(&ports, &[]).await, [all[2].clone(), all[0].clone(), all[1].clone()]);
        // One that the operator has named is that one, however its host is spelt.
        let known = [there[0].url().to_owned(), there[1].url().replace("127.0.0.1", "localhost")];
        assert_eq!(found(&ports, &known).await, [all[2].clone()]);
    }

    #[tokio::test]
    async fn another_program_at_a_usual_port_is_left_alone() {
        let shapes = [Shape::OpenAi, Shape::Ollama, Shape::Vllm, Shape::LlamaCpp];
        for shape in shapes {
            let there = Scripted::like(shape).await;
            for (kind, own) in
                [(Kind::Ollama, Shape::Ollama), (Kind::Vllm, Shape::Vllm), (Kind::LlamaCpp, Shape::LlamaCpp)]
            {
                let found = found(&[(port(there.url()), kind)], &[]).await;
                assert_eq!(found.len(), usize::from(shape == own), "{shape:?} where {kind} would be");
            }
        }
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_or_answers_hides_no_other() {
        let there = Scripted::like(Shape::LlamaCpp).await;
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap().port()
        };
        let ports = [
            (silent.local_addr().unwrap().port(), Kind::Ollama),
            (nobody, Kind::Vllm),
            (port(there.url()), Kind::LlamaCpp),
        ];
        let begun = Instant::now();
        assert_eq!(found(&ports, &[]).await, [format!("llamacpp {}", there.url())]);
        assert!(begun.elapsed() < super::super::FIRST_LOOK, "{:?}", begun.elapsed());
    }
}
