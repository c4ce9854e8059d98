//! The event stream parser.

use titan_api::client::sse::{Event, Parser};

fn event(name: &str, data: &str, id: Option<&str>) -> Event {
    Event { name: name.to_owned(), data: data.to_owned(), id: id.map(str::to_owned) }
}

fn parse(pieces: &[&[u8]]) -> Vec<Event> {
    let mut parser = Parser::default();
    pieces.iter().flat_map(|piece| parser.push(piece).unwrap()).collect()
}

const STREAM: &[u8] = "\u{feff}: hello\n\nid: 1-0\nevent: output\ndata: {\"a\":\ndata: \"ü\"}\r\n\r\n: ping\n\ndata:x\r\rid:\ndata: y\n\n"
    .as_bytes();

fn events() -> Vec<Event> {
    vec![
        event("output", "{\"a\":\n\"ü\"}", Some("1-0")),
        event("message", "x", Some("1-0")),
        event("message", "y", None),
    ]
}

#[test]
fn events_come_out_as_the_standard_says() {
    assert_eq!(parse(&[STREAM]), events());
}

#[test]
fn events_are_the_same_however_the_stream_is_cut() {
    for at in 0..=STREAM.len() {
        let (head, tail) = STREAM.split_at(at);
        assert_eq!(parse(&[head, tail]), events(), "cut at byte {at}");
    }
    let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
    assert_eq!(parse(&bytes), events(), "byte by byte");
}

#[test]
fn an_event_that_is_not_complete_does_not_come_out() {
    assert_eq!(parse(&[b"data: half\n"]), []);
    assert_eq!(parse(&[b"event: output\nid: 9\n\n"]), [], "an event without data is none");
    assert_eq!(parse(&[b"id: 9\n\ndata: x\n\n"]), [event("message", "x", Some("9"))], "but its id counts");
}

#[test]
fn an_endless_line_is_refused() {
    let mut parser = Parser::default();
    let mebibyte = vec![b'x'; 1_024 * 1_024];
    let refused = (0..32).any(|_| parser.push(&mebibyte).is_err());
    assert!(refused);
}
