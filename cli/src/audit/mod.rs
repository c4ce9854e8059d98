//! `titan audit`: compares everything that a live pool keeps in Redis with itself, in small pieces, and writes nothing.

mod report;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use titan_api::{ids::PoolName, secret::Secret};
use titan_lua::{
    Pool, PoolSettings, Store, StoreError,
    audit::{Audit, Step},
};

use self::report::Report;
use crate::{
    failure::Failure,
    files::dev::{self, DevContext},
    progress,
    settings::{Format, Global},
    target::variable,
};

/// Arguments of `titan audit`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
It goes to Redis itself, not to a coordinator, and may run while the pool
works: what it compares it compares at one moment, a few hundred values at a
time, and rests in between. Jobs are compared with the sets by state, agents
with what they hold and what is promised of them, ranks with where agents
stand, what falls due with what is there, keys with what they belong to. The
exit code is 0 if all of it agrees, 1 if not.

Examples:
  titan audit                                       # of a running `titan dev`, or of REDIS_URL
  titan audit --redis-url-file redis-url --pool blue -o json")]
pub struct Options {
    /// Where Redis is, as for the coordinator; with a password only from the environment or a file. Without it: that of a
    /// running `titan dev`.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub redis_url: Option<Secret>,
    /// A file with the URL of Redis.
    #[arg(long, env = "REDIS_URL_FILE", value_name = "FILE")]
    pub redis_url_file: Option<PathBuf>,
    /// Leave out the search for keys that belong to nothing, which goes through all keys of the database.
    #[arg(long)]
    pub skip_keys: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "clap asks for a result")]
fn secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

/// Looks at the pool that is named, or at all that there are.
///
/// # Errors
/// [`Failure::Broken`] if something does not agree; else if Redis cannot be read, or there is no such pool.
pub async fn run(options: Options, global: Global) -> Result<(), Failure> {
    let (url, what) = redis_url(&options)?;
    let store = Store::new(url.reveal(), PoolSettings::default())
        .map_err(|error| Failure::Usage(format!("{what} is no URL of Redis: {error}")))?;
    let named = match &global.pool {
        Some(pool) => Some(pool.clone()),
        None => variable("TITAN_POOL")
            .map(|pool| pool.parse())
            .transpose()
            .map_err(|e| Failure::Usage(format!("TITAN_POOL: {e}")))?,
    };
    let pools = match named {
        Some(pool) => vec![pool],
        None => store.pools().await.map_err(of_store)?,
    };
    if pools.is_empty() {
        eprintln!("no coordinator has opened a pool in this Redis yet");
    }
    let mut broken = 0;
    for name in &pools {
        let report = look(&store.pool(name), name, &options, &global).await?;
        broken += report.findings.len();
        print(&report, &global)?;
    }
    match broken {
        0 => Ok(()),
        1 => Err(Failure::Broken { message: "1 thing does not agree".to_owned(), code: 1 }),
        n => Err(Failure::Broken { message: format!("{n} things do not agree"), code: 1 }),
    }
}

async fn look(pool: &Pool, name: &PoolName, options: &Options, global: &Global) -> Result<Report, Failure> {
    let line = progress::style(global);
    let mut report = Report::new(name);
    let mut audit = if options.skip_keys { Audit::without_keys() } else { Audit::default() };
    loop {
        let began = Instant::now();
        match audit.step(pool).await.map_err(of_store)? {
            Step::Done => break,
            Step::NoPool => {
                return Err(Failure::Missing(format!(
                    "there is no pool {name} in this Redis; `titan audit` without --pool names those that there are"
                )));
            }
            Step::Looked(slice) => {
                if let Some(style) = line {
                    progress::show_line(
                        &format!("pool {name}: looking at {} ({})", slice.part, report.checked()),
                        style,
                    );
                }
                report.take(slice, began.elapsed());
            }
        }
        // As long as it took, so that Redis is never busy with this for more than half of the time.
        tokio::time::sleep(began.elapsed().max(Duration::from_millis(1))).await;
    }
    progress::hide();
    Ok(report)
}

fn print(report: &Report, global: &Global) -> Result<(), Failure> {
    use crate::{
        render::{lines, style::Style},
        session::{print, print_json_lines},
    };
    match global.output {
        Format::Json => print_json_lines(&[report.as_json()]),
        Format::Jsonl => print_json_lines(&report.findings_as_json()),
        Format::Name => print(&lines(report.findings.iter().map(|found| format!("{} {}", found.kind, found.id)))),
        Format::Table | Format::Wide => print(&report.render(Style::of_stdout(global))),
    }
}

/// Where Redis is, and what says so: what was set, else a running `titan dev`.
fn redis_url(options: &Options) -> Result<(Secret, String), Failure> {
    let given = options.redis_url.as_ref().filter(|url| !url.reveal().trim().is_empty());
    match (given, &options.redis_url_file) {
        (Some(_), Some(_)) => {
            Err(Failure::Usage("say where Redis is by its URL or by a file with it, not by both".into()))
        }
        (None, Some(file)) => Ok((of_file(file)?, format!("what {} holds", file.display()))),
        (Some(url), None) => {
            let is_flag = variable("REDIS_URL").as_deref() != Some(url.reveal());
            if is_flag && has_password(url) {
                let why = "--redis-url holds a password, which every user of this machine can read there: set REDIS_URL in the \
                           environment, or give --redis-url-file";
                return Err(Failure::Usage(why.to_owned()));
            }
            Ok((url.clone(), if is_flag { "--redis-url" } else { "REDIS_URL" }.to_owned()))
        }
        (None, None) => {
            let dev = dev::path().map(|path| DevContext::read(&path)).transpose()?.flatten();
            let url = dev.and_then(|dev| dev.redis_url).ok_or_else(|| {
                let how = "say where Redis is, as the coordinator knows it: REDIS_URL, --redis-url or --redis-url-file";
                Failure::Usage(how.into())
            })?;
            Ok((url, "what `titan dev` has written".to_owned()))
        }
    }
}

fn of_file(file: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    match text.trim() {
        "" => Err(Failure::Usage(format!("{} holds no URL", file.display()))),
        url => Ok(Secret::new(url)),
    }
}

/// Whether there is a `:` in what comes before the host.
fn has_password(url: &Secret) -> bool {
    let rest = url.reveal().split_once("://").map_or(url.reveal(), |(_, rest)| rest);
    rest.rsplit_once('@').is_some_and(|(before, _)| before.contains(':'))
}

fn of_store(error: StoreError) -> Failure {
    match error {
        StoreError::Unavailable(why) => Failure::Unavailable(format!("Redis cannot be read: {why}")),
        StoreError::Moving(why) => Failure::Unavailable(format!("the pool is moving between nodes, try again: {why}")),
        other => Failure::Other(anyhow::Error::new(other)),
    }
}
