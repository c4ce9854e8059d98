//! Scripts: put together from their parts, and called as functions that Redis keeps, or by hash where it keeps none.

use std::{io::Write, sync::OnceLock, time::Instant};

use redis::{Cmd, ErrorKind, RedisError, RedisWrite, ServerErrorKind, ToRedisArgs, Value};
use serde::Serialize;

use crate::{
    StoreError,
    connection::{Connection, Node},
    latency::{self, Call},
    library::{LIBRARY, Loaded},
};

/// What a script is allowed when Redis has no memory left, and whether it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It writes nothing.
    Reads,
    /// It takes new work on, and is refused when memory is short.
    Writes,
    /// It ends, renews, cancels or sweeps, and must work when memory is short.
    Frees,
}

impl Mode {
    /// What Redis calls it.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Reads => &["no-writes", "allow-oom"],
            Self::Writes => &[],
            Self::Frees => &["allow-oom"],
        }
    }
}

/// One script, ready to be sent.
#[derive(Debug)]
pub(crate) struct Script {
    /// `agents/work`.
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) parts: &'static [Part],
    /// The text of its file.
    pub(crate) body: &'static str,
    alone: OnceLock<Alone>,
}

/// A script and its parts as one text.
#[derive(Debug)]
struct Alone {
    text: String,
    hash: String,
}

impl Script {
    pub(crate) fn new(name: &'static str, mode: Mode, parts: &'static [Part], body: &'static str) -> Self {
        Self { name, mode, parts, body, alone: OnceLock::new() }
    }

    /// Runs the script on two keys.
    pub(crate) async fn run(&self, on: &Connection, keys: [&str; 2], args: &Args) -> Result<Value, RedisError> {
        let begun = Instant::now();
        let reply = self.run_at(&mut &*on, on.loaded(), keys, args).await;
        latency::note_call(Call { script: self.name, begun, took: begun.elapsed(), failed: reply.is_err() });
        reply
    }

    /// Runs it where the first key is: as a function, or by hash if the library is not to be had there.
    pub(crate) async fn run_at(
        &self,
        node: &mut impl Node,
        loaded: &Loaded,
        keys: [&str; 2],
        args: &Args,
    ) -> Result<Value, RedisError> {
        if loaded.is_worth_a_try() {
            let by_name = Self::command("FCALL", LIBRARY.function(self.name), keys, args);
            if let Some(reply) = loaded.call(node, keys[0], &by_name).await {
                return reply;
            }
        }
        let alone = self.alone.get_or_init(|| Alone::new(self.mode, self.parts, self.body));
        match node.send(&Self::command("EVALSHA", &alone.hash, keys, args)).await {
            Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                node.send(&Self::command("EVAL", &alone.text, keys, args)).await
            }
            other => other,
        }
    }

    fn command(verb: &str, script: &str, keys: [&str; 2], args: &Args) -> Cmd {
        let before = [verb, script, "2", keys[0], keys[1]].map(str::as_bytes);
        let bytes = before.iter().map(|arg| arg.len()).sum::<usize>() + args.bytes.len();
        let mut cmd = Cmd::with_capacity(before.len() + args.begins.len(), bytes);
        for arg in before.into_iter().chain(args.iter()) {
            cmd.arg(arg);
        }
        cmd
    }
}

/// Arguments, and bytes of all of them, that there is room for at once; most calls have fewer.
const USUAL: usize = 24;
const USUAL_BYTES: usize = 768;

impl Alone {
    /// Joins the parts and the script under the flags of `mode`.
    fn new(mode: Mode, parts: &[Part], body: &str) -> Self {
        let flags = match mode.flags() {
            [] => "#!lua".to_owned(),
            flags => format!("#!lua flags={}", flags.join(",")),
        };
        let text = format!("{flags}\n{}", joined(parts, body));
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }
}

/// The arguments of one call, in order. Most are short, so all of them are in one piece.
#[derive(Debug, Default)]
pub(crate) struct Args {
    bytes: Vec<u8>,
    /// Where each of them begins.
    begins: Vec<usize>,
}

impl Args {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(USUAL_BYTES), begins: Vec::with_capacity(USUAL) }
    }

    /// Adds one argument.
    pub(crate) fn push(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        arg.write_redis_args(self);
        self
    }

    /// Adds one argument, as JSON.
    pub(crate) fn push_json(&mut self, value: &impl Serialize) -> Result<&mut Self, StoreError> {
        serde_json::to_writer(self.writer_for_next_arg(), value).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        Ok(self)
    }

    /// Adds others behind these.
    pub(crate) fn append(&mut self, others: &Self) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&others.bytes);
        self.begins.extend(others.begins.iter().map(|begin| before + begin));
    }

    /// How many bytes all of them have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.begins.iter().skip(1).copied().chain([self.bytes.len()]);
        self.begins.iter().zip(ends).map(|(begin, end)| &self.bytes[*begin..end])
    }
}

impl RedisWrite for Args {
    fn write_arg(&mut self, arg: &[u8]) {
        self.begins.push(self.bytes.len());
        self.bytes.extend_from_slice(arg);
    }

    fn writer_for_next_arg(&mut self) -> impl Write + '_ {
        self.begins.push(self.bytes.len());
        &mut self.bytes
    }
}

/// A part of `lib/`, as the script of one file uses it.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name, which its users call it by.
    pub(crate) name: &'static str,
    /// The text of its file.
    pub(crate) body: &'static str,
    /// Whether it is made only when it is first used.
    pub(crate) is_late: bool,
}

/// Puts parts and script together, so that making the parts costs little: they are made anew in every run.
///
/// A part is the body of a function whose result goes by the part's name. The names are locals of the outermost function,
/// and all the rest stands in one function within it: Lua looks for a captured local of the function that makes a closure
/// by walking all captured ones, but takes over at once what that function has itself captured. The late parts lie in one
/// function, so that there is one closure for all of them.
fn joined(parts: &[Part], script: &str) -> String {
    if parts.is_empty() {
        return script.to_owned();
    }
    let names: Vec<_> = parts.iter().map(|part| part.name).collect();
    let late: Vec<_> = parts.iter().filter(|part| part.is_late).map(Part::if_asked_for).collect();
    let mut text = vec![format!("local {}\nreturn (function()", names.join(", "))];
    if !late.is_empty() {
        text.push(format!("local function make(name)\n{}\nend\nend", late.join("\nelse")));
    }
    text.extend(parts.iter().map(Part::in_its_place));
    text.extend(begun(parts).map(str::to_owned));
    text.extend([script.to_owned(), "end)()".to_owned()]);
    text.join("\n")
}

/// What begins a call, if its parts keep anything.
fn begun(parts: &[Part]) -> Option<&'static str> {
    parts.iter().any(|part| part.name == "calls").then_some("calls.begin(KEYS)")
}

impl Part {
    fn in_its_place(&self) -> String {
        if self.is_late { format!("{0} = later(make, '{0}')", self.name) } else { self.made() }
    }

    fn if_asked_for(&self) -> String {
        format!("if name == '{0}' then\n{1}\nreturn {0}", self.name, self.made())
    }

    /// The statement that makes it.
    pub(crate) fn made(&self) -> String {
        format!("{} = (function()\n{}\nend)()", self.name, self.body)
    }
}

/// Declares the script of this file: its name, its mode, and the parts of `lib/` that it uses, each after those that it
/// needs itself. A part marked `later` is made only when it is first used.
macro_rules! script {
    (@is_late) => {
        false
    };
    (@is_late later) => {
        true
    };
    ($mode:ident, $name:literal, uses [$($($later:ident)? $lib:literal),* $(,)?]) => {
        pub(super) static SCRIPT: std::sync::LazyLock<crate::script::Script> = std::sync::LazyLock::new(|| {
            crate::script::Script::new(
                $name,
                crate::script::Mode::$mode,
                &[
                    $(
                        crate::script::Part {
                            name: $lib,
                            body: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib/", $lib, ".lua")),
                            is_late: $crate::script::script!(@is_late $($later)?),
                        },
                    )*
                ],
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/", $name, ".lua")),
            )
        });
    };
}
pub(crate) use script;
