//! What is asked of a model besides the words: the same flags for a conversation and for one question.

use std::num::NonZeroU32;

use clap::Args;
use serde_json::{Map, Value, json};
use titan_api::client::ChatWish;

use super::conversation::Message;

/// How a model is to answer.
#[derive(Debug, Clone, Default, Args)]
pub struct Wish {
    /// What the model is told before anything else.
    #[arg(short, long, value_name = "TEXT")]
    pub system: Option<String>,
    /// The longest answer, in tokens; as long as the model likes by default.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<NonZeroU32>,
    /// How much is left to chance, 0 to 2; as the model's server likes by default.
    #[arg(long, value_name = "T", value_parser = temperature)]
    pub temperature: Option<f64>,
    /// If the agent fails in the middle of an answer, let another one go on with it.
    #[arg(long)]
    pub failover: bool,
    /// The conversation that this belongs to: the agent that has it warm goes before.
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
}

impl Wish {
    /// What is wanted of the coordinator.
    #[must_use]
    pub fn of_coordinator(&self) -> ChatWish {
        ChatWish { failover: self.failover, session: self.session.clone() }
    }

    /// The body of the request.
    #[must_use]
    pub fn body(&self, model: &str, messages: &[Message], stream: bool) -> Value {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(model));
        body.insert("messages".to_owned(), json!(messages));
        if stream {
            body.insert("stream".to_owned(), json!(true));
        }
        if let Some(most) = self.max_tokens {
            body.insert("max_tokens".to_owned(), json!(most));
        }
        if let Some(temperature) = self.temperature {
            body.insert("temperature".to_owned(), json!(temperature));
        }
        Value::Object(body)
    }
}

fn temperature(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it must be a number such as 0.7".to_owned())?;
    if (0.0..=2.0).contains(&value) { Ok(value) } else { Err("it must be between 0 and 2".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asked_for_is_not_in_the_body() {
        let body = Wish::default().body("m", &[Message::user("hi")], false);
        assert_eq!(body, json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}));
        let wish = Wish { max_tokens: NonZeroU32::new(5), temperature: Some(0.0), ..Wish::default() };
        let body = wish.body("m", &[], true);
        assert_eq!(body, json!({"model": "m", "messages": [], "stream": true, "max_tokens": 5, "temperature": 0.0}));
        assert!(temperature("2.1").is_err() && temperature("NaN").is_err() && temperature("hot").is_err());
    }
}
