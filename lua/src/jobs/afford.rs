//! `jobs/afford`: whether an API key may have new classes made.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use titan_api::{ids::PoolName, limits};

use crate::{
    Pool, StoreError,
    reply::unknown_word,
    script::{Args, script},
};

script!(Writes, "jobs/afford", uses ["calls", "key", "int", "clock", "pool", "record", "class"]);

/// How long a class that is there is taken to stay: it does so for ten minutes after its last use.
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// How many classes a process knows at once.
const KNOWN: usize = 10_000;

/// So many classes may be asked for at once; those that share a turn ask one after the other.
const TURNS: usize = 64;

/// The classes that are there or were paid for, so that most submissions need not ask. Losing them costs a question each.
#[derive(Debug)]
pub(crate) struct KnownClasses {
    known: Mutex<HashMap<PoolName, HashMap<String, Instant>>>,
    /// Submissions of one class that come at once wait for the first: they need one class, not one each. Each turn knows when
    /// Redis last gave no answer in it: that was the answer to all who waited for it then.
    turns: [tokio::sync::Mutex<Option<Instant>>; TURNS],
}

impl Default for KnownClasses {
    fn default() -> Self {
        Self { known: Mutex::default(), turns: std::array::from_fn(|_| tokio::sync::Mutex::default()) }
    }
}

impl KnownClasses {
    /// Whose turn it is to ask for a class.
    async fn turn(&self, class: &str) -> tokio::sync::MutexGuard<'_, Option<Instant>> {
        let mut hasher = DefaultHasher::new();
        class.hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        self.turns[number].lock().await
    }

    fn has(&self, pool: &Pool, class: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = known.get(pool.name()).and_then(|classes| classes.get(class));
        seen.is_some_and(|seen| seen.elapsed() < KNOWN_FOR)
    }

    fn learn<'a>(&self, pool: &Pool, classes: impl Iterator<Item = &'a str>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.values().map(HashMap::len).sum::<usize>() >= KNOWN {
            known.clear();
        }
        let of_pool = known.entry(pool.name().clone()).or_default();
        of_pool.extend(classes.map(|class| (class.to_owned(), Instant::now())));
    }
}

/// Takes from what a key may have made.
#[derive(Debug)]
pub(crate) struct Afford<'a> {
    /// The key.
    pub(crate) owner: &'a str,
    /// The classes of its jobs.
    pub(crate) classes: BTreeSet<&'a str>,
}

impl Afford<'_> {
    /// Runs the script, if not all classes are known; gives how long to wait until there is enough.
    pub(crate) async fn run(&self, pool: &Pool) -> Result<Option<Duration>, StoreError> {
        let unknown = self.unknown(pool);
        let Some(first) = unknown.first() else { return Ok(None) };
        // Boxed, since each submission has room for it and few ask. Its type is left out, since the compiler looks only so deep
        // into one.
        let asking: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(self.ask(pool, first));
        asking.await
    }

    /// Asks in its turn, of which `first` is the class.
    async fn ask(&self, pool: &Pool, first: &str) -> Result<Option<Duration>, StoreError> {
        let known = pool.store().classes();
        let came = Instant::now();
        let mut silent_at = known.turn(first).await;
        let unknown = self.unknown(pool);
        if unknown.is_empty() {
            return Ok(None);
        }
        if silent_at.is_some_and(|at| at >= came) {
            return Err(StoreError::Unavailable("it gave no answer to one who asked the same".to_owned()));
        }
        let mut args = Args::new();
        args.push(self.owner).push(limits::NEW_CLASSES).push(limits::NEW_CLASSES_WINDOW_MS).push(pool.now());
        for class in &unknown {
            args.push(*class);
        }
        let asked = pool.call(&SCRIPT, &args).await;
        if matches!(asked, Err(StoreError::Unavailable(_))) {
            *silent_at = Some(Instant::now());
        }
        let (word, mut reply) = asked?;
        match word.as_str() {
            "affordable" => {
                known.learn(pool, unknown.into_iter());
                Ok(None)
            }
            "too_many" => Ok(Some(Duration::from_millis(reply.parse()?))),
            other => Err(unknown_word("jobs/afford", other)),
        }
    }

    fn unknown(&self, pool: &Pool) -> Vec<&str> {
        let known = pool.store().classes();
        self.classes.iter().copied().filter(|class| !known.has(pool, class)).collect()
    }
}
