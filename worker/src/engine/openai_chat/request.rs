//! The body of a question to a language model.

use common::config::Engine;
use serde_json::{Value, json};

use super::prompt::Prompt;
use crate::engine::openai_http::pool::{Format, Quirks};

/// In a form that the server understands.
pub(super) fn body(settings: &Engine, prompt: &Prompt, quirks: Quirks) -> Value {
    let schema = match quirks.format {
        // The server knows it; saying it twice costs tokens.
        Format::JsonSchema => String::new(),
        Format::JsonObject | Format::Prompt => {
            format!("The JSON object fits this schema: {}\n", prompt.schema)
        }
    };
    let user = format!("{}{schema}Answer with the JSON object only.", prompt.user);
    let mut body = json!({
        "model": settings.model.as_deref().unwrap_or_default(),
        "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": user}],
        "stream": true,
    });
    match quirks.format {
        Format::JsonSchema => {
            body["response_format"] = json!({"type": "json_schema", "json_schema": {
                "name": prompt.name, "strict": true, "schema": prompt.schema,
            }});
        }
        Format::JsonObject => body["response_format"] = json!({"type": "json_object"}),
        Format::Prompt => {}
    }
    let limit = if quirks.completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    body[limit] = json!(settings.max_output_tokens);
    if !quirks.no_stream_options {
        body["stream_options"] = json!({"include_usage": true});
    }
    if let Some(temperature) = settings.temperature.filter(|_| !quirks.no_temperature) {
        body["temperature"] = json!(temperature);
    }
    body
}
