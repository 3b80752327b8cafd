//! What cannot be done is refused with the field, the reason and what would be right, and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::amqp;
use common::config::Broker;
use common::topology;
use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Servers, Setup};

/// Body, status, field, words of the answer.
fn refusals() -> Vec<(String, u16, &'static str, &'static str)> {
    let source = |rest: &str| format!(r#"{{"source": {{"text": "Hello there."}}{rest}}}"#);
    let long = format!(r#"{{"source": {{"text": "{}"}}}}"#, "a ".repeat(500_001));
    vec![
        (String::new(), 400, "body", "empty"),
        ("{".into(), 400, "body", "not valid JSON"),
        (r#"{"colour": 1}"#.into(), 422, "colour", "unknown field"),
        ("{}".into(), 422, "body", "neither a topic nor a source"),
        (r#"{"topic": "tides"}"#.into(), 422, "topic", "topic alone"),
        (long, 422, "source.text", "at most 1000000"),
        (source(r#", "target_minutes": 0"#), 422, "target_minutes", "1 to 180"),
        (source(r#", "target_minutes": 600"#), 422, "target_minutes", "1 to 180"),
        (source(r#", "language": "tlh""#), 422, "language", "cannot do"),
        (source(r#", "language": "ja""#), 422, "language", "espeak"),
        (source(r#", "speakers": [{"name": "A", "voice": "nobody"}]"#), 422, "speakers[0].voice", "no voice"),
        (source(r#", "deadline_seconds": 0"#), 422, "deadline_seconds", "it is 0"),
        (source(r#", "format": "debate""#), 422, "format", "dialogue"),
        (
            r#"{"source": {"url": "http://10.0.0.1/"}, "language": "en"}"#.into(),
            422,
            "source.url",
            "10.0.0.1",
        ),
        (r#"{"source": {"url": "https://example.org/a"}}"#.into(), 422, "language", "not known before"),
        (source(r#", "callback_url": "ftp://example.org/a""#), 422, "callback_url", "ftp"),
    ]
}

pub(crate) async fn http_names_field_reason_and_remedy(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "bad-http", Setup { workers: 0, ..Setup::default() }).await?;
    for (body, status, field, words) in refusals() {
        let shown: String = body.chars().take(80).collect();
        let request =
            fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("content-type", "application/json");
        let response = request.body(body).send().await?;
        let got = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str()?.to_owned();
        let problem: Value = response.json().await?;
        ensure!(got == status && kind == "application/problem+json", "{shown}: {got} {kind} {problem}");
        let errors = problem["errors"].as_array().with_context(|| format!("{shown}: {problem}"))?;
        let fault = errors
            .iter()
            .find(|fault| fault["field"] == field)
            .with_context(|| format!("{shown}: {problem}"))?;
        ensure!(fault.to_string().contains(words), "{shown}: {fault}");
        ensure!(!fault["remedy"].as_str().unwrap_or_default().is_empty(), "{shown}: {fault}");
    }
    let huge =
        fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("content-type", "application/json");
    let response = huge.body(vec![b' '; 3_000_000]).send().await?;
    ensure!(response.status() == 413, "{}", response.status());
    let missing = fleet.get("/v1/podcasts/0190a000-0000-7000-8000-000000000000").await?;
    ensure!(missing.status() == 404);
    let foreign =
        fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("origin", "https://evil.example");
    ensure!(
        foreign.json(&json!({"source": {"text": "Hi."}})).send().await?.status() == 403,
        "a foreign page may not submit"
    );
    ensure!(fleet.count("select count(*) from podcasts").await? == 0);
    fleet.stop().await
}

pub(crate) async fn amqp_refusals_become_dead_letters(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "bad-amqp", Setup { workers: 0, ..Setup::default() }).await?;
    let broker = Broker { url: fleet.environment()["PODFLEET__BROKER__URL"].clone(), ..Broker::default() };
    fleet.until_intake().await?;
    let connection = amqp::connect(&broker, "test").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let refusals = refusals();
    let publish = async |body: &[u8], properties: BasicProperties| -> anyhow::Result<()> {
        let timeout = Duration::from_secs(10);
        let confirm =
            amqp::publish(&channel, topology::REQUESTS_EXCHANGE, "", body, properties, timeout).await?;
        Ok(amqp::confirmed(confirm, timeout).await?)
    };
    for (number, (body, ..)) in refusals.iter().enumerate() {
        let properties = amqp::persistent_json().with_message_id(format!("bad-{number}").into());
        publish(body.as_bytes(), properties).await?;
    }
    publish(br#"{"source": {"text": "Hi."}}"#, amqp::persistent_json()).await?;
    let late = amqp::persistent_json().with_message_id("late".into()).with_timestamp(1_000_000);
    publish(br#"{"source": {"text": "Hi."}, "deadline_seconds": 60}"#, late).await?;
    let wanted = refusals.len() as i64 + 2;
    fleet.until_count("select count(*) from dead_letters", |count| count == wanted).await?;
    for (body, _, field, _) in &refusals {
        let rows = fleet.query("select message, payload from dead_letters where source = 'message'").await?;
        let letter =
            rows.iter().find(|row| row.get::<_, Vec<u8>>(1) == body.as_bytes()[..body.len().min(1 << 20)]);
        let letter = letter.with_context(|| format!("{field}: its bytes are kept"))?;
        ensure!(letter.get::<_, String>(0).contains(field), "{field}: {}", letter.get::<_, String>(0));
    }
    let told = |words: &str| format!("select count(*) from dead_letters where message like '%{words}%'");
    ensure!(fleet.count(&told("message_id")).await? == 1, "a message without an id");
    ensure!(fleet.count(&told("deadline was over")).await? == 1, "a deadline that was over");
    ensure!(fleet.count("select count(*) from podcasts").await? == 0);
    connection.close(200, "bye".into()).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Bytes that are no ticket, no outcome and no heartbeat are set aside with their bytes; the fleet goes on.
pub(crate) async fn garbage_in_the_lanes_is_set_aside(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "garbage", Setup::default()).await?;
    let broker = Broker { url: fleet.environment()["PODFLEET__BROKER__URL"].clone(), ..Broker::default() };
    fleet.until_intake().await?;
    let connection = amqp::connect(&broker, "test").await?;
    let channel = amqp::confirming_channel(&connection, broker.timeout()).await?;
    let before = fleet.submit(&json!({"source": {"text": "Before the garbage."}})).await?;
    fleet.completed(&before).await?;
    let garbage: [&[u8]; 5] = [b"", b"\xff\xfe\x00", b"{}", b"[{\"v\": 1}]", b"[[[[[[[["];
    for queue in ["podfleet.tts.normal.v1", "podfleet.outcomes.v1"] {
        for body in garbage {
            let timeout = Duration::from_secs(10);
            let confirm = amqp::publish(&channel, "", queue, body, amqp::persistent_json(), timeout).await?;
            amqp::confirmed(confirm, timeout).await?;
        }
    }
    // An outcome that can be read, and is of a version that is not known.
    let nil = "00000000-0000-0000-0000-000000000000";
    let newer = json!([{
        "v": 2, "podcast": nil, "task": nil, "tenant": "t", "kind": "tts", "attempt": 1, "generation": 1, "input_hash": "h",
        "class": "success", "final": true, "worker": "w", "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:00Z"
    }]);
    let (newer, timeout) = (serde_json::to_vec(&newer)?, Duration::from_secs(10));
    let confirm =
        amqp::publish(&channel, "", "podfleet.outcomes.v1", &newer, amqp::persistent_json(), timeout).await?;
    amqp::confirmed(confirm, timeout).await?;
    for body in garbage {
        amqp::broadcast(&channel, topology::HEARTBEATS_EXCHANGE, "", body, Duration::from_secs(10)).await?;
    }
    fleet
        .until_count("select count(*) from dead_letters where source = 'message'", |count| count == 11)
        .await?;
    for (reason, letters) in [
        ("could not be read: the message is not a JSON list: %", 8),
        ("could not be read: missing field `%", 2),
        ("could not be read: it is of version 2, and this build knows 1", 1),
    ] {
        let found = format!("select count(*) from dead_letters where message like '%{reason}'");
        ensure!(fleet.count(&found).await? == letters, "{reason}");
    }
    let after = fleet.submit(&json!({"source": {"text": "After the garbage."}})).await?;
    fleet.completed(&after).await?;
    connection.close(200, "bye".into()).await?;
    fleet.at_rest().await?;
    fleet.stop().await
}
