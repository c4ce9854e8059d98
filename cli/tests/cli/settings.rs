//! Where the URL and the key come from, and that a key goes only where it belongs.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Server, Titan, json, ran};
use titan_cli::files::dev::DevContext;

fn status_server() -> Server {
    Server::start(|_, _| json(200, r#"{"jobs":[]}"#))
}

fn write_context(titan: &Titan, url: &str) -> std::path::PathBuf {
    let path = titan.home.path().join(".config/titan/dev.json");
    let context = DevContext {
        url: url.to_owned(),
        api_key: "dev-key".into(),
        pid: 1,
        data_dir: "/data".into(),
        redis_url: None,
    };
    context.write(&path).unwrap();
    path
}

#[test]
fn a_running_titan_dev_is_found_without_any_setting() {
    let (titan, server) = (Titan::new(), status_server());
    let path = write_context(&titan, &server.url);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ran(titan.bare(&["jobs", "ls"]).output().unwrap()).0, 0);
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer dev-key"));
}

#[test]
fn the_key_of_titan_dev_goes_to_no_other_url() {
    let (titan, server) = (Titan::new(), status_server());
    write_context(&titan, "http://127.0.0.1:1");
    let mut command = titan.bare(&["jobs", "ls"]);
    assert_eq!(ran(command.env("TITAN_URL", &server.url).output().unwrap()).0, 0);
    assert_eq!(server.requests()[0].header("authorization"), None);
}

#[test]
fn the_key_of_titan_dev_goes_to_its_own_url_however_that_is_named() {
    let (titan, server) = (Titan::new(), status_server());
    write_context(&titan, &server.url);
    let mut by_variable = titan.bare(&["jobs", "ls"]);
    assert_eq!(ran(by_variable.env("TITAN_URL", &server.url).output().unwrap()).0, 0);
    assert_eq!(ran(titan.bare(&["--url", &server.url, "jobs", "ls"]).output().unwrap()).0, 0);
    for request in server.requests() {
        assert_eq!(request.header("authorization"), Some("Bearer dev-key"));
    }
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_titan_dev() {
    let (titan, server) = (Titan::new(), status_server());
    write_context(&titan, &server.url);
    let key_file = titan.home.path().join("key");
    std::fs::write(&key_file, "file-key\n").unwrap();
    let key_file = key_file.to_str().unwrap();
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = titan.bare(arguments);
        command.envs(variables.iter().copied());
        assert_eq!(ran(command.output().unwrap()).0, 0);
        server.requests().last().unwrap().header("authorization").map(str::to_owned)
    };
    assert_eq!(run(&["jobs", "ls"], &[("TITAN_API_KEY", "env-key")]).as_deref(), Some("Bearer env-key"));
    let both = run(&["jobs", "ls", "--key-file", key_file], &[("TITAN_API_KEY", "env-key")]);
    assert_eq!(both.as_deref(), Some("Bearer file-key"));
    let named = run(&["jobs", "ls"], &[("TITAN_API_KEY_FILE", key_file)]);
    assert_eq!(named.as_deref(), Some("Bearer file-key"));
    let both = run(&["jobs", "ls"], &[("TITAN_API_KEY_FILE", "/nowhere"), ("TITAN_API_KEY", "env-key")]);
    assert_eq!(both.as_deref(), Some("Bearer env-key"));
    let url = [("TITAN_URL", "http://127.0.0.1:1"), ("TITAN_API_KEY", "env-key")];
    assert_eq!(run(&["--url", &server.url, "jobs", "ls"], &url).as_deref(), Some("Bearer env-key"));
}

#[test]
fn a_titan_dev_that_has_ended_is_named_as_the_cause() {
    let titan = Titan::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    write_context(&titan, &format!("http://{free}"));
    let (code, _, err) = ran(titan.bare(&["jobs", "ls"]).output().unwrap());
    assert_eq!((code, err.contains("`titan dev` (process 1, by ")), (7, true), "{err}");
}
