//! The way to each coordinator: name, connection, TLS, HTTP, version and clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use titan_api::{
    client::{Client, ClientError, advice_for, date_of},
    health::Health,
};

use super::finding::Findings;
use crate::{config::Config, link::Link};

const LIMIT: Duration = Duration::from_secs(10);
/// A round trip that is worth a word.
const SLOW: Duration = Duration::from_millis(500);
/// By how much clocks may differ before logs are hard to compare. The agent itself goes by the coordinator's.
const SKEW_MS: u64 = 60_000;

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    let link = match Link::new(&config.coordinators, config.ca_file.as_deref()) {
        Ok(link) => link,
        Err(e) => return findings.failed("connection", format!("{e:#}"), "name a file with certificates in PEM"),
    };
    for client in link.clients() {
        coordinator(client, findings).await;
    }
}

async fn coordinator(client: &Client, findings: &mut Findings) {
    let (url, began) = (client.base(), Instant::now());
    let request = client.request(reqwest::Method::GET, "/api/v1/health").timeout(LIMIT);
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(e) => {
            let advice = match &e {
                ClientError::Unreachable { cause, .. } => advice_for(cause),
                _ => None,
            };
            return findings.failed(
                "connection",
                e.to_string(),
                advice.unwrap_or("check the URL: its path and port too"),
            );
        }
    };
    let (took, date) = (began.elapsed(), date_of(&response));
    let Ok(health) = response.json::<Health>().await else {
        let detail = format!("{url} answers, but not as a coordinator does");
        return findings.failed("connection", detail, "check the URL: its path and port too");
    };
    let detail = format!("{url} answers in {:.1} ms", took.as_secs_f64() * 1_000.0);
    if took > SLOW {
        findings.warning("connection", detail, "that is slow: look at the network, or at a proxy on the way");
    } else {
        findings.ok("connection", detail);
    }
    version(&health.version, findings);
    if let Some(date) = date {
        clock(date.as_ms(), findings);
    }
}

fn version(theirs: &str, findings: &mut Findings) {
    let own = env!("CARGO_PKG_VERSION");
    if theirs == own {
        return findings.ok("version", format!("{own}, here and there"));
    }
    let advice = "neighbouring versions work together; others may not: upgrade the older one";
    findings.warning("version", format!("this is {own}, the coordinator is {theirs}"), advice);
}

fn clock(theirs_ms: i64, findings: &mut Findings) {
    let own = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let own_ms = i64::try_from(own.as_millis()).unwrap_or(i64::MAX);
    let skew_ms = own_ms.abs_diff(theirs_ms);
    if skew_ms < SKEW_MS {
        return findings.ok("clock", "within a minute of the coordinator's");
    }
    let word = if own_ms > theirs_ms { "ahead of" } else { "behind" };
    findings.warning(
        "clock",
        format!("this box's is {} s {word} the coordinator's", skew_ms / 1_000),
        "set it by NTP: the agent goes by the coordinator's, but certificates and logs go by this one",
    );
}
