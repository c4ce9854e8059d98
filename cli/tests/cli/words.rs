//! The command line explains itself: groups, what somebody may have meant, completion, manual pages; and it refuses what
//! is wrong for every command before anything is sent.

use std::collections::BTreeSet;

use titan_cli::help;

use crate::support::{Server, Titan, json, ran};

/// The commands that are shown, each with its path.
fn shown(command: &clap::Command, path: &str) -> Vec<String> {
    let below = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
    below
        .flat_map(|c| {
            let own = format!("{path} {}", c.get_name());
            [vec![own.clone()], shown(c, &own)].concat()
        })
        .collect()
}

#[test]
fn every_command_stands_in_one_group_of_the_help() {
    let command = help::command();
    let in_groups: Vec<&str> = help::GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    let of_clap = command.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name);
    assert_eq!(in_groups.iter().copied().collect::<BTreeSet<_>>(), of_clap.chain(["help"]).collect());
    assert_eq!(in_groups.len(), in_groups.iter().collect::<BTreeSet<_>>().len());
    let (code, out, _) = ran(Titan::new().bare(&["help"]).output().unwrap());
    assert_eq!(code, 0);
    for (group, _) in help::GROUPS {
        assert!(out.contains(&format!("{group}:\n")), "{out}");
    }
}

#[test]
fn a_word_that_is_no_command_is_answered_with_the_one_that_is_meant() {
    let cases: [(&[&str], &str); 24] = [
        (&["agent", "ls"], "`titan agents ls` does that"),
        (&["agent", "describe", "box-1"], "`titan agents show` does that"),
        (&["ps"], "`titan jobs ls` does that"),
        (&["logs", "job-a"], "`titan jobs logs` does that"),
        (&["job", "ls"], "'jobs'"),
        (&["retry", "job-a"], "`titan jobs retry` does that"),
        (&["dead"], "`titan jobs ls --state failed --attempts` does that"),
        (&["submit", "echo", "hi"], "`titan submit -- echo …`"),
        (&["submit", "--memory", "5G", "--", "x"], "`--ram` says that\n"),
        (&["submit", "--depends-on", "a", "--", "x"], "`--after JOB` says that\n"),
        (&["submit", "--nmae", "a", "--", "x"], "exists: '--name'\n"),
        (&["jobs", "ls", "--file", "submit"], "'--file' found\n\nUsage"),
        (&["submit", "--nonsense", "--", "x"], "found\n\n  tip: `titan submit --help` shows"),
        (&["submit", "--batch", "x", "--", "y"], "cannot be said beside it\n\nUsage: titan submit "),
        (&["submit", "--retries", "many", "--", "x"], "tip: write a whole number"),
        (&["events", "--limit", "0"], "tip: write 1 or more"),
        (&["agent", "run", "--gateway-listen", "7071"], "tip: write numbers, not names: 0.0.0.0:7071"),
        (&["results"], "`titan jobs show` does that"),
        (&["jobs", "result", "job-a"], "`titan jobs show` does that"),
        (&["jobs", "list"], "`titan jobs ls` does that"),
        (&["keys", "revoke", "x"], "`titan keys rm` does that"),
        (&["jobs", "ls", "--watch", "1s"], "tip: `--watch=1s` says how often"),
        (&["jobs", "ls", "--watch", "--frob"], "'--frob' found\n\nUsage"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
    ];
    for (arguments, says) in cases {
        let (code, _, err) = ran(Titan::new().bare(arguments).output().unwrap());
        assert_eq!((code, err.contains(says)), (2, true), "{arguments:?}: {err}");
    }
}

#[test]
fn servers_show_no_flags_that_they_do_not_heed() {
    let titan = Titan::new();
    for (command, output) in [
        (&["agent"][..], false),
        (&["agent", "run"], false),
        (&["agent", "doctor"], true),
        (&["coordinator", "serve"], false),
        (&["jobs", "ls"], true),
    ] {
        let (code, out, _) = ran(titan.bare(&[command, &["--help"]].concat()).output().unwrap());
        let shows = |flag: &str| out.contains(&format!("{flag} "));
        assert_eq!((code, shows("--key-file"), shows("--output")), (0, command[0] == "jobs", output), "{out}");
    }
    for server in [&["agent", "run"][..], &["coordinator", "serve"]] {
        let (code, _, err) = ran(titan.bare(&[server, &["--url", "http://127.0.0.1:9"]].concat()).output().unwrap());
        assert_eq!((code, err.contains("--url is for other commands")), (2, true), "{err}");
    }
}

#[test]
fn wrong_arguments_of_every_command_are_refused_before_anything_is_sent() {
    let server = Server::start(|_, _| json(200, "{}"));
    for command in shown(&help::command(), "") {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (code, _, err) =
            ran(Titan::new().at(&server, &[&words, &["--no-such-flag"][..]].concat()).output().unwrap());
        assert_eq!((code, err.contains("--no-such-flag")), (2, true), "{command}: {err}");
    }
    let cases: [&[&str]; 18] = [
        &["jobs", "show"],
        &["jobs", "show", "a", "b"],
        &["jobs", "logs", "--tail", "-1", "job-a"],
        &["jobs", "logs", "--tail", "5", "-o", "json", "job-a"],
        &["jobs", "wait", "--timeout", "soon", "job-a"],
        &["jobs", "cancel"],
        &["jobs", "ls", "--limit", "501"],
        &["jobs", "ls", "--watch=-1s"],
        &["jobs", "ls", "--watch"],
        &["jobs", "retry"],
        &["jobs", "ls", "--label", "name"],
        &["jobs", "ls", "--attempts", "--watch"],
        &["sweep", "extra"],
        &["agents", "drain", "--timeout", "5m", "box-1"],
        &["agents", "resume"],
        &["agents", "show", "a/b"],
        &["status", "extra"],
        &["completion", "tcsh"],
    ];
    for arguments in cases {
        let (code, _, err) = ran(Titan::new().at(&server, arguments).output().unwrap());
        assert_eq!(code, 2, "{arguments:?}: {err}");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn completion_and_manual_pages_know_every_command() {
    let titan = Titan::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = ran(titan.bare(&["completion", shell]).output().unwrap());
        assert_eq!((code, script.contains("join-tokens") && script.contains("plain-exit-code")), (0, true), "{shell}");
        assert!(!script.contains("manual") || script.contains("shim"), "{shell} offers what no person calls");
    }
    let folder = titan.home.path().join("man");
    let (code, _, err) = ran(titan.bare(&["manual", "--pages", folder.to_str().unwrap()]).output().unwrap());
    assert_eq!(code, 0, "{err}");
    for command in shown(&help::command(), "titan") {
        let page = folder.join(format!("{}.1", command.replace(' ', "-")));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        assert!(text.contains(".SH SYNOPSIS"), "{command}");
    }
    assert_eq!(ran(titan.bare(&["manual"]).output().unwrap()).0, 2);
}

#[test]
fn a_list_may_come_without_its_headings() {
    let jobs = serde_json::to_string(&titan_api::jobs::JobList {
        jobs: vec![crate::support::samples::summary("job-a", titan_api::jobs::JobState::Running, "true")],
        next_cursor: None,
    });
    let server = Server::start(move |_, _| json(200, jobs.as_ref().unwrap().clone()));
    let run = |arguments: &[&str]| ran(Titan::new().at(&server, arguments).output().unwrap()).1;
    assert!(run(&["jobs", "ls"]).starts_with("ID "));
    assert!(run(&["jobs", "ls", "--no-headers"]).starts_with("job-a  running  box-1  1  "));
    assert!(run(&["jobs", "ls", "-o", "wide"]).lines().next().unwrap().contains("PRIORITY  CREATED"));
}
