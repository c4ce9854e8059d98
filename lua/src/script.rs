//! Scripts: put together from their parts, hashed once, sent by hash and whole only when Redis does not know them.

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, ToRedisArgs, Value};

use crate::connection::Connection;

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

/// One script, ready to be sent.
#[derive(Debug)]
pub(crate) struct Script {
    body: String,
    hash: String,
}

impl Script {
    /// Joins the parts under the flags of `mode`.
    pub(crate) fn new(mode: Mode, parts: &[&str]) -> Self {
        let flags = match mode {
            Mode::Reads => "#!lua flags=no-writes,allow-oom\n",
            Mode::Writes => "#!lua\n",
            Mode::Frees => "#!lua flags=allow-oom\n",
        };
        let body = format!("{flags}{}", parts.join("\n"));
        let hash = redis::Script::new(&body).get_hash().to_owned();
        Self { body, hash }
    }

    /// Runs the script on two keys.
    pub(crate) async fn run(&self, on: &Connection, keys: [&str; 2], args: &Args) -> Result<Value, RedisError> {
        match on.send(&self.by_hash(keys, args)).await {
            Err(e) if Self::is_unknown(&e) => on.send(&self.whole(keys, args)).await,
            other => other,
        }
    }

    /// The command that runs it where it is known.
    pub(crate) fn by_hash(&self, keys: [&str; 2], args: &Args) -> Cmd {
        Self::command("EVALSHA", &self.hash, keys, args)
    }

    /// The command that runs it anywhere.
    pub(crate) fn whole(&self, keys: [&str; 2], args: &Args) -> Cmd {
        Self::command("EVAL", &self.body, keys, args)
    }

    /// Whether Redis does not know the script.
    pub(crate) fn is_unknown(e: &RedisError) -> bool {
        e.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
    }

    fn command(verb: &str, script: &str, keys: [&str; 2], args: &Args) -> Cmd {
        let mut cmd = redis::cmd(verb);
        cmd.arg(script).arg(2).arg(keys[0]).arg(keys[1]);
        for arg in &args.0 {
            cmd.arg(arg.as_slice());
        }
        cmd
    }
}

/// The arguments of one call, in order.
#[derive(Debug, Default)]
pub(crate) struct Args(Vec<Vec<u8>>);

impl Args {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one argument.
    pub(crate) fn push(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.0.extend(arg.to_redis_args());
        self
    }
}

/// Declares the script of this file: its name, its mode, and the parts of `lib/` that it uses, each after those that it
/// needs itself.
///
/// A part is the body of a function whose result becomes a local of the part's name. That is also faster than parts laid
/// end to end: Lua finds a captured local of the same function by walking all captured ones. A part marked `later` is made
/// only when it is first used.
macro_rules! script {
    (@open) => {
        " = (function()"
    };
    (@open later) => {
        " = later(function()"
    };
    (@close) => {
        "end)()"
    };
    (@close later) => {
        "end)"
    };
    ($mode:ident, $name:literal, uses [$($($later:ident)? $lib:literal),* $(,)?]) => {
        static SCRIPT: std::sync::LazyLock<crate::script::Script> = std::sync::LazyLock::new(|| {
            crate::script::Script::new(
                crate::script::Mode::$mode,
                &[
                    $(
                        concat!("local ", $lib, $crate::script::script!(@open $($later)?)),
                        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib/", $lib, ".lua")),
                        $crate::script::script!(@close $($later)?),
                    )*
                    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/", $name, ".lua")),
                ],
            )
        });
    };
}
pub(crate) use script;
