//! `titan submit --batch`: what a file may hold, what is refused before anything is sent, and what is printed.

use titan_api::{
    jobs::{SubmitBatch, SubmitJob},
    problem::{FieldError, Problem, ProblemType},
};

use crate::support::{Server, Titan, json, ran};

const LINES: &str = r#"
    {"kind":"process","ref":"a","process":{"command":["echo","one"]}}

    {"kind":"process","depends_on":["a"],
     "process":{"command":["echo","two two"]}}
"#;
const ACCEPTED: &str =
    r#"{"jobs":[{"id":"job-a","state":"scheduled","agent_id":"box-1"},{"id":"job-b","state":"blocked"}]}"#;

/// Runs `titan submit --batch FILE` with a file of that text.
fn submit(text: &str, more: &[&str]) -> (i32, String, String, Server) {
    let server = Server::start(|_, _| json(202, ACCEPTED));
    let titan = Titan::new();
    let file = titan.home.path().join("jobs");
    std::fs::write(&file, text).unwrap();
    let arguments = [&["submit", "--batch", file.to_str().unwrap()], more].concat();
    let (code, out, err) = ran(titan.at(&server, &arguments).output().unwrap());
    (code, out, err, server)
}

fn jobs(text: &str) -> Vec<SubmitJob> {
    let (code, _, err, server) = submit(text, &[]);
    assert_eq!(code, 0, "{err}");
    let request = server.requests().remove(0);
    assert_eq!(request.line, "POST /api/v1/jobs/batch");
    serde_json::from_str::<SubmitBatch>(&request.body).unwrap().jobs
}

#[test]
fn jobs_stand_one_after_the_other_or_in_an_array_or_in_the_body_of_the_interface() {
    let one_by_one = jobs(LINES);
    assert_eq!(one_by_one.len(), 2);
    assert_eq!(
        (one_by_one[0].reference.as_deref(), one_by_one[1].depends_on.as_slice()),
        (Some("a"), &["a".to_owned()][..])
    );
    let array = serde_json::to_string_pretty(&one_by_one).unwrap();
    assert_eq!(jobs(&array), one_by_one);
    assert_eq!(jobs(&format!("{{\"jobs\":{array}}}")), one_by_one);
}

#[test]
fn what_was_accepted_is_printed_beside_what_was_asked_for() {
    let table = "\
ID     STATE      REF  AGENT  COMMAND
job-a  scheduled  a    box-1  echo one
job-b  blocked    -    -      echo 'two two'
";
    assert_eq!(submit(LINES, &[]).1, table);
    assert_eq!(submit(LINES, &["-o", "name"]).1, "job-a\njob-b\n");
    assert_eq!(submit(LINES, &["-o", "json"]).1, format!("{ACCEPTED}\n"));
    let (code, out, _, server) = submit(LINES, &["--dry-run"]);
    assert_eq!((code, out.lines().count(), server.requests().len()), (0, 2, 0));
}

#[test]
fn a_file_that_is_wrong_is_refused_with_the_place_before_anything_is_sent() {
    let good = r#"{"kind":"process","process":{"command":["true"]}}"#;
    let many = format!("{good}\n").repeat(1_001);
    let cases = [
        (String::new(), "holds no jobs"),
        ("[]".to_owned(), "holds no jobs"),
        (format!("{good}\n{{\"kind\":\"process\",\"gpus\":1}}"), "job 2 (line 2): unknown field `gpus`"),
        (
            format!("{good}\n\n{{\"kind\":\"process\",\n \"process\":{{\"command\":[\"a\",7]}}}}"),
            "job 2 (line 3), process.command[1] on line 4: invalid type: integer `7`, expected a string",
        ),
        (format!("[{good},\n{{\"process\":{{\"command\":[\"a\"]}}}}]"), "job 2 (line 2): missing field `kind`"),
        (format!("{{\"jobs\": [\n{good},\n\"x\"]}}"), "job 2 (line 3): a job is an object"),
        (format!("{{\"jobs\": [{good}],\n\"more\": 1}}"), "line 1: nothing may follow the list `jobs`"),
        (format!("{good}\nnonsense"), "is not JSON: job 2, line 2, column 2: expected ident"),
        ("- kind: process\n  process: {command: [true]}\n".to_owned(), "is not JSON: job 1, line 1, column 2: "),
        (format!("{{\"jobs\":[{good},\n {good},}}]}}"), "is not JSON: job 3, line 2, column 52: expected value"),
        (format!("[{good},\n{{\"kind\":"), "is not JSON: job 2, line 2: the file ends in the middle of it"),
        (format!("{good}\n[\"process\"]"), "job 2 (line 2): a job is an object"),
        (
            r#"{"kind":"process","process":{"comand":["a"]}}"#.to_owned(),
            "job 1 (line 1), process: unknown field `comand`, expected one of `command`",
        ),
        (
            r#"{"kind":"process","priority":9000000000}"#.to_owned(),
            "priority: invalid value: integer `9000000000`, expected a whole number from -2147483648 to 2147483647",
        ),
        (
            r#"{"kind":"process","process":7}"#.to_owned(),
            "job 1 (line 1), process: invalid type: integer `7`, expected an object",
        ),
        (many, "1001 jobs, and a batch takes 1000 at most"),
        (" ".repeat(8 * 1_024 * 1_024 + 1), "longer than 8 MiB"),
    ];
    for (text, says) in cases {
        let (code, _, err, server) = submit(&text, &[]);
        assert_eq!((code, err.contains(says), server.requests().len()), (2, true, 0), "{says}: {err}");
    }
    let (code, _, err, _) = submit(LINES, &["--gpus", "1"]);
    assert_eq!((code, err.lines().next().unwrap().contains("takes whole jobs from its file")), (2, true), "{err}");
    assert_eq!(submit(LINES, &["--", "echo"]).0, 2);
    assert_eq!(ran(Titan::new().bare(&["submit", "--batch", "/nowhere"]).output().unwrap()).0, 1);
    let both = Titan::new().bare(&["submit", "--batch", "-", "--key-file", "-"]).output().unwrap();
    assert_eq!(ran(both).0, 2);
}

#[test]
fn what_the_coordinator_refuses_is_told_by_job_and_line_and_field() {
    let mut wrong = Problem::new(ProblemType::Invalid);
    wrong.errors = vec![
        FieldError::new("/jobs/1/process/command/0", "is empty"),
        FieldError::new("/jobs/0/ref", "is taken"),
        FieldError::new("/jobs", "is too long"),
    ];
    let mut unserved = Problem::new(ProblemType::Unserved);
    unserved.errors = vec![FieldError::new("/jobs/1", "no agent could ever run it")];
    let run = |text: &str, problem: &Problem| {
        let answer = serde_json::to_string(problem).unwrap();
        let server = Server::start(move |_, _| json(422, answer.clone()));
        let titan = Titan::new();
        let file = titan.home.path().join("jobs");
        std::fs::write(&file, text).unwrap();
        ran(titan.at(&server, &["submit", "--batch", file.to_str().unwrap()]).output().unwrap()).2
    };
    let err = run(LINES, &wrong);
    assert!(
        err.contains("\n  job 2 (line 4), process.command[0]: is empty\n  job 1 (line 2), ref: is taken\n"),
        "{err}"
    );
    assert!(err.contains("\n  /jobs: is too long\n"), "{err}");
    let err = run(LINES, &unserved);
    assert!(err.contains("\n  job 2 (line 4): no agent could ever run it\n"), "{err}");
    let (first, second) = LINES.trim().split_once("\n\n").unwrap();
    for text in [format!("[\n{first},\n\n{second}]"), format!("{{\"jobs\":[\n{first},\n\n{second}\n]}}")] {
        let err = run(&text, &wrong);
        assert!(err.contains("\n  job 2 (line 4), process.command[0]: is empty\n"), "{err}");
    }
}
