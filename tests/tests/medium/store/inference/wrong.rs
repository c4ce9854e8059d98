//! Scripts that treat requests and tickets wrongly, each in one way: the scenes must notice every one of them.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin};

use futures_util::FutureExt;
use titan_lua::PoolSettings;
use titan_tests::{
    redis::{RedisServer, patient_store},
    rewriter::{Change, Rewriter},
};

use super::{lost, scenes, trials, *};

type Scene = fn(World) -> Pin<Box<dyn Future<Output = ()>>>;

/// A script that is wrong in one way.
struct Mutant {
    name: &'static str,
    /// A text that stands once in each script that has it.
    find: &'static str,
    replace: &'static str,
    scene: Scene,
}

/// Why the scene could not be played; none if it was, to its end.
async fn played(mutant: &Mutant, replace: String) -> Option<String> {
    let redis = RedisServer::start().await;
    let change = Change { find: mutant.find.to_owned(), times: 1, replace };
    let rewriter = Rewriter::to(&redis.address(), change).await;
    let world = World::on(redis, &patient_store(&rewriter.url(), PoolSettings::default()));
    let panicked = AssertUnwindSafe((mutant.scene)(world)).catch_unwind().await.err();
    assert_eq!(rewriter.miscounted(), 0, "{}: its text stands more than once in a script", mutant.name);
    assert!(rewriter.rewritten() > 0, "{}: no script that was called has its text", mutant.name);
    let said = panicked?;
    let text = said.downcast_ref::<String>().cloned();
    Some(text.or_else(|| said.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

/// Why a mutant does not show what it should; none if it is noticed, and nothing else is.
async fn shortcoming(mutant: &Mutant) -> Option<String> {
    if let Some(why) = played(mutant, format!("{} --[[ as it is ]] ", mutant.find)).await {
        return Some(format!("{}: the right script is taken for a wrong one: {why}", mutant.name));
    }
    match played(mutant, mutant.replace.to_owned()).await {
        None => Some(format!("{}: not noticed", mutant.name)),
        Some(why) if why.contains("`Err` value") => Some(format!("{}: does not run: {why}", mutant.name)),
        Some(why) => {
            println!("{}: {}", mutant.name, why.lines().next().unwrap_or_default());
            None
        }
    }
}

#[test]
fn every_script_that_is_wrong_about_requests_is_noticed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shortcomings: Vec<_> = MUTANTS.iter().filter_map(|m| runtime.block_on(shortcoming(m))).collect();
    assert!(shortcomings.is_empty(), "{}", shortcomings.join("\n"));
}

macro_rules! mutants {
    ($($name:literal: $find:literal => $replace:literal, $module:ident::$scene:ident;)*) => {
        &[$(Mutant { name: $name, find: $find, replace: $replace, scene: |world| Box::pin($module::$scene(world)) }),*]
    };
}

const MUTANTS: &[Mutant] = mutants! {
    "an answer is made twice": "return j.kind ~= 'process' and j.out > 0" => "return false",
        scenes::answers_are_not_made_twice;
    "what a backend refuses is tried elsewhere": "backend_rejected = 'final'" => "backend_rejected = 'failure'",
        scenes::some_ends_are_final_and_nobodys_fault;
    "loading for too long counts against the model": "load_timeout = 'final'" => "load_timeout = 'failure'",
        scenes::some_ends_are_final_and_nobodys_fault;
    "an answer goes on for nobody": "return j.awaited ~= nil and pool.now >= j.awaited" => "return false",
        scenes::an_answer_goes_on_as_long_as_somebody_waits;
    "who waits for an answer is not heard": "job:put(j, 'awaited', pool.now + pool.lease)\n  end" => "end",
        scenes::an_answer_goes_on_as_long_as_somebody_waits;
    "an outage takes answers from who waits": "pool.now >= j.awaited and pool.now >= pool.amnesty" => "pool.now >= j.awaited",
        scenes::an_outage_of_everybody_takes_no_answer_from_who_waits;
    "what nobody waits for any more is begun": "pool.now >= j.not_after) or job.is_forsaken(j)" => "pool.now >= j.not_after)",
        scenes::nobody_begins_what_nobody_waits_for_any_more;
    "two failures rest a model": "local FAILURES_TO_COOL = 3" => "local FAILURES_TO_COOL = 2",
        scenes::a_model_rests_and_is_tried_once;
    "four failures rest a model": "local FAILURES_TO_COOL = 3" => "local FAILURES_TO_COOL = 4",
        scenes::a_model_rests_and_is_tried_once;
    "a second rest is no longer": "math.min(2 * served.cool_ms" => "math.min(served.cool_ms",
        scenes::a_model_rests_and_is_tried_once;
    "a model that rests gets requests": "if until_ms and pool.now < until_ms then" => "if false then",
        scenes::a_model_rests_and_is_tried_once;
    "after its rest a model gets all at once": "return until_ms and 1 or served.parallel" => "return served.parallel",
        scenes::a_model_rests_and_is_tried_once;
    "an attempt from before a rest ends it": "not served.until_ms or entry.since >= served.until_ms" => "true",
        scenes::a_model_rests_and_is_tried_once;
    "a request begins that nobody waits for": "pool.now >= j.not_after)" => "false)",
        scenes::nobody_begins_what_nobody_waits_for;
    "a request is accepted that comes later than it may": "pool.read_ms > options.come_by" => "false",
        scenes::a_request_comes_in_time_or_is_not_accepted;
    "a repeat that comes late is not answered as before": "not there and options and options.come_by" => "options and options.come_by",
        scenes::a_request_comes_in_time_or_is_not_accepted;
    "a request whose agent died has no more time": "    job.has_its_time_again(j)\n  end" => "  end",
        scenes::a_request_of_a_dead_agent_has_its_time_again;
    "a request whose agent was removed has no more time": "job.has_its_time_again(j)\n      queue.put(j)" => "queue.put(j)",
        scenes::a_request_of_a_removed_agent_has_its_time_again;
    "a claim hands a ticket out": " and not entry.ticket or nil" => " or nil",
        scenes::a_ticket_is_used_once_by_its_own_agent;
    "a ticket is good twice": "if j.state ~= 'scheduled' and not came_late then" => "if false then",
        scenes::a_ticket_is_used_once_by_its_own_agent;
    "a ticket is good on any agent": "if not j or j.ticket ~= a.id then" => "if not j then",
        scenes::a_ticket_is_used_once_by_its_own_agent;
    "a used ticket counts as unused": "record.ask('ZREM', key('tickets', j.owner), j.id)\nrank" => "rank",
        scenes::a_ticket_is_used_once_by_its_own_agent;
    "an owner's tickets are forgotten at once": "sets.enter('tickets:' .. j.owner, j.id, pool.now + hold_ms)" => "",
        scenes::a_ticket_is_used_once_by_its_own_agent;
    "an owner has more tickets than it may": "return counts[owner] < most" => "return counts[owner] <= most",
        scenes::a_ticket_is_used_once_by_its_own_agent;
    "a ticket that nobody brings counts against the agent": "if a and j.ticket then" => "if false then",
        scenes::a_place_is_kept_for_a_while_and_counts_against_nobody;
    "a ticket that nobody brings ends as a request that nobody begins": "j.ticket and 'ticket_unused' or" => "",
        scenes::a_place_is_kept_for_a_while_and_counts_against_nobody;
    "a late ticket needs no place": "taken < slots and may_begin" => "may_begin",
        scenes::a_place_is_kept_for_a_while_and_counts_against_nobody;
    "a half-open agent is tried with a ticket": "local is_in_service = a.state == 'healthy' or a.state == 'degraded'" => "local is_in_service = a.state ~= 'offline'",
        trials::requests_are_trials_one_at_a_time_and_tickets_are_none;
    "a receipt may name another model": "(j.ticket ~= nil and j.model == model)" => "j.ticket ~= nil",
        scenes::a_receipt_is_for_a_ticket_and_its_model;
    "a receipt may come with any request": "(j.ticket ~= nil and j.model == model)" => "j.model == model",
        scenes::a_receipt_is_for_a_ticket_and_its_model;
    "a receipt is not kept": "job:put(j, 'receipt', receipt)" => "",
        scenes::a_receipt_is_for_a_ticket_and_its_model;
    "a model is loaded where there is no room": "return sum >= served.vram and all or nil" => "return all",
        scenes::memory_for_a_model_is_kept_once;
    "memory is kept for each request that loads a model": " or left.loading[served.of or model]" => "",
        scenes::memory_for_a_model_is_kept_once;
    "an alias has places of its own": "local own = served and served.of or model" => "local own = model",
        scenes::an_alias_has_no_places_of_its_own;
    "prompts and answers are kept": "  ending.forget_output(j)\n  ending.forget_prompt(j)" => "",
        scenes::what_was_asked_is_forgotten;
    "what is asked does not count": "    retention.count_prompt(j, #ARGV[at + 6])" => "",
        scenes::what_is_asked_counts_while_it_is_kept;
    "what is asked counts for nobody": "local of_owner = count_of('asked', owner, bytes)" => "local of_owner = 1",
        scenes::what_is_asked_counts_while_it_is_kept;
    "what is forgotten counts for ever": "retention.count_prompt(j, -retention.prompt_bytes(j.id))" => "",
        scenes::what_is_asked_counts_while_it_is_kept;
    "a probe's words do not count": "    retention.count_prompt(j, #prompt)" => "",
        trials::a_model_is_asked_for_a_word;
    "an agent without processes is not probed": "return j, devices, request_to(model)" => "return nil",
        trials::a_model_is_asked_for_a_word;
    "a probe has a model loaded though another is": "return one.loaded" => "return other.loaded",
        trials::a_model_is_asked_for_a_word;
    "a probe counts as somebody's request": "if not j.probe then\n    meter" => "if true then\n    meter",
        trials::a_model_is_asked_for_a_word;
    "a probe that is refused tells nothing": "if j.probe and reason == 'backend_rejected' then" => "if false then",
        trials::who_passes_a_refusal_on_has_done_its_part;
    "a probe that the backend fails heals": "if j.probe and reason == 'backend_rejected' then" => "if j.probe then",
        trials::a_backend_that_fails_neither_heals_nor_condemns;
    "a half-open agent is on several trials": "return not agent.trouble(a).trial and (" => "return (",
        trials::requests_are_trials_one_at_a_time_and_tickets_are_none;
    "a ticket that is asked for again has a second place": "local known = job:load(id)" => "local known",
        lost::a_repeat_gets_the_same_place;
    "a place is kept for a job that is elsewhere": "if not j or j.state ~= 'scheduled' or j.agent ~= a.id then" => "if not j then",
        lost::what_is_kept_for_nobody_is_freed;
    "a use that the agent never heard of is not taken back": "pool.now - entry.since >= USE_IS_LOST_AFTER_MS" => "false",
        lost::a_use_that_the_agent_never_heard_of_is_taken_back;
    "a use is taken back by a heartbeat that was on its way": "pool.now - entry.since >= USE_IS_LOST_AFTER_MS" => "true",
        lost::a_use_that_the_agent_never_heard_of_is_taken_back;
    "a use that is repeated does not renew the lease": "  job:put(j, 'lease_until', pool.now + pool.lease)\n  return due.finish(leased())" => "  return due.finish(leased())",
        lost::an_agent_counts_from_the_repeat;
};
