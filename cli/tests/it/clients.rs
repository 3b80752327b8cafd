//! Clients that know nothing of this code: they have the descriptions that the API serves, and try whether they are true.
//! `scripts/setup test` installs them below `.tools`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::access::{submit, until_state, with_keys};
use crate::fleet::{Fleet, Servers, Setup};

/// For a whole run of a client.
const PATIENCE: Duration = Duration::from_secs(300);

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs one of the installed programs in a fleet's folder.
pub(crate) async fn run(fleet: &Fleet, program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let program = top().join(".tools/clients/bin").join(program);
    ensure!(program.exists(), "{} is missing: run scripts/setup test", program.display());
    let running = Command::new(program)
        .args(arguments)
        .current_dir(&fleet.folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Ok(tokio::time::timeout(PATIENCE, running).await.context("the client does not end")??)
}

pub(crate) fn script(name: &str) -> String {
    top().join("cli/tests/clients").join(name).display().to_string()
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// A path may have parameters of its own beside them.
const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

/// Schemathesis makes requests of the OpenAPI description, right ones and wrong ones, and compares what comes back with it.
pub(crate) async fn schemathesis_finds_nothing(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let setup = Setup::default().with("OUTBOUND__ALLOW", "127.0.0.1/32");
    let (fleet, key) = with_keys(servers, "schemathesis", setup).await?;
    // Something of everything, so that lists are not empty.
    let late = json!({"source": {"url": "http://127.0.0.1:9/"}, "language": "en", "deadline_seconds": 2});
    let failed = submit(&fleet, &key, &late).await?;
    until_state(&fleet, &key, &failed, "failed").await?;
    let told_at = json!({"source": {"text": "One. Two."}, "callback_url": "http://127.0.0.1:9/"});
    let podcast = submit(&fleet, &key, &told_at).await?;
    until_state(&fleet, &key, &podcast, "completed").await?;
    let description = format!("{}/openapi.json", fleet.api);
    let authorization = format!("Authorization: Bearer {key}");
    let config = script("schemathesis.toml");
    let arguments = [
        "--config-file",
        &config,
        "run",
        &description,
        "--header",
        &authorization,
        "--seed",
        "7",
        "--max-examples",
        "8",
        "--phases",
        "examples,coverage,fuzzing",
        "--checks",
        "all",
        "--continue-on-failure",
        // How fast answers come is for load tests to say.
        "--max-response-time",
        "60",
        "--workers",
        "2",
    ];
    let output = run(&fleet, "schemathesis", &arguments).await?;
    ensure!(output.status.success(), "{}", told(&output));
    let said = told(&output);
    let operations = fleet.http.get(&description).send().await?.json::<Value>().await?;
    let operations: usize = operations["paths"]
        .as_object()
        .context("paths")?
        .values()
        .filter_map(Value::as_object)
        .map(|path| path.keys().filter(|key| METHODS.contains(&key.as_str())).count())
        .sum();
    // It counts one operation less than the description has: which one is not known yet.
    let all = |count: usize| said.contains(&format!("{count} selected / {count} total"));
    ensure!(all(operations) || all(operations - 1), "all of {operations}: {said}");
    // It was all on behalf of one tenant, and the fleet is as well as before.
    let after = submit(&fleet, &key, &json!({"source": {"text": "And after."}})).await?;
    until_state(&fleet, &key, &after, "completed").await?;
    fleet.stop().await
}

pub(crate) async fn a_plain_amqp_client_follows_a_podcast(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "plain-amqp", Setup::default()).await?;
    let description = fleet.get("/asyncapi.json").await?.error_for_status()?.text().await?;
    let file = fleet.folder.join("asyncapi.json");
    std::fs::write(&file, description)?;
    let broker = fleet.environment()["PODFLEET__BROKER__URL"].clone();
    let arguments = [&script("amqp.py"), broker.as_str(), &file.display().to_string()];
    let output = run(&fleet, "python", &arguments).await?;
    ensure!(output.status.success(), "{}", told(&output));
    let id = String::from_utf8(output.stdout)?.trim().to_owned();
    let podcast = fleet.completed(&id).await?;
    ensure!(podcast["title"] == "By AMQP", "{podcast}");
    ensure!(fleet.count("select count(*) from podcasts").await? == 1);
    fleet.at_rest().await?;
    fleet.stop().await
}
