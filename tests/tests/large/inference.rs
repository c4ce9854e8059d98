//! Requests to models through a whole installation: a client of OpenAI's interface, a coordinator, agents that only call
//! out, and a backend behind them.

use std::time::{Duration, Instant};

use serde_json::Value;
use titan_tests::{
    backend::{Backend, Manner},
    fleet::Fleet,
    namespace::Namespace,
    ports::free_port,
    skip::skipped,
};

use crate::models::{Models, Place, chat, everywhere, read_until};

everywhere! {
    a_client_gets_a_models_answer_token_by_token_and_whole
    a_backend_that_fails_before_its_first_token_is_not_noticed_by_the_client
    a_client_that_goes_away_stops_the_backend_within_a_second
}

async fn a_client_gets_a_models_answer_token_by_token_and_whole(place: Place) {
    let models = Models::start(place, Fleet::plan().agents(1)).await;
    let (backend, client) = (&models.backend, &models.clients[0]);
    backend.next(Manner::slow_words(10, 50));
    let mut streamed = chat(client, true, &[]).await;
    assert_eq!(streamed.status(), 200);
    let early = read_until(&mut streamed, "w1 ").await;
    assert!(!early.contains("w9 "), "nothing is held back: {early}");
    let rest = read_until(&mut streamed, "[DONE]").await;
    assert!(rest.contains("w9 "), "{rest}");
    let whole: Value = chat(client, false, &[]).await.json().await.unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "w0 w1 w2 w3 w4 ");
}

async fn a_backend_that_fails_before_its_first_token_is_not_noticed_by_the_client(place: Place) {
    let models = Models::start(place, Fleet::plan()).await;
    models.backend.next(Manner::refuse(500));
    models.backend.next(Manner::Drop { after: 0 });
    let mut streamed = chat(&models.clients[0], true, &[]).await;
    assert!(read_until(&mut streamed, "[DONE]").await.contains("w4 "));
    assert_eq!(models.backend.asked().len(), 3);
}

async fn a_client_that_goes_away_stops_the_backend_within_a_second(place: Place) {
    let models = Models::start(place, Fleet::plan().agents(1)).await;
    models.backend.next(Manner::slow_words(10_000, 20));
    let mut streamed = chat(&models.clients[0], true, &[]).await;
    read_until(&mut streamed, "w3 ").await;
    let left = Instant::now();
    drop(streamed);
    models.backend.until_hung_up(1).await;
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}

/// Whether anybody listens on a port of 127.0.0.1.
fn is_reached(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[tokio::test]
async fn in_a_network_of_its_own_an_agent_reaches_what_is_named_and_nothing_reaches_it() {
    let namespace = match Namespace::new() {
        Ok(namespace) => namespace,
        Err(why) => return skipped(&why),
    };
    let (named, other) = (Backend::start().await, Backend::start().await);
    let port = |backend: &Backend| backend.url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let (to_named, to_other, inside) = (port(&named), port(&other), free_port());
    namespace.forward(to_named);
    let listener = namespace.run(move || std::net::TcpListener::bind(("127.0.0.1", inside)).unwrap());
    let from_inside = namespace.run(move || [to_named, to_other, inside].map(is_reached));
    assert_eq!(from_inside, [true, false, true]);
    assert_eq!([to_named, to_other, inside].map(is_reached), [true, true, false]);
    drop(listener);
}
