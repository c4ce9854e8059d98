//! The settings as a whole, after everything about them was checked.

use std::{
    collections::BTreeMap,
    env,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use nix::unistd::Uid;
use titan_api::{ids::AgentId, limits};

use super::{
    Accelerator, Accounts, BackendArg, JobUser, JoinToken, OnStop, RunArgs, Supervised, backends, bounds, labels,
    supervise,
};
use crate::{cgroups::Bounds, policy::Policy};

const MIN_FREE_DISK_MB: u64 = 512;
const LISTEN_PORT: u16 = 7_070;
const DRAIN_GRACE: Duration = Duration::from_secs(30);

/// Settings that make sense together.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Base URLs, at least one, in the order to try them.
    pub coordinators: Vec<String>,
    pub join_token: JoinToken,
    pub node_id: Option<AgentId>,
    pub hostname: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// 1 to 64.
    pub max_jobs: u32,
    pub backends: Vec<BackendArg>,
    /// Whether backends are looked for, too.
    pub probe_backends: bool,
    /// Backends that the agent starts by itself.
    pub supervised: Supervised,
    pub gateway_listen: Option<SocketAddr>,
    /// Where clients reach that.
    pub endpoint: Option<String>,
    pub price_per_hour: Option<f64>,
    pub ephemeral: bool,
    /// Whether process jobs are taken at all.
    pub allow_jobs: bool,
    /// What they may be; `None`: anything.
    pub policy: Option<Arc<Policy>>,
    /// `None`: jobs run as the agent does.
    pub job_user: Option<JobUser>,
    /// What jobs are held to.
    pub bounds: Bounds,
    pub state_dir: PathBuf,
    pub work_dir: PathBuf,
    pub min_free_disk_mb: u64,
    pub nvml_library: Option<PathBuf>,
    pub accelerators: Vec<Accelerator>,
    /// `None`: nowhere.
    pub listen: Option<SocketAddr>,
    pub ca_file: Option<PathBuf>,
    pub heartbeat_interval: Option<Duration>,
    pub drain_grace: Duration,
    pub on_stop: OnStop,
    /// Where spans are sent, if anywhere.
    pub tracing: Option<titan_telemetry::Settings>,
}

impl Config {
    /// Checks the settings together.
    ///
    /// # Errors
    /// Says which setting is wrong and what to do about it.
    pub(crate) fn check(args: &RunArgs) -> anyhow::Result<Self> {
        let is_root = Uid::effective().is_root();
        let accounts = Accounts { is_root, may_be_root: args.allow_root_jobs == Some(true) };
        let state_dir = state_dir(args.state_dir.clone(), is_root)?;
        let policy = policy(args, accounts)?;
        let config = Self {
            coordinators: coordinators(&args.coordinators)?,
            join_token: JoinToken::of(env::var("TITAN_JOIN_TOKEN").ok(), args.join_token_file.clone()),
            node_id: args.node_id.as_deref().map(AgentId::new).transpose().context("--node-id cannot be used")?,
            hostname: args.hostname.clone().filter(|name| !name.is_empty()),
            labels: labels::parse(&args.labels)?,
            max_jobs: max_jobs(args.max_jobs)?,
            backends: backends::check(&args.backends)?,
            probe_backends: args.probe_backends.unwrap_or(true),
            supervised: supervise::check(args, accounts)?,
            gateway_listen: args.gateway_listen,
            endpoint: endpoint(args)?,
            price_per_hour: price_per_hour(args.price_per_hour)?,
            ephemeral: args.ephemeral == Some(true),
            allow_jobs: allows_jobs(args, policy.as_deref()),
            policy,
            job_user: job_user(args, accounts)?,
            bounds: bounds::of(args)?,
            work_dir: absolute(&args.work_dir.clone().unwrap_or_else(|| state_dir.join("work")))?,
            state_dir,
            min_free_disk_mb: args.min_free_disk_mb.unwrap_or(MIN_FREE_DISK_MB),
            nvml_library: named(args.nvml_library.as_ref()),
            accelerators: accelerators(&args.accelerators)?,
            listen: listen(args.listen.as_deref())?,
            ca_file: named(args.ca_file.as_ref()),
            heartbeat_interval: heartbeat_interval(args.heartbeat_interval)?,
            on_stop: args.on_stop.unwrap_or_default(),
            tracing: tracing(args.otel_exporter_otlp_endpoint.as_deref())?,
            drain_grace: args.drain_grace.unwrap_or(DRAIN_GRACE),
        };
        config.check_rights(accounts)?;
        Ok(config)
    }
}

/// Traces are begun where jobs are submitted, so there is nothing to choose here.
fn tracing(endpoint: Option<&str>) -> anyhow::Result<Option<titan_telemetry::Settings>> {
    let Some(endpoint) = endpoint.filter(|url| !url.trim().is_empty()) else { return Ok(None) };
    let headers = env::var("OTEL_EXPORTER_OTLP_HEADERS").ok();
    Ok(Some(titan_telemetry::Settings::new(endpoint, headers.as_deref(), 0.0)?))
}

/// An empty variable names nothing.
fn named(path: Option<&PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty()).cloned()
}

fn accelerators(declared: &[Accelerator]) -> anyhow::Result<Vec<Accelerator>> {
    Accelerator::check(declared).context("the accelerators of the settings file cannot be used")?;
    Ok(declared.to_vec())
}

fn coordinators(urls: &[String]) -> anyhow::Result<Vec<String>> {
    let urls: Vec<_> =
        urls.iter().map(|u| u.trim()).filter(|u| !u.is_empty()).map(coordinator).collect::<Result<_, _>>()?;
    ensure!(!urls.is_empty(), "no coordinator is named: give its URL with --coordinator or in TITAN_COORDINATOR");
    Ok(urls)
}

fn coordinator(text: &str) -> anyhow::Result<String> {
    let url = reqwest::Url::parse(text)
        .with_context(|| format!("--coordinator `{text}` is no URL; an example is https://titan.example.org"))?;
    ensure!(matches!(url.scheme(), "http" | "https"), "--coordinator `{text}` must begin with https:// or http://");
    // The text itself is left out: it may hold a password.
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "--coordinator must not hold a user name or a password: the agent identifies itself by its own key"
    );
    ensure!(url.query().is_none() && url.fragment().is_none(), "--coordinator `{text}` must end before `?` and `#`");
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn endpoint(args: &RunArgs) -> anyhow::Result<Option<String>> {
    let Some(text) = args.advertise_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
    ensure!(
        args.gateway_listen.is_some(),
        "--advertise-url names where clients reach --gateway-listen, which is not set"
    );
    let url = reqwest::Url::parse(text).context("--advertise-url is no URL; an example is https://box.example.org")?;
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    ensure!(is_plain, "--advertise-url must hold neither a user name nor a password, and end before `?` and `#`");
    ensure!(matches!(url.scheme(), "http" | "https"), "--advertise-url must begin with https:// or http://");
    Ok(Some(url.as_str().trim_end_matches('/').to_owned()))
}

fn max_jobs(wish: Option<u32>) -> anyhow::Result<u32> {
    let cpus = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(limits::MAX_JOBS));
    let jobs = wish.unwrap_or_else(|| cpus.min(limits::MAX_JOBS));
    ensure!((1..=limits::MAX_JOBS).contains(&jobs), "--max-jobs is {jobs} and must be from 1 to {}", limits::MAX_JOBS);
    Ok(jobs)
}

fn price_per_hour(wish: Option<f64>) -> anyhow::Result<Option<f64>> {
    if let Some(price) = wish {
        let most = limits::PRICE_PER_HOUR;
        ensure!((0.0..=most).contains(&price), "--price-per-hour is {price} and must be from 0 to {most}");
    }
    Ok(wish)
}

fn listen(wish: Option<&str>) -> anyhow::Result<Option<SocketAddr>> {
    match wish.map(str::trim).filter(|wish| !wish.is_empty()) {
        None => Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, LISTEN_PORT)))),
        Some("off") => Ok(None),
        Some(wish) => Ok(Some(wish.parse().with_context(|| {
            format!("--listen `{wish}` must be an address with a port, such as 127.0.0.1:{LISTEN_PORT}, or off")
        })?)),
    }
}

fn heartbeat_interval(wish: Option<Duration>) -> anyhow::Result<Option<Duration>> {
    if let Some(wish) = wish {
        ensure!(wish >= Duration::from_millis(100), "--heartbeat-interval must be at least 100ms");
    }
    Ok(wish)
}

fn job_user(args: &RunArgs, accounts: Accounts) -> anyhow::Result<Option<JobUser>> {
    let name = args.job_user.as_deref().filter(|name| !name.is_empty());
    Ok(name.map(|name| accounts.find(name).context("--job-user cannot be used")).transpose()?.flatten())
}

fn policy(args: &RunArgs, accounts: Accounts) -> anyhow::Result<Option<Arc<Policy>>> {
    let path = named(args.policy.as_ref());
    Ok(path.map(|path| Policy::read(&path, accounts)).transpose()?.map(Arc::new))
}

/// Whether the box takes process jobs: what its policy allows, or all.
fn allows_jobs(args: &RunArgs, policy: Option<&Policy>) -> bool {
    args.allow_jobs.unwrap_or_else(|| policy.is_some_and(|policy| !policy.rules.is_empty()))
}

impl Config {
    /// Jobs run as root only if somebody has said so in as many words.
    fn check_rights(&self, accounts: Accounts) -> anyhow::Result<()> {
        let any_rule = |policy: &Policy| policy.rules.iter().any(|rule| rule.user().is_none());
        let as_agent = self.job_user.is_none() && self.policy.as_deref().is_none_or(any_rule);
        ensure!(
            !(self.allow_jobs && as_agent && accounts.is_root && !accounts.may_be_root),
            "jobs would run as root: name an account without rights with --job-user (for example one made by \
             `useradd --system titan-jobs`) or in each rule of the policy file, or accept jobs as root with \
             --allow-root-jobs"
        );
        Ok(())
    }
}

fn state_dir(named: Option<PathBuf>, root: bool) -> anyhow::Result<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let chosen = named
        .or_else(|| root.then(|| PathBuf::from("/var/lib/titan-agent")))
        .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("titan-agent")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/titan-agent")))
        .context("there is no home folder to keep the agent's key in: name a folder with --state-dir")?;
    absolute(&chosen)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("`{}` is no path", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> RunArgs {
        RunArgs {
            coordinators: vec!["http://127.0.0.1:8080/".into()],
            state_dir: Some("/tmp/x".into()),
            ..RunArgs::default()
        }
    }

    fn refusal(change: impl FnOnce(&mut RunArgs)) -> String {
        let mut args = args();
        change(&mut args);
        format!("{:#}", Config::check(&args).unwrap_err())
    }

    #[test]
    fn sensible_settings_are_taken() {
        let config = Config::check(&args()).unwrap();
        assert_eq!(config.coordinators, ["http://127.0.0.1:8080"]);
        assert_eq!(config.work_dir, PathBuf::from("/tmp/x/work"));
        assert!((1..=64).contains(&config.max_jobs));
    }

    #[test]
    fn each_wrong_setting_is_named_with_what_to_do() {
        assert!(refusal(|a| a.coordinators.clear()).contains("--coordinator or in TITAN_COORDINATOR"));
        assert!(refusal(|a| a.coordinators = vec!["ftp://x".into()]).contains("https://"));
        assert!(refusal(|a| a.coordinators = vec!["box:1".into()]).contains("https://"));
        let with_password = refusal(|a| a.coordinators = vec!["http://u:geheim@x".into()]);
        assert!(with_password.contains("password") && !with_password.contains("geheim"));
        assert!(refusal(|a| a.max_jobs = Some(65)).contains("from 1 to 64"));
        assert!(refusal(|a| a.max_jobs = Some(0)).contains("from 1 to 64"));
        assert!(refusal(|a| a.price_per_hour = Some(-1.0)).contains("from 0"));
        assert!(refusal(|a| a.price_per_hour = Some(f64::NAN)).contains("from 0"));
        assert!(refusal(|a| a.listen = Some("7070".into())).contains("127.0.0.1:7070, or off"));
        assert!(refusal(|a| a.node_id = Some("a b".into())).contains("--node-id"));
        assert!(refusal(|a| a.job_user = Some("no-such-account".into())).contains("no account `no-such-account`"));
    }

    #[test]
    fn jobs_as_root_must_be_asked_for() {
        if Uid::effective().is_root() {
            assert!(refusal(|a| a.allow_jobs = Some(true)).contains("--job-user"));
            assert!(refusal(|a| a.job_user = Some("root".into())).contains("--allow-root-jobs"));
        }
        let mut args = args();
        (args.allow_jobs, args.allow_root_jobs) = (Some(true), Some(true));
        assert!(Config::check(&args).unwrap().job_user.is_none());
    }
}
