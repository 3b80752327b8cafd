//! The API's description (OpenAPI 3.1), made of the types that are read and written and of the table of routes. What every
//! route has in common (its id, its role, its refusals) is said here once; what is its own stands in [`operations`].

mod operations;
pub(super) mod page;

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::door::Access;
use super::problem;
use super::routes::{ROUTES, Route};

/// Where schemas lie in the document.
const SCHEMAS: &str = "/components/schemas";

/// A type's schema, and those that it refers to are added to the generator's.
type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What is a route's own.
pub(super) struct Operation {
    method: &'static str,
    path: &'static str,
    group: &'static str,
    summary: &'static str,
    query: Option<Shape>,
    body: Option<Shape>,
    headers: &'static [Header],
    answers: Vec<(u16, Answer)>,
    refuses: &'static [u16],
}

/// A header of a request that means something to a route.
struct Header {
    name: &'static str,
    description: &'static str,
    example: &'static str,
}

/// What comes back.
enum Answer {
    Json(Shape),
    /// Of another media type.
    File(&'static str),
    Nothing(&'static str),
}

impl Operation {
    fn new(
        method: &'static str,
        path: &'static str,
        group: &'static str,
        summary: &'static str,
    ) -> Operation {
        Operation {
            method,
            path,
            group,
            summary,
            query: None,
            body: None,
            headers: &[],
            answers: Vec::new(),
            refuses: &[],
        }
    }

    fn query<T: JsonSchema>(mut self) -> Operation {
        self.query = Some(T::json_schema);
        self
    }

    fn body<T: JsonSchema>(mut self) -> Operation {
        self.body = Some(SchemaGenerator::subschema_for::<T>);
        self
    }

    fn headers(mut self, headers: &'static [Header]) -> Operation {
        self.headers = headers;
        self
    }

    fn json<T: JsonSchema>(mut self, status: u16) -> Operation {
        self.answers.push((status, Answer::Json(SchemaGenerator::subschema_for::<T>)));
        self
    }

    fn file(mut self, status: u16, media_type: &'static str) -> Operation {
        self.answers.push((status, Answer::File(media_type)));
        self
    }

    fn nothing(mut self, status: u16, description: &'static str) -> Operation {
        self.answers.push((status, Answer::Nothing(description)));
        self
    }

    /// Beyond what any route refuses.
    fn refuses(mut self, statuses: &'static [u16]) -> Operation {
        self.refuses = statuses;
        self
    }
}

/// The whole document.
pub(super) fn document() -> Value {
    let (paths, mut schemas, read) = described();
    schemas.extend(read);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Podfleet",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Podcasts from a topic or a text.",
            "description": "Every error is a problem (RFC 9457) with field, reason and remedy. A key belongs to a tenant and has a \
                            role; what is another tenant's is 404, like what does not exist. Requests over AMQP and events are \
                            described in /asyncapi.json.",
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "`podfleet keys create` makes keys."},
                "feed": {"type": "apiKey", "in": "query", "name": "token", "description": "`POST /v1/feed/token` makes it."},
            },
        },
    })
}

type Paths = BTreeMap<&'static str, Map<String, Value>>;

/// Every path, the schemas of what is written, and those of what is read. They differ: a field with a default may be missing
/// in what is read, and never is in what is written.
fn described() -> (Paths, Map<String, Value>, Map<String, Value>) {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        })
    };
    let mut read = settings().for_deserialize().into_generator();
    let mut written = settings().for_serialize().into_generator();
    let problem = written.subschema_for::<problem::Described>();
    let mut paths = Paths::new();
    for operation in operations::all() {
        let access = route(&operation).map_or(Access::Public, |route| route.access);
        let told = operation.told(access, &mut read, &mut written, &problem);
        paths.entry(operation.path).or_default().insert(operation.method.to_ascii_lowercase(), told);
    }
    (paths, written.take_definitions(true), read.take_definitions(true))
}

fn route(operation: &Operation) -> Option<&'static Route> {
    ROUTES.iter().find(|route| route.path == operation.path && route.method == operation.method)
}

impl Operation {
    fn told(
        &self,
        access: Access,
        read: &mut SchemaGenerator,
        written: &mut SchemaGenerator,
        problem: &Schema,
    ) -> Value {
        let mut told = json!({
            "operationId": self.id(),
            "tags": [self.group],
            "summary": self.summary,
            "parameters": self.parameters(read),
            "responses": self.responses(access, written, problem),
        });
        if let Some(role) = access.role() {
            told["description"] = format!("Needs the role `{role}`, or one above it.").into();
            told["security"] = if access == Access::Plays {
                json!([{"key": []}, {"feed": []}])
            } else {
                json!([{"key": []}])
            };
            told["x-podfleet-role"] = role.as_str().into();
        } else {
            told["security"] = json!([]);
        }
        if let Some(body) = self.body {
            told["requestBody"] =
                json!({"required": true, "content": {"application/json": {"schema": body(read)}}});
        }
        told
    }

    /// `POST /v1/dead-letters/{id}/replay` is `post_dead_letters_id_replay`.
    fn id(&self) -> String {
        let words = self.path.trim_start_matches("/v1").split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        format!("{}_{}", self.method.to_ascii_lowercase(), words.join("_"))
    }

    fn parameters(&self, read: &mut SchemaGenerator) -> Value {
        let mut parameters = Vec::new();
        if self.path.contains("{id}") {
            let schema = json!({"type": "string", "format": "uuid"});
            parameters.push(json!({"name": "id", "in": "path", "required": true, "schema": schema}));
        }
        if let Some(query) = self.query {
            parameters.extend(in_query(query(read)));
        }
        for Header { name, description, example } in self.headers {
            parameters.push(json!({
                "name": name, "in": "header", "required": false, "description": description, "example": example,
                "schema": {"type": "string"},
            }));
        }
        parameters.into()
    }

    fn responses(&self, access: Access, written: &mut SchemaGenerator, problem: &Schema) -> Value {
        let mut responses = Map::new();
        for (status, answer) in &self.answers {
            let mut told = match answer {
                Answer::Json(shape) => json!({"content": {"application/json": {"schema": shape(written)}}}),
                Answer::File(media_type) => json!({"content": {*media_type: {}}}),
                Answer::Nothing(_) => json!({}),
            };
            told["description"] = match answer {
                Answer::Nothing(description) => *description,
                Answer::Json(_) | Answer::File(_) => reason(*status),
            }
            .into();
            responses.insert(status.to_string(), told);
        }
        for status in self.refusals(access) {
            let content = json!({"application/problem+json": {"schema": problem}});
            let mut told = json!({"description": reason(status), "content": content});
            if matches!(status, 429 | 503) {
                let schema = json!({"type": "integer", "minimum": 0});
                told["headers"] = json!({"Retry-After": {"description": "Seconds.", "schema": schema}});
            }
            responses.entry(status.to_string()).or_insert(told);
        }
        if self.method == "GET" && self.answers.iter().any(|(_, answer)| matches!(answer, Answer::Json(_))) {
            let known = "It is what `If-None-Match` names.";
            responses.insert("304".into(), json!({"description": known}));
        }
        responses.into()
    }

    /// What any route like this may answer instead.
    fn refusals(&self, access: Access) -> Vec<u16> {
        let mut statuses = self.refuses.to_vec();
        if access.role().is_some() {
            statuses.extend([401, 403, 429, 503]);
        }
        if self.path.contains("{id}") {
            statuses.extend([400, 404]);
        }
        if self.query.is_some() {
            statuses.push(400);
        }
        if self.body.is_some() {
            statuses.extend([400, 408, 413, 415, 422]);
        }
        // Pages of others are kept out of a machine that is trusted without a key.
        statuses.push(403);
        statuses
    }
}

/// The fields of a query string.
fn in_query(schema: Schema) -> Vec<Value> {
    let schema = schema.to_value();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(fields) = schema["properties"].as_object() else { return Vec::new() };
    let parameter = |(name, field): (&String, &Value)| {
        let mut field = field.clone();
        let description = field.as_object_mut().and_then(|field| field.remove("description"));
        let mut told = json!({
            "name": name, "in": "query", "required": required.contains(&json!(name)), "schema": without_null(field),
        });
        if let Some(description) = description {
            told["description"] = description;
        }
        told
    };
    fields.iter().map(parameter).collect()
}

/// What is left out of a query string is not there; it is never null.
fn without_null(mut schema: Value) -> Value {
    if let Some(types) = schema["type"].as_array()
        && let Some(one) = types.iter().find(|kind| **kind != "null")
    {
        schema["type"] = one.clone();
    }
    if let Some(options) = schema["anyOf"].as_array()
        && let Some(one) = options.iter().find(|option| option["type"] != "null")
        && options.len() == 2
    {
        return one.clone();
    }
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.retain(|word| !word.is_null());
    }
    schema
}

fn reason(status: u16) -> &'static str {
    match axum::http::StatusCode::from_u16(status) {
        Ok(status) => status.canonical_reason().unwrap_or("Answer"),
        Err(_) => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Pages for people are no part of the API.
    fn is_described(route: &Route) -> bool {
        route.path.starts_with("/v1/")
            || route.path.starts_with("/schemas/")
            || ["/livez", "/readyz", "/metrics", "/feed.xml", "/openapi.json", "/asyncapi.json"]
                .contains(&route.path)
    }

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let routes: BTreeSet<String> = ROUTES
            .iter()
            .filter(|route| is_described(route))
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        let described: BTreeSet<String> =
            operations::all().iter().map(|one| format!("{} {}", one.method, one.path)).collect();
        assert_eq!(described, routes, "describe each route in producer/src/http/openapi/operations.rs");
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_has_a_name() {
        let document = document();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 30);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let paths = document["paths"].as_object().unwrap().values();
        let ids: Vec<&str> = paths
            .flat_map(|path| path.as_object().unwrap().values())
            .map(|one| one["operationId"].as_str().unwrap())
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }

    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }

    /// Two types of one name, or one that is read otherwise than it is written, would describe each other.
    #[test]
    fn no_name_stands_for_two_schemas() {
        let (_, written, read) = described();
        let numbered: Vec<&String> = written
            .keys()
            .chain(read.keys())
            .filter(|name| name.ends_with(|c: char| c.is_ascii_digit()))
            .collect();
        assert!(numbered.is_empty(), "give each a name of its own: {numbered:?}");
        for (name, schema) in &read {
            assert!(
                written.get(name).is_none_or(|other| other == schema),
                "{name} is read otherwise than written"
            );
        }
    }

    #[test]
    fn a_query_has_no_null() {
        let schema = json!({"type": ["string", "null"], "enum": ["a", null]});
        assert_eq!(without_null(schema), json!({"type": "string", "enum": ["a"]}));
        let schema = json!({"type": ["string", "null"]});
        assert_eq!(without_null(schema), json!({"type": "string"}));
        let schema = json!({"anyOf": [{"$ref": "#/x"}, {"type": "null"}]});
        assert_eq!(without_null(schema), json!({"$ref": "#/x"}));
    }
}
