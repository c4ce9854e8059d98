//! What the documents say of the command line is what it does.

use clap::Parser;
use titan_cli::{args::Cli, failure::EXIT_CODES, manual::reference};

const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", include_str!("../../../README.md")),
    ("docs/cli.md", include_str!("../../../docs/cli.md")),
    ("docs/operations.md", include_str!("../../../docs/operations.md")),
    ("docs/inference.md", include_str!("../../../docs/inference.md")),
];

/// The words of a line of shell, up to a comment; variables stay as they are.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
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
    let blocks = document.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let call = |line: &str| {
        let words = words(line);
        let at = words.iter().position(|word| word == "titan" || word.ends_with("/titan"))?;
        let end = words[at..].iter().position(|word| ["<", ">", "|"].contains(&word.as_str()));
        Some(words[at..end.map_or(words.len(), |end| at + end)].to_vec())
    };
    blocks.flat_map(str::lines).filter_map(call).collect()
}

#[test]
fn every_call_of_titan_in_the_documents_is_one_that_it_takes() {
    for (name, document) in DOCUMENTS {
        let calls = calls(document);
        assert!(!calls.is_empty(), "{name} shows no call");
        for call in calls {
            // A variable that is copied from here need not be set where the test runs.
            let call: Vec<_> = call.iter().map(|word| if word == "TOKEN" { "PATH" } else { word }).collect();
            assert!(Cli::try_parse_from(&call).is_ok(), "{name}: {call:?}");
        }
    }
}

#[test]
fn the_reference_is_that_of_the_program() {
    let document = DOCUMENTS[1].1;
    let is_so = reference::replaced(document).unwrap() == document;
    assert!(is_so, "docs/cli.md is not what the command line says; `make docs` writes it anew");
}

#[test]
fn the_help_and_the_documents_list_the_same_exit_codes() {
    let code = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u8>().ok());
    let in_help: Vec<u8> = EXIT_CODES.lines().filter_map(code).collect();
    let rows = DOCUMENTS[1].1.lines().filter_map(|line| line.strip_prefix("| "));
    let in_document: Vec<u8> = rows.filter_map(code).collect();
    assert_eq!(in_help, in_document);
    assert_eq!(in_help.len(), 11);
}
