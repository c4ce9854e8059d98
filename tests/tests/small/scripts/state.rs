//! What a part keeps in memory. Redis makes the parts once for many calls, so what one call has kept would reach the next.

use std::collections::BTreeSet;

use super::{
    code::{Code, Token},
    source::parts,
};

/// What is assigned: a name, or that of a part and a field of it.
type Kept = (String, Option<String>);

#[test]
fn what_a_part_keeps_is_begun_anew_with_every_call() {
    let parts = parts();
    let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
    let begun: BTreeSet<_> = parts.iter().flat_map(|part| begun(&part.name, &part.code)).collect();
    assert!(begun.len() > 20, "what begins calls is not where it was: {begun:?}");
    // `calls` has what goes with the keys of a call, and what begins all others.
    for part in parts.iter().filter(|part| part.name != "calls") {
        for kept in kept(&part.name, &part.code, &names) {
            assert!(begun.contains(&kept), "lib/{} keeps {kept:?}, which no `calls.begin_with` begins", part.name);
        }
    }
}

/// Records alone last from one call to the next, under this name: each is good for its very bytes, and nobody has it meanwhile.
#[test]
fn only_records_are_remembered_from_call_to_call() {
    for part in parts() {
        assert_eq!(part.code.uses_name("remembered"), part.name == "record", "lib/{}", part.name);
    }
}

/// What a part declares outside its functions, but for constants, functions and itself; and what its functions assign to fields
/// of parts.
fn kept(part: &str, code: &Code, parts: &[&str]) -> BTreeSet<(String, Kept)> {
    let mut found = BTreeSet::new();
    for (depth, at) in depths(&code.tokens) {
        let rest = &code.tokens[at..];
        match rest {
            [Token::Name(local), Token::Name(name), ..] if depth == 0 && local == "local" && name != "function" => {
                let declared = names_in(&rest[1..]).filter(|name| *name != part && name.to_uppercase() != *name);
                found.extend(declared.map(|name| (part.to_owned(), (name.to_owned(), None))));
            }
            [Token::Sign('='), ..] if depth > 0 => {
                let fields = assigned(&code.tokens[..at], rest).into_iter();
                let of_parts = fields.filter(|(name, field)| field.is_some() && parts.contains(&name.as_str()));
                found.extend(of_parts.map(|kept| (kept.0.clone(), kept)));
            }
            _ => {}
        }
    }
    found
}

/// What a part assigns, whatever happens, in its `calls.begin_with(function() … end)`, or when a script enters its pool.
fn begun(part: &str, code: &Code) -> BTreeSet<(String, Kept)> {
    let mut found = BTreeSet::new();
    let mut is_beginning = false;
    for (depth, at) in depths(&code.tokens) {
        let (before, rest) = code.tokens.split_at(at);
        match rest {
            [Token::Name(function), ..] if depth == 1 && function == "function" => is_beginning = begins(before, rest),
            [Token::Sign('='), ..] if depth == 1 && is_beginning => {
                found.extend(assigned(before, rest).into_iter().map(|kept| (part.to_owned(), kept)));
            }
            _ => {}
        }
    }
    found
}

/// Whether a function is one with which calls begin.
fn begins(before: &[Token], function: &[Token]) -> bool {
    let is = |token: &Token, name: &str| matches!(token, Token::Name(own) if own == name);
    matches!(before, [.., with, Token::Sign('(')] if is(with, "begin_with"))
        || matches!(function, [_, pool, Token::Sign('.'), enter, ..] if is(pool, "pool") && is(enter, "enter"))
}

/// Each token's place, and in how many blocks it stands.
fn depths(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut depth = 0;
    let of = tokens.iter().enumerate().map(|(at, token)| {
        if let Token::Name(word) = token {
            depth += usize::from(["function", "if", "do", "repeat"].contains(&word.as_str()));
            depth -= usize::from(["end", "until"].contains(&word.as_str()));
        }
        (depth, at)
    });
    of.collect()
}

/// The names at the beginning, between commas.
fn names_in(tokens: &[Token]) -> impl Iterator<Item = &str> {
    let pairs = tokens.chunks(2).map(|pair| match pair {
        [Token::Name(name), rest @ ..] => (Some(name.as_str()), matches!(rest, [Token::Sign(',')])),
        _ => (None, false),
    });
    let mut goes_on = true;
    pairs.map_while(move |(name, has_more)| name.filter(|_| std::mem::replace(&mut goes_on, has_more)))
}

/// What stands before the sign `=` of an assignment.
fn assigned(before: &[Token], sign: &[Token]) -> Vec<Kept> {
    let compares =
        matches!(sign, [_, Token::Sign('='), ..]) || matches!(before, [.., Token::Sign('=' | '<' | '>' | '~')]);
    let mut found = Vec::new();
    let mut rest = if compares { &[] } else { before };
    loop {
        match rest {
            [more @ .., Token::Name(part), Token::Sign('.'), Token::Name(field)] => {
                found.push((part.clone(), Some(field.clone())));
                rest = more;
            }
            [more @ .., Token::Name(name)] => {
                found.push((name.clone(), None));
                rest = more;
            }
            _ => return found,
        }
        let [more @ .., Token::Sign(',')] = rest else { return found };
        rest = more;
    }
}

#[test]
fn what_is_kept_is_told_from_what_is_not() {
    let code = Code::new(
        "local a = { x = 1 }\nlocal MOST = 3\nlocal count, seen = 0, {}\nlocal function help() local b = 1 end\n\
         calls.begin_with(function()\n  count = 0\n  a.now, a.then = nil, nil\nend)\n\
         function a.go(j)\n  if j.x == 1 then j.x = 2 end\n  a.now = 1\n  c.more[1], c.sum = 1, 2\nend",
    );
    let own = |name: &str| ("a".to_owned(), (name.to_owned(), None));
    let field = |part: &str, name: &str| (part.to_owned(), (part.to_owned(), Some(name.to_owned())));
    let all = kept("a", &code, &["a", "c"]);
    assert_eq!(all, [own("count"), own("seen"), field("a", "now"), field("a", "then"), field("c", "sum")].into());
    assert_eq!(begun("a", &code), [own("count"), field("a", "now"), field("a", "then")].into());
}
