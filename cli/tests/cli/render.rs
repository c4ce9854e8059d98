//! Tables, ages and sizes as people see them.

use crate::support::samples::{agent, ago, job, now, summary};
use titan_api::{
    agents::{Agent, AgentState, Hindrance},
    jobs::{JobKind, JobState, Reason},
};
use titan_cli::render::{
    agents, clean, jobs,
    style::{Style, Tone},
    table::{Cell, Column, Table},
    units::{age, bytes, megabytes, took},
};

fn narrow(width: usize) -> Style {
    Style { width: Some(width), ..Style::PLAIN }
}

#[test]
fn ages_are_one_number_with_one_unit() {
    let shown = [-5, 0, 59, 60, 3_599, 3_600, 86_399, 86_400, 3_000_000].map(|seconds| age(ago(seconds), now()));
    assert_eq!(shown, ["0s", "0s", "59s", "1m", "59m", "1h", "23h", "1d", "34d"]);
}

#[test]
fn durations_keep_three_figures() {
    let shown = [0, 250, 9_990, 12_340, 59_999, 60_000, 185_000, 7_380_000].map(|ms| {
        let from = titan_api::time::Timestamp::from_ms(0);
        took(from, titan_api::time::Timestamp::from_ms(ms))
    });
    assert_eq!(shown, ["0.00s", "0.25s", "9.99s", "12.3s", "59.9s", "1m00s", "3m05s", "2h03m"]);
}

#[test]
fn sizes_take_the_largest_unit_that_fits() {
    assert_eq!([0, 1_023, 1_024, 15_974].map(megabytes), ["0 MB", "1023 MB", "1.0 GB", "15.5 GB"]);
    assert_eq!([17, 1_024, 70_000, 5 << 20, 3 << 30].map(bytes), ["17 B", "1.0 KB", "68.3 KB", "5.0 MB", "3.0 GB"]);
}

#[test]
fn the_list_of_jobs_is_aligned_and_not_cut_where_there_is_no_terminal() {
    let long = "python train.py --with --many --arguments --that --do --not --fit --on --a --line --of --a --terminal";
    let jobs = [summary("job-a", JobState::Completed, long), summary("job-bb", JobState::Running, "true"), {
        let mut waiting = summary("job-c", JobState::Pending, "false");
        (waiting.agent_id, waiting.started_at, waiting.attempt) = (None, None, 0);
        waiting
    }];
    let expected = format!(
        "\
ID      STATE      AGENT  TRY  AGE   TOOK  ENDED WITH   COMMAND
job-a   completed  box-1    1   3m  5.00s  exit code 0  {long}
job-bb  running    box-1    1   3m  3m10s  -            true
job-c   pending    -        0   3m      -  -            false
"
    );
    assert_eq!(jobs::list(&jobs, now(), Style::PLAIN, false), expected);
}

#[test]
fn the_list_of_jobs_says_of_a_ticket_that_it_was_not_used() {
    let mut unused = summary("job-a", JobState::Failed, "llama");
    (unused.exit_code, unused.reason) = (None, Some(Reason::TicketUnused));
    let shown = jobs::list(&[unused], now(), Style::PLAIN, false);
    assert!(shown.contains("  ticket not used  "), "{shown}");
}

#[test]
fn a_narrow_terminal_cuts_the_last_column_and_wraps_nothing() {
    let jobs = [summary("job-a", JobState::Cancelled, "a command that is too long for this terminal")];
    let expected = "\
ID     STATE      AGENT  TRY  AGE   TOOK  ENDED WITH  COMMAND
job-a  cancelled  box-1    1   3m  5.00s  cancelled   a comma…
";
    assert_eq!(jobs::list(&jobs, now(), narrow(62), false), expected);
    assert!(expected.lines().all(|line| line.chars().count() <= 62));
}

#[test]
fn a_terminal_that_is_too_narrow_even_so_gets_fewer_columns_and_no_line_is_wider() {
    let jobs = [summary("01a22667-0976-704f-a1a3-ca44a00dc68d", JobState::Completed, "a command that is long")];
    let heading = |width| {
        let shown = jobs::list(&jobs, now(), narrow(width), false);
        assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
        shown.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(heading(100), "ID STATE AGENT TRY AGE TOOK ENDED WITH COMMAND");
    assert_eq!(heading(80), "ID STATE AGENT AGE COMMAND");
    assert_eq!(heading(60), "ID STATE COMMAND");
    let agents = agents::list(&[agent("box-1")], now(), narrow(40), false);
    assert!(agents.starts_with("ID") && agents.lines().all(|line| line.chars().count() <= 40), "{agents}");
}

#[test]
fn wide_characters_count_as_two_columns() {
    let mut table = Table::new(&[Column::new("A").shrinks(), Column::new("B")]);
    table.row(vec!["計算機計算機計算機".into(), "x".into()]);
    table.row(vec!["abc".into(), "y".into()]);
    assert_eq!(table.render(Style::PLAIN), "A                   B\n計算機計算機計算機  x\nabc                 y\n");
    assert_eq!(table.render(narrow(13)), "A           B\n計算機計…   x\nabc         y\n");
}

#[test]
fn the_list_of_agents_shows_scores_and_free_memory() {
    let mut drained = agent("box-2");
    (drained.draining, drained.gpus, drained.rtt_ms) = (true, Vec::new(), None);
    let mut full = agent("box-3");
    full.hindered_by = vec![Hindrance { kind: JobKind::Process, why: "its disk is full".to_owned() }];
    let expected = "\
ID     STATE              SCORE  JOBS  CPUS  RAM FREE  GPUS                       RTT  SEEN  HOST
box-1  healthy            0.812   1/4     8   15.5 GB  1 × A100, 40.0 GB free  1.2 ms    3s  attic
box-2  healthy, draining  0.812   1/4     8   15.5 GB  -                            -    3s  attic
box-3  healthy, hindered  0.812   1/4     8   15.5 GB  1 × A100, 40.0 GB free  1.2 ms    3s  attic
";
    assert_eq!(agents::list(&[agent("box-1"), drained, full], now(), Style::PLAIN, false), expected);
}

#[test]
fn an_agent_that_is_hindered_says_what_by() {
    let mut full = agent("box-1");
    let hindrance = |kind, why: &str| Hindrance { kind, why: why.to_owned() };
    let by =
        [hindrance(JobKind::Process, "its disk is full"), hindrance(JobKind::Inference, "vllm\u{1b}[2J is starting")];
    full.hindered_by = by.to_vec();
    let shown = agents::whole(&full, now(), Style::PLAIN);
    assert!(shown.contains("state:            healthy, hindered\n"), "{shown}");
    assert!(shown.contains("hindered by:      its disk is full; vllm is starting\n"), "{shown}");
    assert!(!agents::whole(&agent("box-1"), now(), Style::PLAIN).contains("hindered"), "{shown}");
}

#[test]
fn an_agent_that_has_left_is_told_from_one_that_is_well_or_drained() {
    let left = |state, live_attempts| Agent { state, live_attempts, draining: true, leaving: true, ..agent("box-1") };
    let shown = |agent: &Agent| {
        let list = agents::list(std::slice::from_ref(agent), now(), Style::PLAIN, false);
        let state = list.lines().nth(1).unwrap().split("  ").nth(1).unwrap().to_owned();
        let whole = agents::whole(agent, now(), Style::PLAIN);
        let because = whole.lines().find_map(|line| line.strip_prefix("because:")).unwrap_or_default();
        (state, because.trim().to_owned())
    };
    let of = |state, live_attempts| shown(&left(state, live_attempts));
    assert_eq!(of(AgentState::Healthy, 2), ("stopping".into(), "it was told to stop, and takes no new work".into()));
    for state in [AgentState::Healthy, AgentState::Degraded, AgentState::Offline] {
        assert_eq!(of(state, 0), ("stopped".into(), "it was told to stop".into()), "{state}");
    }
    let kept = "it was told to stop, and may have left jobs running";
    assert_eq!(of(AgentState::Offline, 2), ("stopped".into(), kept.into()));
    let silent = Agent { leaving: false, ..left(AgentState::Offline, 0) };
    assert_eq!(shown(&silent).0, "offline, draining", "nobody knows whether it comes back");
}

#[test]
fn one_job_is_shown_whole_with_the_attempts_that_failed() {
    let shown = jobs::whole(&job("job-a", JobState::Failed), now(), Style::PLAIN);
    let expected = "\
id:            job-a
state:         failed
agent:         box-1
attempt:       2 of at most 3
ended with:    exit code 3
command:       sh -c 'exit 3'
needs:         1 GPU with 8.0 GB each
priority:      0
output:        68.3 KB
submitted by:  admin
created:       2027-01-15T07:56:40Z (3m ago)
started:       2027-01-15T07:56:50Z (3m ago)
ended:         2027-01-15T07:57:55Z (2m ago)
took:          1m05s

Attempts that ended other than well:
TRY  AGENT  AGE  ENDED WITH  MESSAGE
  1  box-2   3m  signal 9    killed by someone
";
    assert_eq!(shown, expected);
}

#[test]
fn what_others_wrote_cannot_steer_the_terminal() {
    assert_eq!(clean("a\u{1b}[2Jb\u{9b}c\td\ne\u{7f}\u{202e}f\u{200b}"), "abc d ef");
    assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m \u{1b}x \u{1b}[1é \u{1b}[2"), "red x [1é [2");
    let mut evil = agent("box-1");
    evil.facts.hostname = "\u{1b}]0;owned\u{7}name\r\nbox-9 healthy".to_owned();
    let shown = agents::list(&[evil.clone()], now(), Style::PLAIN, true) + &agents::whole(&evil, now(), Style::PLAIN);
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\r']), "{shown:?}");
    assert!(!shown.contains("\nbox-9"), "{shown:?}");
}

#[test]
fn colours_come_only_where_they_are_wanted_and_take_no_room() {
    let mut table = Table::new(&[Column::new("STATE"), Column::new("X")]);
    table.row(vec![Cell::toned("failed", Tone::Bad), "y".into()]);
    assert_eq!(table.render(Style::PLAIN), "STATE   X\nfailed  y\n");
    let colored = Style { color: true, ..Style::PLAIN };
    assert_eq!(table.render(colored), "\u{1b}[2mSTATE\u{1b}[0m   \u{1b}[2mX\u{1b}[0m\n\u{1b}[31mfailed\u{1b}[0m  y\n");
}
