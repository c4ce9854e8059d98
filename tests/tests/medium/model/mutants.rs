//! The tests prove themselves: wrong scripts, each wrong in one way, must be noticed by the comparison with the model.
//!
//! A proxy in front of Redis makes the change, so the programs are those that ship. The same change with nothing but a
//! comment in it must not be noticed: that shows that it is the fault which is caught, and not the proxy.

mod table;

use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;

use titan_api::scheduler::Profile;
use titan_lua::{
    PoolSettings,
    credentials::join_tokens::{self, UseOutcome},
};
use titan_tests::{
    redis::{RedisServer, patient_store},
    rewriter::{Change, Rewriter},
};

use self::table::{Mutant, Told, all};
use super::{
    Teller,
    steps::{Case, Keep},
};
use crate::store::world::{agent_id, join_token};

/// What a call fails with if the script itself fails: such a mutant would show nothing about the rules.
const FAILED: &str = "the store failed";

/// Tells a mutant's scenario to a Redis of its own that gets the scripts with this in place of the mutant's text.
///
/// # Errors
/// What was noticed.
async fn told(mutant: &Mutant, replace: String) -> Result<(), String> {
    let Mutant { find, times, .. } = *mutant;
    let redis = RedisServer::start().await;
    let rewriter = Rewriter::to(&redis.address(), Change { find: find.to_owned(), times, replace }).await;
    let told = match mutant.told {
        Told::Story(steps) | Told::Kept(_, steps) => {
            let keep = if let Told::Kept(keep, _) = mutant.told { keep } else { Keep::Usual };
            let case = Case { profile: Profile::Balanced, keep, steps: steps() };
            let teller = Teller::new(&rewriter.url());
            let story = async { teller.tell(&case).await };
            AssertUnwindSafe(story).catch_unwind().await.unwrap_or_else(|_| Err("the model has no answer".to_owned()))
        }
        Told::JoinToken => join_twice(&rewriter.url()).await,
    };
    assert_eq!(rewriter.miscounted(), 0, "{find:?} stands more or less often than {times} times in a script");
    assert!(rewriter.rewritten() > 0, "no script that was called has {find:?}");
    told
}

/// A join token for one agent, used by two.
async fn join_twice(url: &str) -> Result<(), String> {
    let store = patient_store(url, PoolSettings::default());
    let token = join_token("t", 1, store.now_ms().await.unwrap(), 60_000);
    let id = token.record.id.clone();
    join_tokens::create(&store, &token).await.unwrap();
    for (key, is_first) in [("first", true), ("second", false)] {
        let used = join_tokens::use_once(&store, &id, "hash", key, &agent_id(key), key).await;
        let used = used.map_err(|e| format!("{FAILED}: {e}"))?;
        if is_first != matches!(used, UseOutcome::Used { .. }) {
            return Err(format!("the {key} use: {used:?}"));
        }
    }
    Ok(())
}

/// Why a mutant does not show what it should; none if it is noticed, and nothing else is.
async fn shortcoming(mutant: &Mutant) -> Option<String> {
    let as_it_is = AssertUnwindSafe(Box::pin(told(mutant, format!("{} --[[ as it is ]] ", mutant.find))));
    match as_it_is.catch_unwind().await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => return Some(format!("{}: the right script is taken for a wrong one: {why}", mutant.name)),
        Err(_) => return Some(format!("{}: its text is not there as the table says", mutant.name)),
    }
    match Box::pin(told(mutant, mutant.replace.to_owned())).await {
        Ok(()) => Some(format!("{}: not noticed", mutant.name)),
        Err(why) if why.contains(FAILED) => Some(format!("{}: the wrong script does not run: {why}", mutant.name)),
        Err(why) => {
            println!("{}: {}", mutant.name, why.lines().next().unwrap_or_default());
            None
        }
    }
}

#[test]
fn every_wrong_script_of_the_table_is_noticed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shortcomings: Vec<_> = all().filter_map(|m| runtime.block_on(shortcoming(m))).collect();
    assert!(shortcomings.is_empty(), "{}", shortcomings.join("\n"));
}
