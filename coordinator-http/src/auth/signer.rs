//! The signer of tickets: a signature takes a quarter of a millisecond of a processor, which is spent where it holds nobody up.
//!
//! At most as many threads sign as there are cores, and each takes what waits, a few at a time. A thread for every ticket would
//! have dozens of them take turns with those that serve requests, and wake one of these for every signature.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use aws_lc_rs::rsa;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    jws,
    turnstile::{Turnstile, Within},
};

/// Tokens that a thread signs before it tells of them, which takes 2 ms: what comes together is answered together.
const AT_ONCE: usize = 8;
/// So many tickets for each core may be on their way to their signatures before others wait: enough to keep it at work until those
/// come.
const FEW: usize = 16;

/// An RSA key, and what waits for its signature.
pub(super) struct Signer {
    key: rsa::KeyPair,
    kid: String,
    cores: usize,
    line: Mutex<Line>,
    turnstile: Arc<Turnstile>,
}

#[derive(Default)]
struct Line {
    threads: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    message: String,
    tell: oneshot::Sender<String>,
}

impl Signer {
    pub(super) fn new(key: rsa::KeyPair, kid: String) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { key, kid, cores, line: Mutex::default(), turnstile: Arc::new(Turnstile::new(FEW * cores)) }
    }

    /// Waits until it is worth while to prepare what is to be signed.
    pub(super) async fn turn(&self) -> Within {
        self.turnstile.pass().await
    }

    /// Signs claims with RS256; none if they can't be.
    pub(super) async fn sign<C: Serialize>(self: &Arc<Self>, typ: &str, claims: &C) -> Option<String> {
        let message = jws::message("RS256", &self.kid, typ, claims)?;
        let (tell, told) = oneshot::channel();
        if self.enter(Waiting { message, tell }) {
            tokio::spawn(Arc::clone(self).begin());
        }
        told.await.ok()
    }

    /// Has one more thread work. With others within it first lets their tasks run, so that one wake serves them all: on a machine
    /// with few cores a thread that is woken takes the core from this one at once.
    async fn begin(self: Arc<Self>) {
        if self.turnstile.has_several() {
            tokio::task::yield_now().await;
        }
        let (signer, _unless_none_is_to_be_had) = (Arc::clone(&self), AtWork(&self));
        tokio::task::spawn_blocking(move || signer.work());
    }

    /// Lets a message wait. Returns whether one more thread is to work.
    fn enter(&self, waiting: Waiting) -> bool {
        let mut line = self.lock();
        line.waiting.push_back(waiting);
        let is_wanted = line.threads < self.cores;
        line.threads += usize::from(is_wanted);
        is_wanted
    }

    /// Signs what waits, until nothing does.
    fn work(&self) {
        let _at_work = AtWork(self);
        while let Some(taken) = self.next() {
            // Whoever has gone needs no signature.
            let wanted = taken.into_iter().filter(|waiting| !waiting.tell.is_closed());
            let signed: Vec<_> =
                wanted.map(|Waiting { message, tell }| (jws::sign_rs256(&self.key, message), tell)).collect();
            if signed.len() > 1 {
                // By a task: each that is told from here might wake a thread of the runtime.
                tokio::spawn(async move { tell_all(signed) });
            } else {
                tell_all(signed);
            }
        }
    }

    /// A thread's share of what waits. With none left the thread is at work no more, which has to be noted at once: whoever
    /// comes next asks for another.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut line = self.lock();
        let share = line.waiting.len().div_ceil(self.cores).min(AT_ONCE);
        // A thread that could not be had comes after all, once there is another: nobody counts on it.
        line.threads = line.threads.saturating_sub(usize::from(share == 0));
        (share > 0).then(|| line.waiting.drain(..share).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells everybody of their tokens; whoever has none hears that there will be none.
fn tell_all(signed: Vec<(Option<String>, oneshot::Sender<String>)>) {
    for (token, tell) in signed {
        let _ = token.map(|token| tell.send(token));
    }
}

/// A thread at work: should it break off, another takes its place with the next message. What waits until then is not signed if no
/// other thread is left, and whoever waits for it hears that at once.
struct AtWork<'a>(&'a Signer);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut line = self.0.lock();
            line.threads = line.threads.saturating_sub(1);
            if line.threads == 0 {
                line.waiting.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        time::Duration,
    };

    use aws_lc_rs::{
        rsa::KeySize,
        signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
    };
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use futures_util::future::join_all;
    use serde_json::{Value, json};
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn signer() -> Arc<Signer> {
        Arc::new(Signer::new(rsa::KeyPair::generate(KeySize::Rsa2048).unwrap(), "a-key".to_owned()))
    }

    fn is_for(signer: &Signer, token: &str, number: usize) -> bool {
        let (message, signature) = token.rsplit_once('.').unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, signer.key.public_key());
        key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(message.split_once('.').unwrap().1).unwrap();
        serde_json::from_slice::<Value>(&claims).unwrap() == json!({ "number": number })
    }

    #[tokio::test]
    async fn of_many_at_once_each_gets_its_own_and_no_thread_is_left_at_work() {
        let signer = signer();
        let all: Vec<_> = (0..100).map(|number| json!({ "number": number })).collect();
        let tokens = join_all(all.iter().map(|claims| signer.sign("a type", claims))).await;
        for (number, token) in tokens.iter().enumerate() {
            assert!(is_for(&signer, token.as_ref().unwrap(), number), "{number}");
        }
        while signer.lock().threads > 0 {
            tokio::task::yield_now().await;
        }
        assert!(signer.lock().waiting.is_empty());
        assert!(is_for(&signer, &signer.sign("a type", &json!({ "number": 7 })).await.unwrap(), 7));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_thread_that_broke_off() {
        let signer = signer();
        let (tell, mut told) = oneshot::channel();
        signer.enter(Waiting { message: "a message".to_owned(), tell });
        signer.lock().threads = 2;
        for nobody_is_left in [false, true] {
            let breaking_off = AssertUnwindSafe(|| {
                let _at_work = AtWork(&signer);
                panic!("it breaks off");
            });
            assert!(catch_unwind(breaking_off).is_err());
            let heard = told.try_recv().unwrap_err();
            assert_eq!(heard == TryRecvError::Closed, nobody_is_left, "{heard}");
        }
        assert!(is_for(&signer, &signer.sign("a type", &json!({ "number": 7 })).await.unwrap(), 7));
    }

    /// As when tokio gets no thread, says so, and has one do the work once there is another.
    #[tokio::test]
    async fn a_thread_that_comes_uncalled_for_changes_nothing() {
        let signer = signer();
        signer.work();
        assert_eq!(signer.lock().threads, 0);
        assert!(is_for(&signer, &signer.sign("a type", &json!({ "number": 7 })).await.unwrap(), 7));
    }

    #[tokio::test]
    async fn whoever_goes_away_holds_up_nobody() {
        let signer = signer();
        let [gone, claims] = [json!({ "number": 0 }), json!({ "number": 1 })];
        for _ in 0..100 {
            let going = signer.sign("a type", &gone);
            // Most are not signed yet.
            let _ = tokio::time::timeout(Duration::ZERO, going).await;
        }
        assert!(is_for(&signer, &signer.sign("a type", &claims).await.unwrap(), 1));
    }
}
