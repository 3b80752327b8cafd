//! The description as a page: no script, one style sheet of ours, so it can be read without a network and under a strict
//! policy.

use std::fmt::Write;

use serde_json::Value;

pub(in crate::http) const STYLE: &str = include_str!("page.css");

/// Everything that the description says, for people.
pub(in crate::http) fn page(document: &Value) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Podfleet API</title><link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body><main>",
    );
    let info = &document["info"];
    let _ = write!(
        html,
        "<h1>{} API <small>{}</small></h1><p>{}</p><p>The same for programs: <a href=\"/openapi.json\">OpenAPI</a>, \
         <a href=\"/asyncapi.json\">AsyncAPI</a>.</p>",
        text(&info["title"]),
        text(&info["version"]),
        text(&info["description"]),
    );
    let groups = groups(document);
    html.push_str("<nav aria-label=\"Routes\"><ul>");
    for (group, operations) in &groups {
        let _ = write!(html, "<li>{}<ul>", escaped(group));
        for (method, path, operation) in operations {
            let id = text(&operation["operationId"]);
            let _ = write!(
                html,
                "<li><a href=\"#{id}\"><code>{} {}</code></a></li>",
                method.to_uppercase(),
                escaped(path)
            );
        }
        html.push_str("</ul></li>");
    }
    html.push_str("</ul></nav>");
    for (group, operations) in &groups {
        let _ = write!(html, "<h2>{}</h2>", escaped(group));
        for (method, path, operation) in operations {
            describe(&mut html, method, path, operation);
        }
    }
    html.push_str("<h2>Schemas</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let name = escaped(name);
        let _ = write!(html, "<section id=\"schema-{name}\"><h3>{name}</h3>{}</section>", json(schema));
    }
    html.push_str("</main></body></html>");
    html
}

type Described<'a> = (&'a str, &'a str, &'a Value);

/// Operations by their group, each group where its first stands.
fn groups(document: &Value) -> Vec<(&str, Vec<Described<'_>>)> {
    let mut groups: Vec<(&str, Vec<Described<'_>>)> = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let group = operation["tags"][0].as_str().unwrap_or_default();
            let described = (method.as_str(), path.as_str(), operation);
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, operations)) => operations.push(described),
                None => groups.push((group, vec![described])),
            }
        }
    }
    groups
}

fn describe(html: &mut String, method: &str, path: &str, operation: &Value) {
    let id = text(&operation["operationId"]);
    let _ = write!(
        html,
        "<section id=\"{id}\"><h3><code>{} {}</code></h3><p>{}. {}</p>",
        method.to_uppercase(),
        escaped(path),
        text(&operation["summary"]),
        text(&operation["description"]),
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        html.push_str("<table><caption>Parameters</caption><tr><th>name<th>in<th>what</tr>");
        for one in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code><td>{}<td>{} {}</tr>",
                text(&one["name"]),
                text(&one["in"]),
                text(&one["description"]),
                kind(&one["schema"]),
            );
        }
        html.push_str("</table>");
    }
    if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
        let _ = write!(html, "<p>Body: {}</p>", kind(schema));
    }
    html.push_str("<table><caption>Answers</caption><tr><th>status<th>what<th>body</tr>");
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let bodies = answer["content"].as_object().into_iter().flatten();
        let bodies: Vec<String> = bodies
            .map(|(media_type, body)| {
                format!("{} <code>{}</code>", kind(&body["schema"]), escaped(media_type))
            })
            .collect();
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}</tr>",
            escaped(status),
            text(&answer["description"]),
            bodies.join(", ")
        );
    }
    html.push_str("</table></section>");
}

/// A named schema as a link to it, another one in one line.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        let name = escaped(name);
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if schema.is_null() { String::new() } else { format!("<code>{}</code>", escaped(&schema.to_string())) }
}

fn json(schema: &Value) -> String {
    format!("<pre>{}</pre>", escaped(&serde_json::to_string_pretty(schema).unwrap_or_default()))
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_operation_and_every_link_leads_somewhere() {
        let document = super::super::document();
        let page = page(&document);
        for path in document["paths"].as_object().unwrap().keys() {
            assert!(page.contains(&escaped(path)), "{path}");
        }
        for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
        }
        for forbidden in ["<script", "style=", "src="] {
            let found = page.find(forbidden).map(|at| &page[at..(at + 60).min(page.len())]);
            assert!(found.is_none(), "{found:?}");
        }
    }

    #[test]
    fn what_is_shown_is_text() {
        let told = serde_json::json!({"info": {"title": "<script>\"&"}});
        assert!(page(&told).contains("&lt;script&gt;&quot;&amp; API"));
    }
}
