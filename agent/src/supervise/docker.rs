//! The way to Docker: its socket on this box, and what to say when it is not there.

use std::{env, io, os::unix::net::UnixStream, path::Path};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};

use super::short;

const SOCKET: &str = "/var/run/docker.sock";
/// Seconds for one answer of it; streams have no such bound.
const PATIENCE_S: u64 = 60;
const TOOLKIT: &str = "install the NVIDIA container toolkit, then run `nvidia-ctk runtime configure --runtime=docker` and \
                       restart Docker";

/// The path of its socket.
///
/// # Errors
/// The operator named something else than a socket of this box, in words.
fn socket() -> Result<String, String> {
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    if host.is_empty() {
        return Ok(SOCKET.to_owned());
    }
    // The text itself is left out: it may hold a password.
    host.strip_prefix("unix://").map(str::to_owned).ok_or_else(|| {
        "DOCKER_HOST names no socket of this box: containers of backends run here, so it must begin with unix://"
            .to_owned()
    })
}

/// Whether Docker answers here.
///
/// # Errors
/// Why not, and what to do about it.
pub(crate) fn reach() -> Result<String, String> {
    let path = socket()?;
    match UnixStream::connect(&path) {
        Ok(_) => Ok(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound && !Path::new(&path).exists() => Err(format!(
            "there is no Docker here (no socket at {path}): install it, or say where its socket is with \
             DOCKER_HOST=unix://…"
        )),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(format!(
            "this account may not use Docker's socket {path}: add it to the socket's group (`usermod -aG docker NAME`) \
             and start the agent again"
        )),
        Err(e) => {
            Err(format!("Docker does not answer at {path} ({e}): start it, for example with `systemctl start docker`"))
        }
    }
}

/// Docker, speaking a version that both sides know.
///
/// # Errors
/// Why not, and what to do about it.
pub(crate) async fn connect() -> Result<Docker, String> {
    let path = reach()?;
    let docker = Docker::connect_with_unix(&path, PATIENCE_S, API_DEFAULT_VERSION).map_err(|e| words(&e))?;
    docker.negotiate_version().await.map_err(|e| words(&e))
}

/// What went wrong, with what to do where that is known.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } if wants_toolkit(message) => {
            format!("Docker cannot give GPUs to containers ({}): {TOOLKIT}", short(message))
        }
        Error::DockerResponseServerError { status_code, message } => {
            format!("Docker answers {status_code}: {}", short(message))
        }
        Error::DockerStreamError { error } => format!("Docker says: {}", short(error)),
        Error::RequestTimeoutError => "Docker takes too long to answer".to_owned(),
        other => short(&other.to_string()),
    }
}

fn wants_toolkit(message: &str) -> bool {
    ["could not select device driver", "nvidia-container", "unknown or invalid runtime name: nvidia"]
        .iter()
        .any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_toolkit_is_told_with_what_to_do() {
        let message = r#"could not select device driver "nvidia" with capabilities: [[gpu]]"#.to_owned();
        let said = words(&Error::DockerResponseServerError { status_code: 500, message });
        assert!(said.contains("nvidia-ctk runtime configure"), "{said}");
        let other = words(&Error::DockerResponseServerError { status_code: 409, message: "no\x1b".into() });
        assert_eq!(other, "Docker answers 409: no ");
    }
}
