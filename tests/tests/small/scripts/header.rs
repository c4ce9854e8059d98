//! The header of a script, read the way `CONTRIBUTING.md` says it is written.

use std::collections::BTreeSet;

/// What a script's header promises.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: String,
    /// How many KEYS there are.
    pub(crate) keys: usize,
    /// How many ARGV there are, without those that repeat.
    pub(crate) args: usize,
    /// Whether ARGV goes on after those, in groups.
    pub(crate) more_args: bool,
    /// The first words of the replies.
    pub(crate) words: BTreeSet<String>,
    /// The shared parts, in order.
    pub(crate) uses: Vec<String>,
}

impl Header {
    /// Reads the text between `--[[` and `]]`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let first = text.strip_prefix("--[[ ").ok_or("it doesn't begin with `--[[ `")?;
        if first.contains("[[") {
            return Err("`[[` stands in it, which Redis with its own Lua refuses to compile".to_owned());
        }
        let (name, _) = first.split_once(": ").ok_or("its first line isn't `noun/verb: what it does`")?;
        let (_, rest) = text.split_once("\n  Returns  ").ok_or("`Returns` is missing")?;
        let (returns, rest) = rest.split_once("\n  Uses ").ok_or("`Uses` is missing")?;
        let (uses, cost) = rest.split_once("Cost ").ok_or("`Cost` is missing")?;
        if cost.trim().is_empty() {
            return Err("`Cost` says nothing".to_owned());
        }
        let args = indices(text, "ARGV")?;
        Ok(Self {
            name: name.to_owned(),
            keys: indices(text, "KEYS")?.count,
            args: args.count,
            more_args: args.more,
            words: words(returns),
            uses: uses.split_whitespace().filter_map(|u| u.strip_prefix("lib/")).map(str::to_owned).collect(),
        })
    }
}

struct Indices {
    count: usize,
    more: bool,
}

/// Reads lines such as `  ARGV[3]  limit …`, and a last one such as `  ARGV[4…] reports …`; the numbers must follow
/// each other.
fn indices(text: &str, table: &str) -> Result<Indices, String> {
    let start = format!("  {table}[");
    let mut found = Indices { count: 0, more: false };
    for line in text.lines().filter_map(|line| line.strip_prefix(&start)) {
        let (index, name) = line.split_once(']').ok_or(format!("{table}[ is not closed"))?;
        let number =
            index.trim_end_matches('…').parse::<usize>().map_err(|_| format!("{table}[{index}] is no index"))?;
        if found.more || number != found.count + 1 || name.trim().is_empty() {
            return Err(format!("{table}[{index}] is out of order or has no name"));
        }
        found.more = index.ends_with('…');
        found.count += usize::from(!found.more);
    }
    Ok(found)
}

/// The words that open an alternative: `{"word"` at the beginning or after `|`.
fn words(returns: &str) -> BTreeSet<String> {
    let flat = returns.split_whitespace().collect::<Vec<_>>().join(" ");
    let first_words = flat.split("| ").chain([flat.as_str()]).filter_map(|alternative| {
        let word = alternative.strip_prefix("{\"")?.split('"').next()?;
        Some(word.to_owned())
    });
    first_words.collect()
}

#[test]
fn a_header_is_read_as_it_is_written() {
    let text = "--[[ nouns/verb: does it.\n\n  KEYS[1]  pool  hash\n  KEYS[2]  absent  none\n  ARGV[1]  agent  string\n  \
                ARGV[2…] pairs  2 each\n\n  Returns  {\"done\", {a, \"b\"}} | {\"no\"}\n           | {\"never\"}; more\n  \
                Uses     lib/key lib/pool     Cost  O(1)";
    let header = Header::parse(text).unwrap();
    assert_eq!((header.keys, header.args, header.more_args), (2, 1, true));
    assert_eq!(header.words, ["done", "never", "no"].map(str::to_owned).into());
    assert_eq!(header.uses, ["key", "pool"]);
    assert!(Header::parse(&text.replace("ARGV[1]", "ARGV[2]")).is_err(), "indices out of order are found");
    assert!(Header::parse(&text.replace("Cost  O(1)", "")).is_err());
}
