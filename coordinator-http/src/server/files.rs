//! Open files: each connection is one, and the system's usual bound is far below what one copy can serve.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files besides connections: Redis, the log, the runtime.
const SLACK: u64 = 256;

/// Raises the bound as far as the system lets a process do itself, and warns if it is too low for so many connections.
pub(crate) fn raise_open_files(connections: usize) {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(SLACK);
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, hard)| {
        if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
    });
    match allowed {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => tracing::warn!(
            component = "http",
            allowed,
            wanted,
            "few open files are allowed, so fewer connections can be served: raise the limit (ulimit -n, LimitNOFILE)"
        ),
        Err(error) => tracing::warn!(component = "http", error = %error, "cannot tell how many files may be open"),
    }
}
