//! `podfleet doctor`: what this broker, this database, this cache, this blob store and these engines really do, each tried out and not
//! looked up, and what that means for a fleet. It leaves nothing behind.

mod blobs;
mod broker;
mod cache;
mod database;
mod engines;

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::args::doctor::{Area, Doctor};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::roles;

/// What one area takes at most: something that hangs is a finding, too.
const LIMIT: Duration = Duration::from_secs(60);

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Ok,
    /// Worth knowing; a fleet works with it.
    Note,
    /// A fleet does not work with it, or may lose something.
    Bad,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    area: Area,
    what: String,
    state: State,
    /// What was seen.
    found: String,
    /// What that means here.
    means: String,
    /// What to do about it, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// The findings of one area, as they come.
#[derive(Debug)]
struct Findings {
    area: Area,
    list: Vec<Finding>,
}

impl Findings {
    fn new(area: Area) -> Findings {
        Findings { area, list: Vec::new() }
    }

    fn add(&mut self, state: State, what: &str, found: impl Into<String>, means: &str) {
        self.list.push(Finding {
            area: self.area,
            what: what.into(),
            state,
            found: found.into(),
            means: means.into(),
            remedy: None,
        });
    }

    fn ok(&mut self, what: &str, found: impl Into<String>, means: &str) {
        self.add(State::Ok, what, found, means);
    }

    fn note(&mut self, what: &str, found: impl Into<String>, means: &str) {
        self.add(State::Note, what, found, means);
    }

    fn bad(&mut self, what: &str, found: impl Into<String>, means: &str, remedy: &str) {
        self.add(State::Bad, what, found, means);
        if let Some(last) = self.list.last_mut() {
            last.remedy = Some(remedy.into());
        }
    }

    /// An error with all its causes.
    fn failed(&mut self, what: &str, error: &anyhow::Error, means: &str, remedy: &str) {
        self.bad(what, format!("{error:#}"), means, remedy);
    }
}

pub(crate) async fn run(config: Option<&Path>, options: Doctor) -> anyhow::Result<()> {
    let config = roles::load(config)?;
    let began = Instant::now();
    let mut findings = Vec::new();
    for area in Area::ALL.into_iter().filter(|area| options.only.is_empty() || options.only.contains(area)) {
        let mut found = Findings::new(area);
        let look = async {
            match area {
                Area::Broker => broker::look(&config.broker, &mut found).await,
                Area::Database => database::look(&config.database, &mut found).await,
                Area::Cache => cache::look(&config.cache, &mut found).await,
                Area::Blobs => blobs::look(&config.blobs, &mut found).await,
                Area::Engines => engines::look(&config, options.free, &mut found).await,
            }
        };
        if tokio::time::timeout(LIMIT, look).await.is_err() {
            let remedy = "Look at the server's own log";
            found.bad("the whole", format!("no end after {LIMIT:?}"), "it hangs", remedy);
        }
        if !options.json {
            print(section(area, &found.list))?;
        }
        findings.extend(found.list);
    }
    let bad = findings.iter().filter(|finding| finding.state == State::Bad).count();
    if options.json {
        print_json(&json!({ "healthy": bad == 0, "findings": findings }))?;
    } else {
        print(format_args!("{} in {:.1} s", verdict(findings.len(), bad), began.elapsed().as_secs_f64()))?;
    }
    if bad == 0 { Ok(()) } else { Err(Failure::Broken(verdict(findings.len(), bad)).into()) }
}

fn verdict(all: usize, bad: usize) -> String {
    match bad {
        0 => format!("all {all} looks found nothing that keeps a fleet from working"),
        1 => format!("1 of {all} looks found something that a fleet does not work with"),
        _ => format!("{bad} of {all} looks found something that a fleet does not work with"),
    }
}

/// One line a finding, and what it means below.
fn section(area: Area, findings: &[Finding]) -> String {
    let mut lines = vec![area.to_string()];
    for finding in findings {
        let mark = match finding.state {
            State::Ok => "ok  ",
            State::Note => "note",
            State::Bad => "BAD ",
        };
        lines.push(format!("  {mark}  {}: {}", finding.what, finding.found));
        lines.push(format!("        {}", finding.means));
        lines.extend(finding.remedy.iter().map(|remedy| format!("        -> {remedy}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The middle one of several durations, in milliseconds.
fn middle_ms(mut durations: Vec<Duration>) -> f64 {
    durations.sort_unstable();
    durations.get(durations.len() / 2).map_or(0.0, |middle| middle.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_it_means_and_what_to_do() {
        let mut found = Findings::new(Area::Database);
        found.ok("version", "15.8", "it is supported");
        found.bad("fsync", "off", "a crash of the machine loses what was accepted", "Turn it on");
        let text = section(Area::Database, &found.list);
        assert!(text.starts_with("database\n  ok    version: 15.8\n        it is supported\n"), "{text}");
        assert!(
            text.contains("BAD   fsync: off\n        a crash") && text.contains("-> Turn it on"),
            "{text}"
        );
        assert_eq!(serde_json::to_value(&found.list[1]).unwrap()["state"], "bad");
        assert!(verdict(3, 1).starts_with("1 of 3 looks"));
    }

    #[test]
    fn the_middle_is_not_moved_by_one_that_is_slow() {
        let ms = |list: &[u64]| middle_ms(list.iter().map(|ms| Duration::from_millis(*ms)).collect());
        assert!((ms(&[1, 900, 2]) - 2.0).abs() < 1e-9);
        assert!(ms(&[]).abs() < 1e-9);
    }
}
