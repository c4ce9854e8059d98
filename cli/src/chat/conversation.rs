//! What was said so far.

use serde::Serialize;

/// One thing that somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// The words.
    pub content: String,
}

impl Message {
    /// What the person said.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user", content: content.into() }
    }
}

/// A conversation: perhaps an instruction, then question and answer in turns.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    messages: Vec<Message>,
}

impl Conversation {
    /// One that has only an instruction, or nothing.
    #[must_use]
    pub fn new(system: Option<&str>) -> Self {
        let instruction = system.map(|text| Message { role: "system", content: text.to_owned() });
        Self { messages: instruction.into_iter().collect() }
    }

    /// The person asks.
    pub fn ask(&mut self, text: &str) {
        self.messages.push(Message::user(text));
    }

    /// The model has answered; an answer that was stopped counts as far as it came. If nothing came the question is taken
    /// back, since models expect question and answer in turns.
    pub fn answer(&mut self, text: String) {
        if text.is_empty() {
            self.messages.pop();
        } else {
            self.messages.push(Message { role: "assistant", content: text });
        }
    }

    /// Everything that was said, in order.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_without_an_answer_is_taken_back() {
        let mut conversation = Conversation::new(Some("be brief"));
        conversation.ask("one");
        conversation.answer("1".to_owned());
        conversation.ask("two");
        conversation.answer(String::new());
        let roles: Vec<_> = conversation.messages().iter().map(|m| m.role).collect();
        assert_eq!(roles, ["system", "user", "assistant"]);
    }
}
