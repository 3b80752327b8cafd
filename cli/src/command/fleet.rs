//! `podfleet queues`, `podfleet workers` and `podfleet erasures`: what the fleet is at.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;

use crate::args::Fleet;
use crate::client::Client;
use crate::output::{columns, print, print_json, relative, remark, spoken};

pub(crate) async fn queues(Fleet { server }: Fleet) -> anyhow::Result<()> {
    let answer = Client::new(&server)?.get("/v1/queues").await?;
    if server.json {
        return print_json(&answer);
    }
    let counted_to = answer["counted_to"].as_i64().context("reading the server's answer")?;
    let rows = list(&answer, "queues")?.iter().map(|lane| queue(lane, counted_to)).collect();
    print(columns(&["QUEUE", "WAITING", "OLDEST", "IN FLIGHT"], rows))?;
    let pauses = list(&answer, "pauses")?.len();
    if pauses > 0 {
        remark(format_args!("{pauses} pauses hold work back; `podfleet pauses` lists them"));
    }
    Ok(())
}

fn queue(lane: &Value, counted_to: i64) -> Vec<String> {
    let count = |field: &str| match lane[field].as_i64().unwrap_or_default() {
        count if count >= counted_to => format!("{count} or more"),
        count => count.to_string(),
    };
    let oldest = lane["oldest_waiting_seconds"].as_u64().map(|age| spoken(Duration::from_secs(age)));
    vec![text(lane, "queue"), count("waiting"), oldest.unwrap_or_default(), count("in_flight")]
}

pub(crate) async fn workers(Fleet { server }: Fleet) -> anyhow::Result<()> {
    let answer = Client::new(&server)?.get("/v1/workers").await?;
    if server.json {
        return print_json(&answer);
    }
    let workers = list(&answer, "workers")?;
    if workers.is_empty() {
        remark(
            "no worker was heard of in the last seconds: nothing is done until one runs (`podfleet worker`)",
        );
        return Ok(());
    }
    let header = ["WORKER", "HOST", "PID", "VERSION", "IN HAND", "DOES AT A TIME", "HEARD"];
    print(columns(&header, workers.iter().map(worker).collect()))
}

fn worker(worker: &Value) -> Vec<String> {
    let permits = worker["permits"].as_object().into_iter().flatten();
    let permits: Vec<String> = permits.map(|(kind, count)| format!("{count} {kind}")).collect();
    let age = spoken(Duration::from_millis(worker["heard_ms_ago"].as_u64().unwrap_or_default()));
    let leaves = if worker["draining"] == true { ", and leaves" } else { "" };
    vec![
        text(worker, "worker"),
        text(worker, "host"),
        worker["pid"].to_string(),
        text(worker, "version"),
        worker["holding"].to_string(),
        permits.join(", "),
        format!("{age} ago{leaves}"),
    ]
}

pub(crate) async fn erasures(Fleet { server }: Fleet) -> anyhow::Result<()> {
    let answer = Client::new(&server)?.get("/v1/erasures").await?;
    if server.json {
        return print_json(&answer);
    }
    let erasures = list(&answer, "erasures")?;
    if erasures.is_empty() {
        remark("nothing was erased");
        return Ok(());
    }
    let now = Timestamp::now();
    let header = ["PODCAST", "ERASED", "BY", "BLOBS", "REASON"];
    print(columns(&header, erasures.iter().map(|erasure| row(erasure, now)).collect()))
}

fn row(erasure: &Value, now: Timestamp) -> Vec<String> {
    let at = erasure["at"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let blobs = match (erasure["done_at"].is_string(), erasure["blobs_left"].as_i64()) {
        (true, _) => "gone".into(),
        (false, left) => format!("{} left", left.unwrap_or_default()),
    };
    vec![
        text(erasure, "podcast"),
        at.map(|at| relative(at, now)).unwrap_or_default(),
        text(erasure, "by"),
        blobs,
        text(erasure, "reason"),
    ]
}

fn list<'a>(answer: &'a Value, name: &str) -> anyhow::Result<&'a Vec<Value>> {
    answer[name].as_array().context("reading the server's answer")
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_that_were_cut_off_say_so() {
        let lane = json!({"queue": "q", "waiting": 100, "in_flight": 3, "oldest_waiting_seconds": 65});
        assert_eq!(queue(&lane, 100), ["q", "100 or more", "1 min 5 s", "3"]);
        assert_eq!(queue(&json!({"queue": "q", "waiting": 0, "in_flight": 0}), 100), ["q", "0", "", "0"]);
    }

    #[test]
    fn a_worker_that_leaves_is_told_from_one_that_works() {
        let mut seen = json!({
            "worker": "w", "host": "h", "pid": 7, "version": "1", "permits": {"script": 2, "tts": 8}, "holding": 5, "draining": false,
            "heard_ms_ago": 2_100
        });
        assert_eq!(worker(&seen), ["w", "h", "7", "1", "5", "2 script, 8 tts", "2 s ago"]);
        seen["draining"] = json!(true);
        assert_eq!(worker(&seen)[6], "2 s ago, and leaves");
    }

    #[test]
    fn an_erasure_tells_what_is_left() {
        let mut erasure = json!({"podcast": "p", "at": "2026-01-01T00:00:00Z", "by": "kim", "reason": "asked", "blobs_left": 3});
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(row(&erasure, now), ["p", "1 min ago", "kim", "3 left", "asked"]);
        erasure["done_at"] = json!("2026-01-01T00:00:30Z");
        assert_eq!(row(&erasure, now)[3], "gone");
    }
}
