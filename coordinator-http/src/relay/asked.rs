//! What a client asks a model: the body in OpenAI's words, of which only a little is looked at, and our own headers.

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use serde::{Deserialize, de::IgnoredAny};
use titan_api::{
    headers as names,
    inference::{ANSWER_MS, FIRST_TOKEN_MS, InferenceRoute, InferenceSpec, LOAD_MS, TOKEN_MS},
    jobs::{JobKind, SubmitJob},
    limits,
};

use crate::{
    error::ApiError,
    validate::{Findings, Validate},
};

/// How long a request waits for an agent if it does not say, milliseconds.
const DEADLINE_MS: u64 = 60_000;
/// Agents that a request is tried on, until one has begun to answer.
const ATTEMPTS: u32 = 3;

/// What is looked at of the body. All else passes as it is.
#[derive(Debug, Deserialize)]
pub(crate) struct Body {
    model: String,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    messages: Option<Vec<Message>>,
    #[serde(default)]
    user: Option<serde_json::Value>,
    #[serde(default)]
    n: Option<serde_json::Value>,
    #[serde(default)]
    logprobs: Option<serde_json::Value>,
    // What binds an answer, so that nobody could go on with one that broke off.
    #[serde(default)]
    tools: Option<IgnoredAny>,
    #[serde(default)]
    functions: Option<IgnoredAny>,
    #[serde(default)]
    response_format: Option<IgnoredAny>,
    #[serde(default)]
    structured_outputs: Option<IgnoredAny>,
    #[serde(default)]
    guided_json: Option<IgnoredAny>,
    #[serde(default)]
    guided_regex: Option<IgnoredAny>,
    #[serde(default)]
    guided_choice: Option<IgnoredAny>,
    #[serde(default)]
    guided_grammar: Option<IgnoredAny>,
    #[serde(default)]
    grammar: Option<IgnoredAny>,
    #[serde(default)]
    json_schema: Option<IgnoredAny>,
}

impl Body {
    /// Whether anything binds the answer.
    fn is_bound(&self) -> bool {
        let guided = [&self.guided_json, &self.guided_regex, &self.guided_choice, &self.guided_grammar];
        let shaped = [&self.response_format, &self.structured_outputs, &self.grammar, &self.json_schema];
        let called = [&self.tools, &self.functions];
        [&guided[..], &shaped, &called].concat().iter().any(|field| field.is_some())
    }
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The route.
    pub(crate) route: InferenceRoute,
    /// The body to the letter; once the job was made, only if another agent may have to go on.
    pub(crate) body: String,
    /// The model's public name.
    pub(crate) model: String,
    /// Whether the answer comes as server-sent events.
    pub(crate) stream: bool,
    /// How long it waits for an agent, milliseconds.
    pub(crate) deadline_ms: u64,
    /// A hash of the conversation.
    pub(crate) session: Option<String>,
    /// Whether another agent goes on where one breaks off.
    pub(crate) goes_on: bool,
    first_token_ms: u64,
    token_ms: u64,
}

impl Asked {
    /// Reads a request that `owner` made. `longest_ms` bounds its deadline.
    pub(crate) fn read(
        route: InferenceRoute,
        body: String,
        looked_at: Body,
        headers: &HeaderMap,
        owner: &str,
        longest_ms: u64,
    ) -> Result<Self, ApiError> {
        (route, &looked_at).validate()?;
        let goes_on = goes_on(headers, route, &looked_at)?;
        let conversation = header(headers, names::SESSION)?
            .or_else(|| looked_at.user.as_ref().and_then(|user| user.as_str().map(str::to_owned)));
        let stream = looked_at.stream.unwrap_or(false);
        Ok(Self {
            route,
            body,
            stream,
            deadline_ms: ms(headers, names::DEADLINE_MS, DEADLINE_MS)?.min(longest_ms),
            session: conversation.filter(|c| !c.is_empty()).map(|c| session(owner, &looked_at.model, &c)),
            goes_on,
            first_token_ms: first_token_ms(headers, stream)?,
            token_ms: ms(headers, names::TOKEN_MS, TOKEN_MS)?,
            model: looked_at.model,
        })
    }

    /// The job that asks. The body goes with it, unless another agent may have to go on: it may be long, and so may the answer
    /// take.
    pub(crate) fn job(&mut self) -> SubmitJob {
        let body = if self.goes_on { self.body.clone() } else { std::mem::take(&mut self.body) };
        job(self.with_body(body))
    }

    /// What is asked, in other words.
    pub(crate) fn with_body(&self, body: String) -> InferenceSpec {
        InferenceSpec {
            model: self.model.clone(),
            route: self.route,
            body,
            stream: self.stream,
            continues: false,
            first_token_timeout_ms: self.first_token_ms,
            token_timeout_ms: self.token_ms,
            load_timeout_ms: LOAD_MS,
        }
    }
}

/// A job that asks a model.
pub(crate) fn job(inference: InferenceSpec) -> SubmitJob {
    SubmitJob {
        kind: JobKind::Inference,
        inference: Some(inference),
        max_attempts: ATTEMPTS,
        backoff_ms: 0,
        ..SubmitJob::default()
    }
}

/// A job that asks nothing yet: for a ticket.
pub(crate) fn job_without_body(model: &str) -> SubmitJob {
    let spec = InferenceSpec {
        model: model.to_owned(),
        route: InferenceRoute::ChatCompletions,
        body: String::new(),
        stream: false,
        continues: false,
        first_token_timeout_ms: FIRST_TOKEN_MS,
        token_timeout_ms: TOKEN_MS,
        load_timeout_ms: LOAD_MS,
    };
    SubmitJob { max_attempts: 1, ..job(spec) }
}

/// A conversation's hash: of one key and one model.
pub(crate) fn session(owner: &str, model: &str, conversation: &str) -> String {
    let text = format!("{owner}\n{model}\n{conversation}");
    let mut first = [0; 16];
    first.copy_from_slice(&digest(&SHA256, text.as_bytes()).as_ref()[..16]);
    format!("{:032x}", u128::from_be_bytes(first))
}

impl Validate for (InferenceRoute, &Body) {
    fn check(&self, f: &mut Findings) {
        let (route, body) = self;
        f.model_name("model", &body.model);
        if *route == InferenceRoute::ChatCompletions {
            let messages = body.messages.as_deref().unwrap_or_default();
            f.require(!messages.is_empty(), "messages", || "must be a list that is not empty".to_owned());
            f.each("messages", messages, |f, message| {
                f.require(!message.role.is_empty(), "role", || "is empty".to_owned());
            });
        }
    }
}

/// What `X-Titan-Failover: continue` asks for, where that can be done.
fn goes_on(headers: &HeaderMap, route: InferenceRoute, body: &Body) -> Result<bool, ApiError> {
    let Some(wish) = header(headers, names::FAILOVER)? else { return Ok(false) };
    let wrong = |what: &str| Err(ApiError::BadRequest(format!("X-Titan-Failover: continue {what}")));
    let several = body.n.as_ref().is_some_and(|n| *n != 1);
    let logprobs = body.logprobs.as_ref().is_some_and(|on| *on != serde_json::Value::Bool(false) && !on.is_null());
    if wish != "continue" {
        wrong("is the only thing that this header can say")
    } else if route != InferenceRoute::ChatCompletions || !body.stream.unwrap_or(false) {
        wrong("is for chat completions that are streamed")
    } else if body.is_bound() || several || logprobs {
        wrong("can't be had with tools, a response format, guided decoding, logprobs or n > 1")
    } else {
        Ok(true)
    }
}

fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if value.len() > limits::TEXT_BYTES {
        let most = limits::TEXT_BYTES;
        return Err(ApiError::BadRequest(format!("the header {name} is longer than {most} characters")));
    }
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.map(|text| Some(text.to_owned()))
        .ok_or_else(|| ApiError::BadRequest(format!("the header {name} must be there once, in printable ASCII")))
}

/// How long the backend may take to its first byte: for an answer that is not streamed, to all of it.
fn first_token_ms(headers: &HeaderMap, stream: bool) -> Result<u64, ApiError> {
    let usual = if stream { FIRST_TOKEN_MS } else { ANSWER_MS };
    let first_token_ms = ms(headers, names::FIRST_TOKEN_MS, usual)?;
    let answer_ms = ms(headers, names::ANSWER_MS, first_token_ms)?;
    Ok(if stream { first_token_ms } else { answer_ms })
}

fn ms(headers: &HeaderMap, name: &str, usual: u64) -> Result<u64, ApiError> {
    let Some(text) = header(headers, name)? else { return Ok(usual) };
    let good = text.parse().ok().filter(|ms| (1..=limits::INFERENCE_TIMEOUT_MS).contains(ms));
    good.ok_or_else(|| {
        ApiError::BadRequest(format!(
            "the header {name} must be milliseconds from 1 to {}",
            limits::INFERENCE_TIMEOUT_MS
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value, headers: &[(&'static str, &str)]) -> Result<Asked, ApiError> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let looked_at = serde_json::from_value(body.clone()).unwrap();
        Asked::read(InferenceRoute::ChatCompletions, body.to_string(), looked_at, &headers, "me", 60_000)
    }

    fn chat() -> Value {
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
    }

    #[test]
    fn headers_bound_a_request_and_what_they_say_must_make_sense() {
        assert_eq!(read(&chat(), &[]).unwrap().deadline_ms, 60_000);
        assert_eq!(read(&chat(), &[("x-titan-deadline-ms", "250")]).unwrap().deadline_ms, 250);
        assert_eq!(read(&chat(), &[("x-titan-deadline-ms", "600000")]).unwrap().deadline_ms, 60_000);
        for wrong in ["", "0", "-1", "1e3", "99999999999", "soon"] {
            assert!(read(&chat(), &[("x-titan-token-ms", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_body_is_kept_only_if_another_agent_may_have_to_go_on() {
        for (headers, kept) in [(&[][..], String::new()), (&[("x-titan-failover", "continue")], chat().to_string())] {
            let mut asked = read(&chat(), headers).unwrap();
            assert_eq!(asked.job().inference.unwrap().body, chat().to_string());
            assert_eq!(asked.body, kept);
        }
    }

    #[test]
    fn an_answer_that_is_not_streamed_has_a_limit_of_its_own() {
        let limit = |stream: bool, headers: &[(&'static str, &str)]| {
            let mut body = chat();
            body["stream"] = json!(stream);
            read(&body, headers).unwrap().job().inference.unwrap().first_token_timeout_ms
        };
        let (first, answer) = (("x-titan-first-token-ms", "5000"), ("x-titan-answer-ms", "700000"));
        assert_eq!((limit(true, &[]), limit(false, &[])), (120_000, 600_000));
        assert_eq!((limit(true, &[first]), limit(false, &[first])), (5_000, 5_000));
        assert_eq!((limit(true, &[first, answer]), limit(false, &[first, answer])), (5_000, 700_000));
        assert_eq!((limit(true, &[answer]), limit(false, &[answer])), (120_000, 700_000));
        assert!(read(&chat(), &[("x-titan-answer-ms", "0")]).is_err());
    }

    #[test]
    fn a_conversation_is_named_by_the_header_or_by_the_user_and_belongs_to_a_key() {
        let by_header = read(&chat(), &[("x-titan-session", "talk")]).unwrap().session.unwrap();
        let mut body = chat();
        body["user"] = json!("talk");
        assert_eq!(read(&body, &[]).unwrap().session, Some(by_header.clone()));
        assert_ne!(session("somebody else", "m", "talk"), by_header);
        assert_eq!(read(&chat(), &[]).unwrap().session, None);
    }

    #[test]
    fn another_agent_can_go_on_with_plain_text_only() {
        let wish = [("x-titan-failover", "continue")];
        assert!(read(&chat(), &wish).unwrap().goes_on);
        for (field, value) in [
            ("stream", json!(false)),
            ("tools", json!([])),
            ("functions", json!([])),
            ("grammar", json!("")),
            ("response_format", json!({"type": "json_object"})),
            ("guided_json", json!({})),
            ("logprobs", json!(true)),
            ("n", json!(2)),
        ] {
            let mut body = chat();
            body[field] = value;
            body["tool_choice"] = json!("auto");
            assert!(read(&body, &wish).is_err(), "{field}");
            assert!(read(&body, &[]).is_ok(), "{field}");
        }
        assert!(read(&chat(), &[("x-titan-failover", "perhaps")]).is_err());
    }

    #[test]
    fn messages_must_be_there_and_have_roles() {
        for messages in [json!(null), json!([]), json!([{"role": ""}])] {
            let mut body = chat();
            body["messages"] = messages;
            assert!(matches!(read(&body, &[]), Err(ApiError::Invalid(_))), "{body}");
        }
    }
}
