//! Which functions of the shared parts a script may come to, through any chain of calls.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    code::{Code, Token},
    source::Part,
};

/// The functions of all parts. Lua has no imports: a name that no earlier part has defined is found out only when the
/// line runs, so it is worth finding out before.
pub(crate) struct Functions {
    bodies: BTreeMap<Function, Vec<Token>>,
}

/// The part, and the name in it; "" for what stands outside its functions, [`KIND`] for the kind of record it declares.
type Function = (String, String);

/// What a part that declares a kind of record is needed for.
const KIND: &str = "record.kind";

impl Functions {
    pub(crate) fn of(parts: &[Part]) -> Self {
        Self { bodies: parts.iter().flat_map(|part| bodies(part, parts)).collect() }
    }

    /// The functions that the code, or the top of a part that is `brought`, may come to.
    pub(crate) fn reached_from(&self, code: &Code, brought: &[String]) -> BTreeSet<Function> {
        let mut reached = BTreeSet::new();
        let mut to_look_at: Vec<_> = self.named_in(&code.tokens, "").collect();
        to_look_at.extend(brought.iter().map(|part| (part.clone(), String::new())));
        while let Some(function) = to_look_at.pop() {
            if let Some(body) = self.bodies.get(&function)
                && reached.insert(function.clone())
            {
                to_look_at.extend(self.named_in(body, &function.0));
            }
        }
        reached
    }

    /// The first words of the replies that a function gives.
    pub(crate) fn reply_words(&self, function: &Function) -> BTreeSet<String> {
        Code { tokens: self.bodies[function].clone() }.reply_words()
    }

    /// The functions named in a piece of `part`: `rank.update` as itself, `note_best` as one of the same part, `job:load`
    /// as the kind that `job` declares and what the part `record` has of that name; and `key` as what
    /// the part `key` is for.
    fn named_in<'a>(&'a self, tokens: &'a [Token], part: &'a str) -> impl Iterator<Item = Function> + 'a {
        let dotted = tokens.windows(3).filter_map(|window| match window {
            [Token::Name(a), Token::Sign('.'), Token::Name(b)] => Some((a.clone(), b.clone())),
            _ => None,
        });
        let methods = tokens.windows(3).flat_map(|window| match window {
            [Token::Name(a), Token::Sign(':'), Token::Name(b)] => {
                vec![(a.clone(), KIND.to_owned()), ("record".to_owned(), b.clone())]
            }
            _ => Vec::new(),
        });
        let plain = tokens.iter().filter_map(move |token| match token {
            Token::Name(name) if name == "key" => Some((name.clone(), name.clone())),
            Token::Name(name) => Some((part.to_owned(), name.clone())),
            _ => None,
        });
        dotted.chain(methods).chain(plain).filter(|function| self.bodies.contains_key(function))
    }
}

/// Cuts a part into its functions and its top. What a function defines within itself belongs to it.
fn bodies(part: &Part, parts: &[Part]) -> Vec<(Function, Vec<Token>)> {
    let mut top = Vec::new();
    let mut found = Vec::new();
    let mut rest = part.code.tokens.as_slice();
    while let Some(token) = rest.first() {
        let (function, length) = match function_name(rest, part, parts) {
            Some(function) => (Some(function), block_length(rest)),
            None => (None, 1),
        };
        match function {
            Some(function) => found.push((function, rest[..length].to_vec())),
            None => top.push(token.clone()),
        }
        rest = &rest[length..];
    }
    if (Code { tokens: top.clone() }).uses_name("kind") {
        found.push(((part.name.clone(), KIND.to_owned()), Vec::new()));
    }
    found.push(((part.name.clone(), String::new()), top));
    found
}

/// The name of the function that begins here: `function rank.update(`, `function record:load(` or
/// `local function note_best(`.
fn function_name(tokens: &[Token], part: &Part, parts: &[Part]) -> Option<Function> {
    match tokens {
        [Token::Name(f), Token::Name(a), Token::Sign('.' | ':'), Token::Name(b), Token::Sign('('), ..]
            if f == "function" && parts.iter().any(|p| p.name == *a) =>
        {
            Some((a.clone(), b.clone()))
        }
        [Token::Name(f), Token::Name(a), Token::Sign('('), ..] if f == "function" => {
            Some((part.name.clone(), a.clone()))
        }
        _ => None,
    }
}

/// How many tokens the block that begins here has, its `end` included.
fn block_length(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            // A loop's block opens with its `do`.
            Token::Name(word) if ["function", "if", "do", "repeat"].contains(&word.as_str()) => depth += 1,
            Token::Name(word) if ["end", "until"].contains(&word.as_str()) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    panic!("a block has no end");
}

#[test]
fn calls_are_followed_through_the_parts() {
    let part = |name: &str, text: &str| Part { name: name.to_owned(), code: Code::new(text) };
    let parts = [
        part(
            "a",
            "local a = {}\nlocal function help() b.go() end\nfunction a.used() help() end\nfunction a.idle() c.go() end",
        ),
        part("b", "local b = {}\nfunction b.go() return nil, { 'gone' } end"),
        part("c", "local c = {}\nfunction c.go() end"),
    ];
    let functions = Functions::of(&parts);
    let reached = functions.reached_from(&Code::new("a.used()"), &["a".to_owned()]);
    let names: Vec<_> = reached.iter().map(|(part, name)| format!("{part}.{name}")).collect();
    assert_eq!(names, ["a.", "a.help", "a.used", "b.go"]);
    assert_eq!(functions.reply_words(&("b".to_owned(), "go".to_owned())), ["gone".to_owned()].into());
}
