//! Each header against the body below it and the wrapper beside it.

use std::{collections::BTreeSet, fs};

use titan_tests::binaries::workspace;

use super::{
    reach::Functions,
    source::{Script, declarations, parts, scripts},
};

/// Runs a check on every script and gathers what is wrong, so that one run shows all of it.
fn for_each_script(check: impl Fn(&Script) -> Option<String>) {
    let wrong: Vec<_> = scripts().iter().filter_map(|s| check(s).map(|fault| format!("{}: {fault}", s.name))).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_header_names_its_own_file() {
    for_each_script(|s| (s.header.name != s.name).then(|| format!("the header says {}", s.header.name)));
}

#[test]
fn every_script_takes_the_pool_and_the_absent_key() {
    for_each_script(|s| {
        let used = s.code.indices("KEYS");
        let undocumented = used.iter().any(|&index| index > s.header.keys);
        (s.header.keys != 2 || undocumented).then(|| format!("{} keys documented, {used:?} used", s.header.keys))
    });
}

#[test]
fn the_arguments_that_a_script_reads_are_those_that_it_documents() {
    for_each_script(|s| {
        let documented: BTreeSet<_> = (1..=s.header.args).collect();
        let rest = s.header.more_args.then_some(s.header.args + 1);
        let (used, used_rest) = (s.code.indices("ARGV"), s.code.rest_of_args());
        (used != documented || used_rest != rest)
            .then(|| format!("documented {documented:?} and the rest from {rest:?}, used {used:?} and {used_rest:?}"))
    });
}

#[test]
fn the_replies_that_a_script_gives_are_those_that_it_documents() {
    let functions = Functions::of(&parts());
    for_each_script(|s| {
        let reached = functions.reached_from(&s.code, &[]);
        let of_parts = reached.iter().flat_map(|function| functions.reply_words(function));
        let given: BTreeSet<_> = s.code.reply_words().into_iter().chain(of_parts).collect();
        (given != s.header.words).then(|| format!("documented {:?}, given {given:?}", s.header.words))
    });
}

#[test]
fn a_wrapper_of_the_same_noun_runs_each_script_with_the_parts_that_the_header_names() {
    let declarations = declarations();
    for_each_script(|s| {
        let noun = s.name.split_once('/').map(|(noun, _)| noun);
        let of_script: Vec<_> = declarations.iter().filter(|d| d.script == s.name).collect();
        match of_script[..] {
            [one] if Some(one.folder.as_str()) == noun && one.uses == s.header.uses => None,
            _ => Some(format!("header uses {:?}, wrappers declare {of_script:?}", s.header.uses)),
        }
    });
    let names: BTreeSet<_> = scripts().into_iter().map(|s| s.name).collect();
    for declaration in declarations {
        assert!(names.contains(&declaration.script), "{declaration:?} declares a script that does not exist");
    }
}

#[test]
fn a_script_brings_every_part_that_it_may_come_to_and_no_other() {
    let functions = Functions::of(&parts());
    for_each_script(|s| {
        let reached = functions.reached_from(&s.code, &s.header.uses);
        let needed: BTreeSet<_> = reached.iter().filter(|(_, name)| !name.is_empty()).map(|(part, _)| part).collect();
        // `key` has no cost and goes with nearly everything.
        let brought: BTreeSet<_> = s.header.uses.iter().filter(|u| *u != "key" || needed.contains(u)).collect();
        (needed != brought).then(|| format!("needs {needed:?}, brings {brought:?}"))
    });
}

#[test]
fn the_sample_in_contributing_is_the_header_of_a_real_script() {
    let text = fs::read_to_string(workspace().join("CONTRIBUTING.md")).unwrap();
    let sample = text.split_once("```lua\n").and_then(|(_, rest)| rest.split_once("\n]]\n")).unwrap().0;
    let name = sample.strip_prefix("--[[ ").and_then(|rest| rest.split_once(": ")).unwrap().0;
    let script = fs::read_to_string(workspace().join(format!("lua/scripts/{name}.lua"))).unwrap();
    assert!(script.starts_with(sample), "CONTRIBUTING.md shows another header of {name} than the script has");
}
