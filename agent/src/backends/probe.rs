//! Backends at the usual ports of this box. What listens there is served only if it shows what it is: at 8000 and 8080
//! anything may listen, a coordinator too.

use tracing::info;

use super::{Backend, Kind, dialect, http::Http};
use crate::config::BackendArg;

/// Where the kinds listen unless they are told otherwise.
const USUAL: [(u16, Kind); 3] = [(11_434, Kind::Ollama), (8_000, Kind::Vllm), (8_080, Kind::LlamaCpp)];

/// Those that are there, but not those at the URLs that are known.
pub(super) async fn find(known: &[String]) -> Vec<Backend> {
    let mut found = Vec::new();
    for (port, kind) in USUAL {
        if known.iter().any(|url| is_at(url, port)) {
            continue;
        }
        let arg = BackendArg::plain(kind, format!("http://127.0.0.1:{port}"));
        let Ok(http) = Http::new(&arg) else { continue };
        if dialect::of(kind).is_this(&http).await == Ok(true) {
            info!("found {kind} at port {port}; --probe-backends=false leaves it alone");
            found.extend(Backend::new(&arg));
        }
    }
    found
}

/// Whether `url` is that port of this box.
fn is_at(url: &str, port: u16) -> bool {
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| *url == format!("http://{host}:{port}"))
}
