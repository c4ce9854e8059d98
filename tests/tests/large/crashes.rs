//! Agents and coordinators that die in the middle of answers: what can be tried again unseen is, all else is told as it is,
//! and every place comes back.

use std::time::Instant;

use reqwest::Response;
use serde_json::Value;
use titan_api::jobs::{JobState, Reason};
use titan_tests::backend::Manner;

use crate::{
    helpers::{GRACE, LEASE, SLACK, completed, ended, quick},
    models::{Models, Place, chat, everywhere, read_until, words_of},
};

everywhere! {
    an_agent_killed_before_its_first_token_is_not_noticed_by_the_client
    an_agent_killed_before_a_whole_answer_is_not_noticed_by_the_client
    an_agent_killed_in_the_middle_ends_the_stream_with_an_error
    where_that_is_asked_for_another_agent_goes_on_for_one_that_was_killed
    a_coordinator_killed_in_the_middle_breaks_its_streams_and_the_agent_goes_on_with_the_other
    an_answer_ends_when_nobody_has_waited_for_it_for_as_long_as_a_lease_lasts
    a_client_with_a_key_gets_the_whole_answer_from_the_other_coordinator
    a_stream_outlives_the_coordinator_that_its_answer_is_uploaded_to
}

/// All that comes until the end; whether that was proper.
async fn rest_of(response: &mut Response) -> (String, bool) {
    let mut read = String::new();
    loop {
        match response.chunk().await {
            Ok(Some(part)) => read.push_str(std::str::from_utf8(&part).unwrap()),
            end => return (read, end.is_ok()),
        }
    }
}

/// Asks, has the agent killed that asks its backend, and gives the answer.
async fn asked_of_one_that_is_killed(place: Place, stream: bool) -> String {
    let mut models = Models::start(place, quick()).await;
    models.backend.next(Manner::Silence);
    let client = models.clients[0].clone();
    let asking = tokio::spawn(async move { chat(&client, stream, &[]).await.text().await.unwrap() });
    models.backend.until_asked(1).await;
    let (id, number) = models.running().await;
    models.fleet.agents[number].kill();
    let killed = Instant::now();
    let answer = asking.await.unwrap();
    assert!(killed.elapsed() < LEASE + GRACE + SLACK, "it took {:?}", killed.elapsed());
    let job = completed(&models.clients[0], &id).await;
    let failures: Vec<_> = job.failures.iter().map(|f| (f.agent_id.as_str(), f.reason)).collect();
    assert_eq!((job.attempt, failures), (2, vec![(models.fleet.agents[number].id(), Reason::LeaseLost)]));
    models.backend.until_hung_up(1).await;
    models.fleet.agents[number].restart();
    models.all_places_come_back().await;
    answer
}

async fn an_agent_killed_before_its_first_token_is_not_noticed_by_the_client(place: Place) {
    let answer = asked_of_one_that_is_killed(place, true).await;
    assert!(words_of(&answer) == 5 && answer.ends_with("data: [DONE]\n\n"), "{answer}");
}

async fn an_agent_killed_before_a_whole_answer_is_not_noticed_by_the_client(place: Place) {
    let answer: Value = serde_json::from_str(&asked_of_one_that_is_killed(place, false).await).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
}

async fn an_agent_killed_in_the_middle_ends_the_stream_with_an_error(place: Place) {
    let mut models = Models::start(place, quick()).await;
    models.backend.next(Manner::slow_words(10_000, 20));
    let mut streamed = chat(&models.clients[0], true, &[]).await;
    let early = read_until(&mut streamed, "w3 ").await;
    let (id, number) = models.running().await;
    models.fleet.agents[number].kill();
    let killed = Instant::now();
    let (rest, is_proper) = rest_of(&mut streamed).await;
    assert!(killed.elapsed() < LEASE + GRACE + SLACK, "it took {:?}", killed.elapsed());
    assert!(is_proper && rest.contains(r#""code":"backend_failed""#) && !rest.contains("[DONE]"), "{rest}");
    assert!(words_of(&(early + &rest)) >= 4);
    let job = ended(&models.clients[0], &id).await;
    assert_eq!((job.state, job.reason, job.attempt), (JobState::Failed, Some(Reason::LeaseLost), 1));
    models.backend.until_hung_up(1).await;
    models.fleet.agents[number].restart();
    models.all_places_come_back().await;
    assert_eq!(models.backend.asked().len(), 17, "nobody was asked again");
}

async fn where_that_is_asked_for_another_agent_goes_on_for_one_that_was_killed(place: Place) {
    let mut models = Models::start(place, quick()).await;
    models.backend.next(Manner::slow_words(10_000, 20));
    let mut streamed = chat(&models.clients[0], true, &[("x-titan-failover", "continue")]).await;
    let early = read_until(&mut streamed, "w3 ").await;
    let (id, number) = models.running().await;
    models.fleet.agents[number].kill();
    let (rest, is_proper) = rest_of(&mut streamed).await;
    assert!(is_proper && rest.ends_with("data: [DONE]\n\n") && !rest.contains("error"), "{rest}");
    assert!(words_of(&(early + &rest)) >= 4 + 5, "{rest}");
    assert_eq!(ended(&models.clients[0], &id).await.state, JobState::Failed);
    models.fleet.agents[number].restart();
    models.all_places_come_back().await;
}

async fn a_coordinator_killed_in_the_middle_breaks_its_streams_and_the_agent_goes_on_with_the_other(place: Place) {
    let mut models = Models::start(place, quick().coordinators(2)).await;
    models.backend.next(Manner::slow_words(250, 20));
    let mut streamed = chat(&models.clients[0], true, &[]).await;
    let early = read_until(&mut streamed, "w3 ").await;
    let (id, _) = models.running().await;
    models.fleet.coordinators[0].kill();
    let (rest, is_proper) = rest_of(&mut streamed).await;
    assert!(!is_proper && !rest.contains("[DONE]"), "a stream that was cut does not look whole: {rest}");
    words_of(&(early + &rest));
    let job = completed(&models.clients[1], &id).await;
    assert_eq!((job.attempt, job.failures.len(), job.usage.unwrap().completion_tokens), (1, 0, Some(250)));
    assert_eq!((models.backend.asked().len(), models.backend.hung_up()), (1, 0));
    models.all_places_come_back().await;
}

async fn an_answer_ends_when_nobody_has_waited_for_it_for_as_long_as_a_lease_lasts(place: Place) {
    let mut models = Models::start(place, quick().coordinators(2).coordinator_setting("LEASE_TTL", "6s")).await;
    models.backend.always(Manner::slow_words(600, 20));
    let [mut kept, mut left] = [chat(&models.clients[0], true, &[]).await, chat(&models.clients[1], true, &[]).await];
    let early = read_until(&mut kept, "w3 ").await;
    read_until(&mut left, "w3 ").await;
    models.fleet.coordinators[1].kill();
    let killed = Instant::now();
    models.backend.until_hung_up(1).await;
    assert!(killed.elapsed() < LEASE + SLACK, "it took {:?}", killed.elapsed());
    // Whoever waits has all of his answer. Here it comes through memory alone, and takes twice as long as a lease lasts.
    let (rest, is_proper) = rest_of(&mut kept).await;
    assert!(is_proper && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    assert_eq!((words_of(&(early + &rest)), models.backend.hung_up()), (600, 1));
    models.fleet.coordinators[1].restart().await;
    models.all_places_come_back().await;
}

async fn a_client_with_a_key_gets_the_whole_answer_from_the_other_coordinator(place: Place) {
    let mut models = Models::start(place, quick().coordinators(2)).await;
    models.backend.next(Manner::slow_words(250, 20));
    let key = [("idempotency-key", "once")];
    let mut streamed = chat(&models.clients[0], true, &key).await;
    read_until(&mut streamed, "w3 ").await;
    models.fleet.coordinators[0].kill();
    assert!(!rest_of(&mut streamed).await.1);
    let again = chat(&models.clients[1], true, &key).await.text().await.unwrap();
    assert!(words_of(&again) == 250 && again.ends_with("data: [DONE]\n\n"), "{again}");
    assert_eq!(models.backend.asked().len(), 1, "it is the same answer");
    models.all_places_come_back().await;
}

async fn a_stream_outlives_the_coordinator_that_its_answer_is_uploaded_to(place: Place) {
    let mut models = Models::start(place, quick().coordinators(2)).await;
    models.backend.next(Manner::slow_words(250, 20));
    let mut streamed = chat(&models.clients[1], true, &[]).await;
    let early = read_until(&mut streamed, "w3 ").await;
    models.fleet.coordinators[0].kill();
    let (rest, is_proper) = rest_of(&mut streamed).await;
    assert!(is_proper && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    assert_eq!(words_of(&(early + &rest)), 250);
    models.all_places_come_back().await;
}

#[tokio::test]
async fn a_stream_goes_on_by_another_coordinator_when_the_one_that_it_is_uploaded_to_stands_still() {
    let mut models = Models::start(Place::Here, quick().coordinators(2)).await;
    models.backend.next(Manner::slow_words(80, 500));
    let mut streamed = chat(&models.clients[1], true, &[]).await;
    let early = read_until(&mut streamed, "w1 ").await;
    models.fleet.coordinators[0].process().pause();
    let more = read_until(&mut streamed, "w9 ").await;
    assert_eq!(models.backend.open(), 1, "it is not held back until the answer is whole");
    let (rest, is_proper) = rest_of(&mut streamed).await;
    assert!(is_proper && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    assert_eq!(words_of(&(early + &more + &rest)), 80);
    assert_eq!(models.backend.asked().len(), 1);
    models.fleet.coordinators[0].process().resume();
    models.all_places_come_back().await;
}
