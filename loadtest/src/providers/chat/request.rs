//! A chat request as it is read: the OpenAI wire format, as far as it matters here.

use serde::Deserialize;
use serde_json::Value;

use super::schema;
use crate::providers::faults::{invalid, problem};
use crate::providers::plan::Plan;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) messages: Vec<Message>,
    pub(super) stream: bool,
    pub(super) stream_options: Option<StreamOptions>,
    pub(super) response_format: Option<Format>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamOptions {
    pub(super) include_usage: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Format {
    Text,
    JsonObject,
    JsonSchema { json_schema: Named },
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    #[serde(default)]
    strict: Option<bool>,
    #[serde(default)]
    pub(super) schema: Option<Value>,
}

impl Request {
    /// All messages, one after another.
    pub(super) fn prompt(&self) -> String {
        let mut prompt = String::new();
        for message in &self.messages {
            prompt.push_str(&message.role);
            prompt.push('\n');
            match &message.content {
                Some(Content::Text(text)) => prompt.push_str(text),
                Some(Content::Parts(parts)) => parts.iter().for_each(|part| prompt.push_str(&part.text)),
                None => {}
            }
            prompt.push_str("\n\n");
        }
        prompt
    }

    pub(super) fn schema_name(&self) -> Option<&str> {
        self.named().map(|named| named.name.as_str())
    }

    pub(super) fn named(&self) -> Option<&Named> {
        match &self.response_format {
            Some(Format::JsonSchema { json_schema }) => Some(json_schema),
            _ => None,
        }
    }

    /// Whether an answer in JSON is promised.
    pub(super) fn wants_json(&self) -> bool {
        matches!(self.response_format, Some(Format::JsonObject | Format::JsonSchema { .. }))
    }

    pub(super) fn max_tokens(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// What OpenAI refuses.
    pub(super) fn check(&self) -> Option<Plan> {
        if self.messages.is_empty() {
            return Some(invalid("messages", "there are no messages; give at least one"));
        }
        if matches!(self.response_format, Some(Format::JsonObject))
            && !self.prompt().to_lowercase().contains("json")
        {
            return Some(invalid("messages", "with json_object the messages must contain the word json"));
        }
        let named = self.named()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if named.name.is_empty() || named.name.len() > 64 || !named.name.chars().all(fits) {
            return Some(invalid(
                "response_format",
                "json_schema.name has 1 to 64 of a-z, A-Z, 0-9, _ and -",
            ));
        }
        let strict = named.strict == Some(true);
        let fault = match &named.schema {
            Some(schema) if strict => schema::strict_fault(schema)?,
            Some(schema) if schema.is_object() => return None,
            None if !strict => return None,
            _ => "json_schema.schema is missing".into(),
        };
        let message = format!("invalid schema for response_format '{}': {fault}", named.name);
        Some(problem(
            400,
            "invalid_request_error",
            Some("invalid_json_schema"),
            Some("response_format"),
            &message,
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: Value) -> Request {
        let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(request).unwrap()
    }

    #[test]
    fn messages_may_be_text_or_parts() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let request = read(
            json!({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": parts}]}),
        );
        assert_eq!(request.prompt(), "system\nS\n\nuser\nab\n\n");
    }

    #[test]
    fn what_openai_refuses_is_refused() {
        let check = |more: Value, refused: bool| {
            assert_eq!(read(more.clone()).check().is_some(), refused, "{more}");
        };
        let schema = |strict: bool, schema: Value| {
            json!({"response_format": {"type": "json_schema", "json_schema": {
            "name": "outline", "strict": strict, "schema": schema}}})
        };
        let good = json!({"type": "object", "additionalProperties": false, "required": [], "properties": {}});
        check(json!({}), false);
        check(json!({"messages": []}), true);
        check(json!({"response_format": {"type": "json_object"}}), true);
        check(json!({"response_format": {"type": "text"}}), false);
        check(schema(true, good), false);
        check(schema(true, json!({"type": "object", "properties": {}})), true);
        check(schema(false, json!({"type": "object", "properties": {}})), false);
        check(
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}}),
            true,
        );
    }
}
