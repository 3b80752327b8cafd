//! A report as one HTML page: tables and plots, without scripts, and without anything from elsewhere.

use std::fmt::Write;

use super::document::Document;
use super::figure::Figure;
use super::plot::{bars, distribution, escaped};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}\
    .met{color:#146c2e}.missed{color:#b3261e;font-weight:600}.none{color:#666}figure{margin:1.5rem 0}figcaption{font-weight:600}\
    svg{width:100%;max-width:45rem;font:12px system-ui,sans-serif}rect{fill:#3b6ea8}polyline{fill:none;stroke:#3b6ea8;stroke-width:2}\
    .goal{stroke:#b3261e;stroke-dasharray:4 3}";

/// Series in `details.series` (name, unit, values) become distributions; `details.bars` (title, unit, goal, bars) become bars.
pub fn page(document: &Document) -> String {
    let title = format!("Podfleet: {}", escaped(&document.scenario));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<p>Version {}, {}, seed {}.<br>{}</p>\n",
        escaped(&document.version),
        document.at.strftime("%Y-%m-%d %H:%M UTC"),
        document.seed,
        escaped(&document.machine.to_string()),
    );
    html.push_str(&table(&document.results));
    for plot in document.details["bars"].as_array().into_iter().flatten() {
        let values: Vec<(String, f64)> = plot["bars"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|bar| Some((bar[0].as_str()?.to_owned(), bar[1].as_f64()?)))
            .collect();
        let text = |name: &str| plot[name].as_str().unwrap_or_default();
        if !values.is_empty() {
            html.push_str(&bars(text("title"), text("unit"), &values, plot["goal"].as_f64()));
        }
    }
    for series in document.details["series"].as_array().into_iter().flatten() {
        let values: Vec<f64> =
            series["values"].as_array().into_iter().flatten().filter_map(|v| v.as_f64()).collect();
        let text = |name: &str| series[name].as_str().unwrap_or_default();
        html.push_str(&distribution(text("name"), text("unit"), &values));
    }
    if !document.setup.is_null() {
        let setup = serde_json::to_string_pretty(&document.setup).unwrap_or_default();
        let _ = write!(html, "<h2>How it was measured</h2>\n<pre>{}</pre>\n", escaped(&setup));
    }
    html + "</body></html>\n"
}

fn table(figures: &[Figure]) -> String {
    let mut html =
        "<table><tr><th>what</th><th>value</th><th>reference</th><th>ratio</th><th>goal</th><th></th></tr>\n"
            .to_owned();
    for figure in figures {
        let class = match figure.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "none",
        };
        let cells: Vec<String> = figure.cells().iter().map(|cell| escaped(cell)).collect();
        let note = match (&figure.reason, figure.value) {
            (Some(reason), Some(_)) => format!("<br><small>{}</small>", escaped(reason)),
            _ => String::new(),
        };
        let _ = writeln!(
            html,
            "<tr><td>{}{note}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{}</td></tr>",
            cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]
        );
    }
    html + "</table>\n"
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::probe::Machine;
    use crate::report::Goal;

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_runs_nothing() {
        let document = Document {
            scenario: "light".into(),
            seed: 1,
            at: Timestamp::UNIX_EPOCH,
            version: "<1>".into(),
            machine: Machine::default(),
            setup: json!({"workers": 2}),
            results: vec![
                Figure::new("a", "a <b>", 1.0, "s").goal(Goal::Under(2.0)),
                Figure::new("c", "c", None, "s").because("no & none"),
            ],
            details: json!({
                "bars": [{"title": "t", "unit": "s", "goal": 2.0, "bars": [["x", 1.0]]}],
                "series": [{"name": "n", "unit": "s", "values": [1.0, 2.0]}],
            }),
        };
        let page = page(&document);
        for absent in ["<script", "http://", "https://", "src=", "a <b>", "<1>"] {
            assert!(!page.contains(absent), "{absent}: {page}");
        }
        for present in [
            "a &lt;b&gt;",
            "no &amp; none",
            "class=\"met\">met",
            "<polyline",
            "<rect",
            "&quot;workers&quot;: 2",
        ] {
            assert!(page.contains(present), "{present}: {page}");
        }
    }
}
