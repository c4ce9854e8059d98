//! The library: all scripts as functions that Redis keeps, whose parts are made once and not in every call.
//!
//! Its name and those of its functions have a hash of its text in them, so each version of the program calls its own, side by
//! side. A Redis that lacks it gets it with the first call. Where there are no functions, scripts are called by their hash.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::{
    agents, audit,
    connection::Node,
    credentials, events, jobs, models, output, pool,
    script::{Part, Script},
    tickets, usage,
};

/// What the names of all our libraries begin with.
const NAMES: &str = "titan_";
/// So many libraries may stay: those of versions that may still be at work.
const KEPT: usize = 4;
/// For how long scripts go by hash once Redis would not take the library.
const WITHOUT: Duration = Duration::from_mins(1);

/// The library of this version.
pub(crate) static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::of(&all()));

/// All scripts.
fn all() -> Vec<&'static Script> {
    let nouns = [
        agents::scripts(),
        audit::scripts(),
        credentials::scripts(),
        events::scripts(),
        jobs::scripts(),
        models::scripts(),
        output::scripts(),
        pool::scripts(),
        tickets::scripts(),
        usage::scripts(),
    ];
    nouns.concat()
}

/// A library, ready to be sent.
#[derive(Debug)]
pub(crate) struct Library {
    name: String,
    text: String,
    /// The names of its functions, by script.
    functions: HashMap<&'static str, String>,
}

impl Library {
    fn of(scripts: &[&'static Script]) -> Self {
        let made = made(scripts);
        let named = |name: &str| {
            let functions =
                scripts.iter().map(|script| (script.name, function(name, script))).collect::<HashMap<_, _>>();
            let text = scripts.iter().fold(format!("#!lua name={name}\n{made}"), |mut text, script| {
                let flags = script.mode.flags().iter().map(|flag| format!("'{flag}'")).collect::<Vec<_>>().join(", ");
                let _ = write!(
                    text,
                    "redis.register_function({{ function_name = '{}', flags = {{ {flags} }}, callback = function(KEYS, ARGV)\n\
                     begin(KEYS)\n{}\nend }})\n",
                    functions[script.name], script.body
                );
                text
            });
            Self { name: name.to_owned(), text, functions }
        };
        let hash = redis::Script::new(&named("").text).get_hash()[..16].to_owned();
        named(&format!("{NAMES}{hash}"))
    }

    /// The name of the function that a script is.
    pub(crate) fn function(&self, script: &str) -> &str {
        self.functions.get(script).map_or("", String::as_str)
    }

    fn load(&self) -> Cmd {
        redis::cmd("FUNCTION").arg("LOAD").arg(&self.text).to_owned()
    }
}

fn function(library: &str, script: &Script) -> String {
    format!("{library}_{}", script.name.replace('/', "_"))
}

/// What makes all parts of these scripts, each after those that it needs to be made: every script names them in such an order, so
/// what the next one has beside those before it may come behind these. They are made with the first call, since while a library
/// is loaded there is little more of Lua than its language. Each has a function of its own, since one can't know more than 60
/// names from around it.
fn made(scripts: &[&'static Script]) -> String {
    let mut parts: Vec<&Part> = Vec::new();
    for part in scripts.iter().flat_map(|script| script.parts) {
        if parts.iter().all(|known| known.name != part.name) {
            parts.push(part);
        }
    }
    let names: Vec<_> = parts.iter().map(|part| part.name).collect();
    let makers: Vec<_> = parts.iter().map(|part| format!("function()\n{}\nend", part.made())).collect();
    format!(
        "local {}\nlocal makers = {{\n{}\n}}\nlocal function begin(keys)\nif makers then\nfor i = 1, #makers do\nmakers[i]()\nend\n\
         makers = nil\nend\ncalls.begin(keys)\nend\n",
        names.join(", "),
        makers.join(",\n")
    )
}

/// What is known of the library at the Redis of a connection.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Until when scripts go by hash, and whether anybody was told.
    without: Mutex<Option<Instant>>,
    is_told: AtomicBool,
    /// How often the library was brought, and whether it is being brought.
    brought: AtomicU64,
    bringing: tokio::sync::Mutex<()>,
}

impl Loaded {
    /// Whether to call functions.
    pub(crate) fn is_worth_a_try(&self) -> bool {
        let mut without = self.without.lock().unwrap_or_else(PoisonError::into_inner);
        if without.is_some_and(|until| until <= Instant::now()) {
            *without = None;
        }
        without.is_none()
    }

    /// Calls a function of the library, which is brought first if Redis lacks it. None if it does not take it: nothing has
    /// run then.
    pub(crate) async fn call(&self, node: &mut impl Node, key: &str, call: &Cmd) -> Option<Result<Value, RedisError>> {
        let brought = self.brought.load(Ordering::Acquire);
        match node.send(call).await {
            Err(e) if is_absent(&e) => {}
            Err(e) if is_refused(&e) => return self.go_without(&e),
            other => return Some(other),
        }
        if let Err(e) = self.bring(node, key, brought).await {
            return if is_answer(&e) { self.go_without(&e) } else { Some(Err(e)) };
        }
        match node.send(call).await {
            Err(e) if is_absent(&e) || is_refused(&e) => None,
            other => Some(other),
        }
    }

    /// Brings the library, unless somebody else has since it was found lacking.
    async fn bring(&self, node: &mut impl Node, key: &str, found_lacking: u64) -> Result<(), RedisError> {
        let _alone = self.bringing.lock().await;
        if self.brought.load(Ordering::Acquire) != found_lacking {
            return Ok(());
        }
        match node.send_to(key, &LIBRARY.load()).await {
            // Another copy was faster.
            Err(e) if e.detail().is_some_and(|detail| detail.ends_with("already exists")) => {}
            Err(e) => return Err(e),
            Ok(_) => clear(node, key).await,
        }
        self.brought.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn go_without<T>(&self, e: &RedisError) -> Option<T> {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::info!(component = "store", "Redis keeps no functions for us, scripts go by their hash: {e}");
        }
        *self.without.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + WITHOUT);
        None
    }
}

/// Takes the libraries of old versions away, once there are too many. A version still at work brings its own again.
async fn clear(node: &mut impl Node, key: &str) {
    let list = redis::cmd("FUNCTION").arg("LIST").arg("LIBRARYNAME").arg(format!("{NAMES}*")).to_owned();
    let libraries = node.send_to(key, &list).await.and_then(|libraries| {
        redis::from_redis_value::<Vec<HashMap<String, Value>>>(libraries).map_err(RedisError::from)
    });
    let names: Vec<String> = libraries
        .unwrap_or_default()
        .into_iter()
        .filter_map(|mut library| redis::from_redis_value(library.remove("library_name")?).ok())
        .filter(|name| *name != LIBRARY.name)
        .collect();
    if names.len() < KEPT {
        return;
    }
    for name in names {
        let _ = node.send_to(key, redis::cmd("FUNCTION").arg("DELETE").arg(name)).await;
    }
}

/// Whether Redis does not know the function.
fn is_absent(e: &RedisError) -> bool {
    e.detail() == Some("Function not found")
}

/// Whether it does not know functions, or lets us call none.
fn is_refused(e: &RedisError) -> bool {
    e.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || e.detail().is_some_and(|detail| detail.starts_with("unknown command"))
}

/// Whether Redis itself has said so.
fn is_answer(e: &RedisError) -> bool {
    e.code().is_some()
}
