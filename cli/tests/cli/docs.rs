//! What the documents say of the command line is what it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use clap::Parser;
use titan_api::{
    credentials::Scope,
    jobs::{Reason, SubmitJob},
    problem::ProblemType,
};
use titan_cli::{args::Cli, failure::EXIT_CODES, manual::reference};

const REFERENCE: &str = include_str!("../../../docs/cli.md");
/// Documents that are of no use without a call.
const SHOW_CALLS: [&str; 5] = ["README.md", "backends.md", "cli.md", "inference.md", "operations.md"];

/// All documents, by their names.
fn documents() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files =
        [root.to_owned(), root.join("docs")].map(|folder| std::fs::read_dir(folder).unwrap()).into_iter().flatten();
    let documents =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md"));
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    documents.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The words of a line of shell, up to a comment; variables stay as they are.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut chars) = (None, line.chars());
    while let Some(c) = chars.next() {
        match (quote, c) {
            // What another command prints, or a variable holds: an id, in these documents.
            (None, '$') if words.last().unwrap().is_empty() => {
                let end = if chars.clone().next() == Some('(') { ')' } else { ' ' };
                chars.by_ref().take_while(|c| *c != end).for_each(drop);
                words.last_mut().unwrap().push_str("job-a");
                words.push(String::new());
            }
            (None, '#') if words.last().unwrap().is_empty() => break,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The words of every call of `titan` in the document's blocks of shell, from `titan` to a redirection or a pipe.
fn calls(document: &str) -> Vec<Vec<String>> {
    let document = document.replace("\\\n", " ");
    let blocks = document.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let call = |line: &str| {
        let words = words(line);
        let at = words.iter().position(|word| word == "titan" || word.ends_with("/titan"))?;
        let end = words[at..].iter().position(|word| ["<", ">", "2>", "|", "||", "&", "&&"].contains(&word.as_str()));
        Some(words[at..end.map_or(words.len(), |end| at + end)].to_vec())
    };
    blocks.flat_map(str::lines).filter_map(call).collect()
}

#[test]
fn every_call_of_titan_in_the_documents_is_one_that_it_takes() {
    for (name, document) in documents() {
        let calls = calls(&document);
        assert!(!calls.is_empty() || !SHOW_CALLS.contains(&name.as_str()), "{name} shows no call");
        for call in calls {
            // A variable that is copied from here need not be set where the test runs.
            let call: Vec<_> = call.iter().map(|word| if word == "TOKEN" { "PATH" } else { word }).collect();
            assert!(Cli::try_parse_from(&call).is_ok(), "{name}: {call:?}");
        }
    }
}

#[test]
fn the_reference_is_that_of_the_program() {
    let document = REFERENCE;
    let is_so = reference::replaced(document).unwrap() == document;
    assert!(is_so, "docs/cli.md is not what the command line says; `make docs` writes it anew");
}

#[test]
fn the_help_and_the_documents_list_the_same_exit_codes() {
    let code = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u8>().ok());
    let in_help: Vec<u8> = EXIT_CODES.lines().filter_map(code).collect();
    let rows = REFERENCE.lines().filter_map(|line| line.strip_prefix("| "));
    let in_document: Vec<u8> = rows.filter_map(code).collect();
    assert_eq!(in_help, in_document);
    assert_eq!(in_help.len(), 11);
}

const INTERFACE: &str = include_str!("../../../docs/api.md");

/// The cells of the rows of tables of docs/api.md whose first cell begins so, without the marks of code.
fn rows(begins: &str) -> Vec<Vec<String>> {
    let rows = INTERFACE.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let cells = |row: &str| row.split(" | ").map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>();
    rows.map(cells).filter(|cells| cells[0].starts_with(begins)).collect()
}

/// Who may call an operation, in the words of docs/api.md.
fn needs(operation: &serde_json::Value) -> String {
    let kinds: Vec<_> =
        operation["security"].as_array().into_iter().flatten().filter_map(|kind| kind.as_object()).collect();
    let scope = kinds.iter().find_map(|kind| kind.get("api_key")?[0].as_str());
    let kind = kinds.iter().find_map(|kind| kind.keys().next()).map(|kind| kind.replace('_', " "));
    scope.map(str::to_owned).or(kind).unwrap_or_else(|| "-".to_owned())
}

/// The words in marks of code in the first paragraph of docs/api.md that has this in it, from there on.
fn listed_after(begins: &str) -> BTreeSet<&'static str> {
    let paragraph = INTERFACE.split(begins).nth(1).unwrap().split("\n\n").next().unwrap();
    paragraph.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_description_of_the_interface_lists_every_scope_and_every_reason() {
    let scopes = listed_after("Scopes are");
    assert_eq!(Scope::ALL.into_iter().map(Scope::as_str).find(|word| !scopes.contains(word)), None);
    let reasons = listed_after("each with its `reason`:");
    assert_eq!(Reason::ALL.into_iter().map(Reason::as_str).collect::<BTreeSet<_>>(), reasons);
}

#[test]
fn the_description_of_the_interface_has_every_route_and_who_may_call_it() {
    let document: serde_json::Value = serde_json::from_str(&titan_coordinator::openapi().to_json().unwrap()).unwrap();
    let mut expected = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            expected.insert(format!("{} {path}", method.to_uppercase()), needs(operation));
        }
    }
    let methods = ["GET ", "POST ", "PUT ", "DELETE "].into_iter();
    let listed: Vec<_> = methods.flat_map(rows).map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(listed.len(), expected.len(), "a route is listed twice, or missing");
    assert_eq!(listed.into_iter().collect::<BTreeMap<_, _>>(), expected);
}

#[test]
fn every_route_of_clients_has_a_line_to_try_it() {
    let lines: String = INTERFACE.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let is_variable = |part: &str| part.starts_with('$') || part.starts_with("no-such-");
    let tried: BTreeSet<Vec<&str>> = lines
        .split([' ', '"', ';', '\n'])
        .filter_map(|word| word.strip_prefix("$TITAN_URL").or(Some(word).filter(|word| word.starts_with('/'))))
        .map(|path| {
            path.split('?')
                .next()
                .unwrap()
                .split('/')
                .skip(1)
                .map(|part| if is_variable(part) { "{}" } else { part })
                .collect()
        })
        .collect();
    for row in ["GET ", "POST ", "PUT ", "DELETE "].into_iter().flat_map(rows) {
        let path = row[0].split(' ').nth(1).unwrap();
        let is_for_agents =
            ["join", "register", "heartbeat", "claim", "report", "stream", "use"].iter().any(|end| path.ends_with(end));
        let wanted: Vec<&str> =
            path.split('/').skip(1).map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
        let is_tried = tried.contains(&wanted) || path == "/docs/{file}" && tried.contains(&vec!["docs", "style.css"]);
        assert!(is_tried || is_for_agents, "docs/api.md has no line for {path}: {tried:?}");
    }
}

#[test]
fn the_description_of_the_interface_has_every_type_of_problem() {
    let listed: Vec<_> = rows("/problems/").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let expected: Vec<_> = ProblemType::ALL.iter().map(|t| (t.uri().to_owned(), t.status().to_string())).collect();
    assert_eq!(listed, expected);
}

#[test]
fn the_job_of_the_description_has_every_field_that_a_job_has() {
    let block = INTERFACE.split("```json\n").find(|block| block.contains("\"requirements\"")).unwrap();
    let text = block.split("```").next().unwrap();
    let shown: serde_json::Value = serde_json::from_str(text).unwrap();
    let job: SubmitJob = serde_json::from_str(text).unwrap();
    let all = serde_json::to_value(&job).unwrap();
    for part in ["", "/process", "/requirements"] {
        let fields = |json: &serde_json::Value| {
            json.pointer(part).unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(fields(&shown), fields(&all), "{part}");
    }
}
