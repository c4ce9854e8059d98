//! Settings: what is refused, and whether the message says what to do.

use clap::Parser;
use titan_coordinator::ConfigError;

use crate::world::{ADMIN, Flags, secret, signing_keys};

fn check(flags: &[&str], admin: Option<&str>, keys: Option<&str>) -> Result<(), ConfigError> {
    let args = Flags::parse_from(["test"].iter().chain(flags)).run;
    args.check(|name| secret(name, admin, keys)).map(drop)
}

#[test]
fn settings_that_fit_together_are_taken() {
    check(&[], Some(ADMIN), Some(signing_keys())).unwrap();
    check(&["--heartbeat-interval", "15s"], Some(ADMIN), Some(signing_keys())).unwrap();
    let one_line = signing_keys().replace('\n', "\\n");
    check(&[], Some(ADMIN), Some(&one_line)).unwrap();
}

#[test]
fn settings_that_do_not_fit_are_refused_with_what_to_do() {
    let keys = Some(signing_keys());
    let rsa_only = &signing_keys()[signing_keys().rfind("-----BEGIN").unwrap()..];
    let pkcs1 = signing_keys().replace("PRIVATE KEY", "RSA PRIVATE KEY");
    let cut = &signing_keys()[..signing_keys().len() - 30];
    for (flags, admin, keys, says) in [
        (&[][..], None, keys, "ADMIN_TOKEN"),
        (&[], Some("short"), keys, "openssl rand"),
        (&[], Some("a token with spaces in it"), keys, "ADMIN_TOKEN"),
        (&[], Some(ADMIN), None, "titan coordinator keygen"),
        (&[], Some(ADMIN), Some("nonsense"), "titan coordinator keygen"),
        (&[], Some(ADMIN), Some(rsa_only), "titan coordinator keygen"),
        (&[], Some(ADMIN), Some(pkcs1.as_str()), "PKCS#8"),
        (&[], Some(ADMIN), Some(cut), "damaged"),
        (&["--heartbeat-interval", "16s"], Some(ADMIN), keys, "half"),
        (&["--lease-ttl", "39s"], Some(ADMIN), keys, "quarter of LEASE_TTL"),
        (&["--redis-url", "redis://:hunter2@127.0.0.1"], Some(ADMIN), keys, "REDIS_URL_FILE"),
        (&["--redis-url", "redis://127.0.0.1", "--redis-url-file", "/x"], Some(ADMIN), keys, "unset one"),
        (&["--redis-url-file", "/nowhere"], Some(ADMIN), keys, "/nowhere"),
        (&["--lease-ttl", "0s"], Some(ADMIN), keys, "LEASE_TTL"),
        (&["--job-retention", "100years"], Some(ADMIN), keys, "JOB_RETENTION"),
        (&["--redis-timeout", "10ms"], Some(ADMIN), keys, "REDIS_TIMEOUT"),
        (&["--redis-timeout", "61s"], Some(ADMIN), keys, "between 50ms and 1m"),
        (&["--cors-allowed-origins", "example.org"], Some(ADMIN), keys, "https://"),
        (&["--cors-allowed-origins", "*,https://a.example"], Some(ADMIN), keys, "CORS_ALLOWED_ORIGINS"),
        (&["--admin-token-file", "/nowhere"], None, keys, "/nowhere"),
        (&["--admin-token-file", "/nowhere"], Some(ADMIN), keys, "unset one"),
    ] {
        let text = check(flags, admin, keys).unwrap_err().to_string();
        assert!(text.contains(says), "{flags:?}: {text}");
        assert!(!text.contains(ADMIN), "{text}");
    }
}

#[test]
fn a_secret_in_a_file_is_read_without_its_line_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{ADMIN}\n")).unwrap();
    check(&["--admin-token-file", file.to_str().unwrap()], None, Some(signing_keys())).unwrap();
}

#[test]
fn what_cannot_be_read_is_answered_with_what_can() {
    for (flag, wrong, says) in [
        ("--lease-ttl", "60", "write a number and a unit, for example 30s"),
        ("--parking", "maybe", "on, off"),
        ("--prompt-budget", "512MB", "at least 16MiB, for example 2GiB"),
        ("--prompt-budget", "1", "at least 16MiB, for example 2GiB"),
        ("--output-budget", "1KiB", "at least 1MiB, for example 2GiB"),
        ("--job-retention-max", "0", "from 1 to 10000000"),
        ("--concurrency-limit", "many", "from 16 to 100000"),
        ("--idle-poll-ms", "10", "from 1000 to 3600000"),
        ("--otel-traces-sampler-arg", "2", "from 0 to 1"),
        ("--rate-limit-requests", "5", "for example 600/1m"),
    ] {
        let text = Flags::try_parse_from(["test", flag, wrong]).err().unwrap().to_string();
        assert!(text.contains(says) && text.contains(flag), "{text}");
    }
}

#[test]
fn agents_park_but_on_cloud_run_unless_that_is_said() {
    for (flags, service, parks) in [
        (&[][..], None, true),
        (&[], Some("coordinator"), false),
        (&["--parking", "on"], Some("coordinator"), true),
        (&["--parking", "off"], None, false),
    ] {
        let args = Flags::parse_from(["test"].iter().chain(flags)).run;
        let environment = |name: &str| match name {
            "K_SERVICE" => service.map(str::to_owned),
            _ => secret(name, Some(ADMIN), Some(signing_keys())),
        };
        assert_eq!(args.check(environment).unwrap().parking, parks, "{flags:?} {service:?}");
    }
}

#[test]
fn budgets_may_be_written_with_a_unit() {
    let args = Flags::parse_from(["test", "--prompt-budget", "1GiB", "--output-budget", "1073741824"]).run;
    assert_eq!(args.prompt_budget, args.output_budget);
}

#[test]
fn secrets_are_not_shown_when_settings_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("redis-url");
    std::fs::write(&file, "redis://:hunter2@127.0.0.1\n").unwrap();
    let args = Flags::parse_from(["test", "--redis-url-file", file.to_str().unwrap()]).run;
    let settings = args.check(|name| secret(name, Some(ADMIN), Some(signing_keys()))).unwrap();
    assert_eq!(settings.redis_url.reveal(), "redis://:hunter2@127.0.0.1");
    let shown = format!("{args:?} {settings:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(ADMIN) && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn every_setting_stands_in_the_table_of_operations() {
    use clap::CommandFactory;
    let text = include_str!("../../../docs/operations.md");
    let command = crate::world::Flags::command();
    let names = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
    for name in names.chain(["ADMIN_TOKEN", "SIGNING_KEY", "OTEL_EXPORTER_OTLP_HEADERS"]) {
        let row = text.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        assert!(row.is_some(), "docs/operations.md says nothing of {name}");
    }
}
