//! Plausible content for any JSON schema, or after any example.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::prompt::Wish;
use super::prose::Prose;

/// Schemas may refer to themselves.
const DEEPEST: usize = 24;
/// No array is longer, whatever a schema demands.
const LONGEST_ARRAY: usize = 1000;
/// Nor has an answer more values than this: arrays of arrays multiply.
const MOST_VALUES: usize = 100_000;

/// Fills a schema (JSON Schema 2020-12, the part that structured outputs know).
pub(super) fn fill(schema: &Value, wish: &Wish, prose: &mut Prose) -> Value {
    Maker { root: schema, wish, prose, cycles: BTreeMap::new(), left: None, values: 0 }.value(schema, "", 0)
}

/// Follows an example: its names and nesting, arrays of its first element.
pub(super) fn follow(example: &Value, wish: &Wish, prose: &mut Prose) -> Value {
    fill(&schema_of(example), wish, prose)
}

/// Why OpenAI refuses a schema in strict mode ("Structured outputs", supported schemas): every object lists all its properties
/// as required and allows no others; the root is an object.
pub(super) fn strict_fault(schema: &Value) -> Option<String> {
    if schema.get("type") != Some(&json!("object")) {
        return Some("the root must have \"type\": \"object\"".into());
    }
    strict_fault_at(schema, "", 0)
}

fn strict_fault_at(schema: &Value, path: &str, depth: usize) -> Option<String> {
    let object = schema.as_object().filter(|_| depth <= DEEPEST)?;
    if let Some(properties) = object.get("properties").and_then(Value::as_object) {
        if object.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Some(format!("\"additionalProperties\": false is missing at \"{path}\""));
        }
        let required: Vec<&str> = object
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if let Some(name) = properties.keys().find(|name| !required.contains(&name.as_str())) {
            return Some(format!("\"required\" does not list \"{name}\" at \"{path}\""));
        }
    }
    object.iter().find_map(|(name, value)| match value {
        Value::Array(options) => {
            options.iter().find_map(|option| strict_fault_at(option, &format!("{path}/{name}"), depth + 1))
        }
        // The children of `properties` and `$defs` are schemas; what they are called means nothing.
        Value::Object(children) if name == "properties" || name == "$defs" => children
            .iter()
            .find_map(|(child, value)| strict_fault_at(value, &format!("{path}/{child}"), depth + 1)),
        other => strict_fault_at(other, &format!("{path}/{name}"), depth + 1),
    })
}

fn schema_of(example: &Value) -> Value {
    match example {
        Value::Object(fields) => {
            let properties: Map<_, _> =
                fields.iter().map(|(name, value)| (name.clone(), schema_of(value))).collect();
            json!({"type": "object", "properties": properties})
        }
        Value::Array(items) => json!({"type": "array", "items": items.first().map(schema_of)}),
        Value::String(_) => json!({"type": "string"}),
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(_) => json!({"type": "number"}),
        Value::Null => json!({"type": "null"}),
    }
}

struct Maker<'a> {
    root: &'a Value,
    wish: &'a Wish,
    prose: &'a mut Prose,
    /// How often each enumeration was asked, by its name: speakers take turns.
    cycles: BTreeMap<String, usize>,
    /// Inside of a list of turns: how much is still to be said, and in how many turns.
    left: Option<(f64, usize)>,
    /// Made so far.
    values: usize,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let schema = self.resolve(schema);
        self.values += 1;
        if depth > DEEPEST || self.values > MOST_VALUES {
            return Value::Null;
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array) {
            return self.next_of(name, options);
        }
        let kind = kind(&schema);
        match kind {
            "object" => self.object(&schema, depth),
            "array" => self.array(&schema, name, depth),
            "string" => Value::String(self.string(&schema, name)),
            "integer" | "number" => number(&schema, kind == "integer"),
            "boolean" => Value::Bool(false),
            _ => Value::Null,
        }
    }

    /// Through references and alternatives, to the first that is not null.
    fn resolve(&self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        for _ in 0..DEEPEST {
            let next = if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)).cloned()
            } else {
                ["anyOf", "oneOf", "allOf"].iter().find_map(|word| {
                    let options = schema.get(word)?.as_array()?;
                    options.iter().find(|option| option.get("type") != Some(&json!("null"))).cloned()
                })
            };
            match next {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn next_of(&mut self, name: &str, options: &[Value]) -> Value {
        let turn = self.cycles.entry(name.to_owned()).or_default();
        let chosen = options.get(*turn % options.len().max(1)).cloned().unwrap_or_default();
        *turn += 1;
        chosen
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return json!({}) };
        let made =
            properties.iter().map(|(name, schema)| (name.clone(), self.value(schema, name, depth + 1)));
        Value::Object(made.collect())
    }

    fn array(&mut self, schema: &Value, name: &str, depth: usize) -> Value {
        let bound = |word: &str| schema.get(word).and_then(Value::as_u64).map(|n| n as usize);
        let (least, most) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(LONGEST_ARRAY));
        let is_turns = names(name, &["turn", "line", "dialog", "script", "utter", "segment"]);
        let usual = if is_turns {
            self.wish.turns
        } else if names(name, &["chapter", "section", "part"]) {
            self.wish.chapters
        } else if names(name, &["speaker"]) {
            self.wish.speakers.len()
        } else {
            3
        };
        let count = usual.max(least).min(most).min(LONGEST_ARRAY);
        if is_turns {
            self.left = Some((self.wish.length.0, count));
        }
        let item = schema.get("items").cloned().unwrap_or_else(|| json!({"type": "string"}));
        let items = (0..count).map(|_| self.value(&item, name, depth + 1)).collect();
        if is_turns {
            self.left = None;
        }
        Value::Array(items)
    }

    fn string(&mut self, schema: &Value, name: &str) -> String {
        let text = if names(name, &["speaker", "voice", "host", "name"]) {
            let names: Vec<Value> = self.wish.speakers.iter().map(|name| json!(name)).collect();
            self.next_of(name, &names).as_str().unwrap_or_default().to_owned()
        } else if names(name, &["title", "heading"]) {
            self.prose.title()
        } else if names(name, &["language", "lang"]) {
            if self.wish.language == super::Language::Ko { "ko".into() } else { "en".into() }
        } else if names(name, &["text", "content", "line", "say", "speech", "utter", "turn"]) {
            self.speech()
        } else {
            self.prose.sentence()
        };
        let bound = |word: &str| schema.get(word).and_then(Value::as_u64).map(|n| n as usize);
        self.fit(text, bound("minLength").unwrap_or(0), bound("maxLength"))
    }

    /// A share of what is left to say.
    fn speech(&mut self) -> String {
        let unit = self.wish.length.1;
        let (left, turns) = self.left.unwrap_or((self.wish.length.0 / self.wish.turns.max(1) as f64, 1));
        let text = self.prose.passage(left / turns.max(1) as f64, unit);
        if let Some((left, turns)) = &mut self.left {
            *left -= unit.count(&text);
            *turns = turns.saturating_sub(1);
        }
        text
    }

    fn fit(&mut self, mut text: String, least: usize, most: Option<usize>) -> String {
        while text.chars().count() < least.min(100_000) {
            text.push(' ');
            text.push_str(&self.prose.sentence());
        }
        match most.and_then(|most| text.char_indices().nth(most)) {
            Some((end, _)) => {
                // At a word's end, if there is one.
                let end = text[..end].rfind(' ').unwrap_or(end);
                text[..end].trim_end().to_owned()
            }
            None => text,
        }
    }
}

fn names(name: &str, words: &[&str]) -> bool {
    let name = name.to_lowercase();
    words.iter().any(|word| name.contains(word))
}

/// The first type that is not null; what a schema without a type must mean.
fn kind(schema: &Value) -> &str {
    let named = match schema.get("type") {
        Some(Value::String(kind)) => Some(kind.as_str()),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    };
    let meant = if schema.get("properties").is_some() {
        "object"
    } else if schema.get("items").is_some() {
        "array"
    } else {
        "string"
    };
    named.unwrap_or(meant)
}

fn number(schema: &Value, whole: bool) -> Value {
    let bound = |word: &str| schema.get(word).and_then(Value::as_f64);
    let least = bound("minimum").or(bound("exclusiveMinimum").map(|least| least + 1.0));
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|most| most - 1.0));
    let value = least.unwrap_or(1.0).min(most.unwrap_or(f64::MAX));
    if whole { json!(value.ceil() as i64) } else { json!(value) }
}

#[cfg(test)]
mod tests {
    use super::super::prompt::Unit;
    use super::*;
    use crate::providers::settings::Language;

    fn wish() -> Wish {
        Wish {
            language: Language::En,
            chapters: 3,
            turns: 8,
            length: (240.0, Unit::Words),
            speakers: vec!["Mina".into(), "Jun".into()],
        }
    }

    fn filled(schema: &Value) -> Value {
        fill(schema, &wish(), &mut Prose::new(Language::En, 1))
    }

    fn script() -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["turns"],
            "properties": {"turns": {"type": "array", "items": {"$ref": "#/$defs/turn"}}},
            "$defs": {"turn": {
                "type": "object", "additionalProperties": false, "required": ["speaker", "text"],
                "properties": {"speaker": {"enum": ["Mina", "Jun"]}, "text": {"type": "string"}},
            }},
        })
    }

    #[test]
    fn scripts_have_turns_in_turn_and_the_length_asked_for() {
        let made = filled(&script());
        let turns = made["turns"].as_array().unwrap();
        let speakers: Vec<&str> = turns.iter().map(|turn| turn["speaker"].as_str().unwrap()).collect();
        assert_eq!(speakers, ["Mina", "Jun"].repeat(4));
        let words: f64 = turns.iter().map(|turn| Unit::Words.count(turn["text"].as_str().unwrap())).sum();
        assert!((words - 240.0).abs() < 15.0, "{words}");
    }

    #[test]
    fn bounds_and_types_are_kept() {
        let made = filled(&json!({"type": "object", "properties": {
            "chapters": {"type": "array", "maxItems": 2, "items": {"type": "object", "properties": {
                "title": {"type": "string", "maxLength": 12}, "brief": {"type": ["string", "null"]},
            }}},
            "facts": {"type": "array", "minItems": 5, "items": {"type": "string", "minLength": 200}},
            "year": {"type": "integer", "minimum": 1900}, "sure": {"type": "boolean"}, "kind": {"const": "x"},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "number", "maximum": 0.5}]},
        }}));
        assert_eq!(made["chapters"].as_array().unwrap().len(), 2);
        assert!(made["chapters"][0]["title"].as_str().unwrap().chars().count() <= 12);
        assert!(made["chapters"][1]["brief"].is_string());
        assert!(made["facts"].as_array().unwrap().iter().all(|fact| fact.as_str().unwrap().len() >= 200));
        assert_eq!((&made["year"], &made["sure"], &made["kind"]), (&json!(1900), &json!(false), &json!("x")));
        assert_eq!(made["maybe"], json!(0.5));
    }

    #[test]
    fn examples_are_followed() {
        let example = json!({"turns": [{"speaker": "…", "text": "…"}]});
        let made = follow(&example, &wish(), &mut Prose::new(Language::En, 1));
        assert_eq!(made["turns"].as_array().unwrap().len(), 8);
        assert_eq!(made["turns"][1]["speaker"], "Jun");
    }

    #[test]
    fn a_schema_that_holds_itself_ends() {
        let schema = json!({"type": "object", "properties": {"child": {"$ref": "#"}}});
        assert!(filled(&schema).is_object());
        let tree =
            json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}});
        assert!(filled(&tree).is_object());
        // A reference to nothing else than itself is given up.
        filled(&json!({"$ref": "#"}));
    }

    #[test]
    fn strict_schemas_are_checked_as_openai_does() {
        assert_eq!(strict_fault(&script()), None);
        let mut loose = script();
        loose["$defs"]["turn"]["additionalProperties"] = json!(true);
        assert!(strict_fault(&loose).unwrap().contains("additionalProperties"));
        let mut optional = script();
        optional["$defs"]["turn"]["required"] = json!(["speaker"]);
        assert!(strict_fault(&optional).unwrap().contains("\"text\""));
        assert!(strict_fault(&json!({"type": "array"})).is_some());
    }
}
