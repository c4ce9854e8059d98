//! Just enough of Lua to see what a script uses: comments dropped, strings told from names.

use std::collections::BTreeSet;

/// A piece of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name or a keyword.
    Name(String),
    Number(usize),
    /// A string in quotes, without them.
    Text(String),
    /// Any other character.
    Sign(char),
}

/// The code of one file.
pub(crate) struct Code {
    pub(crate) tokens: Vec<Token>,
}

impl Code {
    pub(crate) fn new(text: &str) -> Self {
        Self { tokens: tokens(text) }
    }

    /// The indices with which a table is read: `ARGV[3]` gives 3, and `ARGV[i]` what a loop `for i = 1, 7 do` gives to
    /// `i`. Other expressions in the brackets are left out.
    pub(crate) fn indices(&self, table: &str) -> BTreeSet<usize> {
        let read = self.tokens.windows(4).filter_map(|window| match window {
            [Token::Name(name), Token::Sign('['), index, Token::Sign(']')] if name == table => Some(index),
            _ => None,
        });
        let values = read.flat_map(|index| match index {
            Token::Number(number) => [*number].into(),
            Token::Name(variable) => self.loop_over(variable),
            _ => BTreeSet::new(),
        });
        values.collect()
    }

    /// The values of a loop variable between two numbers.
    fn loop_over(&self, variable: &str) -> BTreeSet<usize> {
        let loops = self.tokens.windows(7).filter_map(|window| match window {
            [
                Token::Name(_),
                Token::Name(name),
                Token::Sign('='),
                Token::Number(first),
                Token::Sign(','),
                Token::Number(last),
                Token::Name(open),
            ] if name == variable && open == "do" => Some(*first..=*last),
            _ => None,
        });
        loops.flatten().collect()
    }

    /// Where a loop over the rest of ARGV begins: 4 in `for at = 4, #ARGV`.
    pub(crate) fn rest_of_args(&self) -> Option<usize> {
        self.tokens.windows(5).find_map(|window| match window {
            [Token::Sign('='), Token::Number(first), Token::Sign(','), Token::Sign('#'), Token::Name(name)]
                if name == "ARGV" =>
            {
                Some(*first)
            }
            _ => None,
        })
    }

    /// The first words of replies: `word` in `return { 'word'`, `finish({ 'word'` and such.
    pub(crate) fn reply_words(&self) -> BTreeSet<String> {
        let found = self.tokens.windows(5).filter_map(|window| match window {
            [ending, before, Token::Sign('{'), Token::Text(word), Token::Sign(',' | '}')] => {
                opens_reply(ending, before).then(|| word.clone())
            }
            _ => None,
        });
        found.collect()
    }

    /// Whether a name is used at all.
    pub(crate) fn uses_name(&self, wanted: &str) -> bool {
        self.tokens.iter().any(|token| matches!(token, Token::Name(name) if name == wanted))
    }

    /// The Redis commands that are called, in capitals.
    pub(crate) fn commands(&self) -> BTreeSet<String> {
        let found = self.tokens.windows(3).filter_map(|window| match window {
            [Token::Name(call), Token::Sign('('), Token::Text(command)] if call == "call" || call == "pcall" => {
                Some(command.to_uppercase())
            }
            _ => None,
        });
        found.collect()
    }
}

/// A reply is returned, alone or behind a nil, kept for later, or handed to what ends the script.
fn opens_reply(ending: &Token, before: &Token) -> bool {
    match (ending, before) {
        (_, Token::Name(name)) => name == "return",
        (_, Token::Sign('=')) => true,
        (Token::Name(call), Token::Sign('(')) => call == "finish" || call == "write",
        (Token::Name(value), Token::Sign(',')) => value == "nil",
        _ => false,
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '-' if rest.starts_with("--[[") => rest.find("]]").map_or(rest.len(), |end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '\'' | '"' => {
                let length = string_length(rest, c);
                found.push(Token::Text(rest[1..length - 1].to_owned()));
                length
            }
            c if c.is_ascii_digit() => {
                let length = run(rest, |c| c.is_ascii_alphanumeric());
                found.push(rest[..length].parse().map_or(Token::Sign('0'), Token::Number));
                length
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let length = run(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                found.push(Token::Name(rest[..length].to_owned()));
                length
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token::Sign(c));
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    found
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The length of the string literal that `text` begins with, both quotes included.
fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("a string is not closed: {text:.40}");
}

#[test]
fn code_is_taken_apart_without_comments() {
    let code = Code::new(
        "-- ARGV[9]\nlocal a, b = ARGV[1], tonumber(ARGV[2]) --[[ KEYS[3] ]]\nfor at = 4, #ARGV, 2 do end\n\
         redis.call('hget', 1)\nlist({ 'no', 'reply' })\nreturn { 'ok', \"it's\" }",
    );
    assert_eq!(code.indices("ARGV"), [1, 2].into());
    assert!(code.indices("KEYS").is_empty());
    assert_eq!(Code::new("for i = 2, 4 do x[i] = ARGV[i] end").indices("ARGV"), [2, 3, 4].into());
    assert_eq!(code.rest_of_args(), Some(4));
    assert_eq!(code.commands(), ["HGET".to_owned()].into());
    assert_eq!(code.reply_words(), ["ok".to_owned()].into());
}
