//! A reader of server-sent events.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, BodyDataStream},
};
use futures_util::StreamExt;
use http::{Request, header};
use serde_json::Value;
use tower::ServiceExt;

/// One event as it came.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// The reader.
pub(crate) struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    /// Asks for a stream, perhaps after an event.
    pub(crate) async fn of(router: &Router, bearer: &str, path: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(path)
            .header(header::AUTHORIZATION, format!("Bearer {bearer}"))
            .header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                rest.clone_into(&mut self.text);
                let field =
                    |name: &str| event.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().to_owned();
                let data = serde_json::from_str(&field("data: ")).unwrap_or_default();
                return Some(Event { name: field("event: "), id: field("id: "), data });
            }
            let more = tokio::time::timeout(Duration::from_secs(30), self.body.next()).await.expect("no event came")?;
            self.text.push_str(std::str::from_utf8(&more.unwrap()).unwrap());
        }
    }

    /// The next event, which has this name.
    pub(crate) async fn named(&mut self, name: &str) -> Event {
        let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before an event {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event
    }
}
