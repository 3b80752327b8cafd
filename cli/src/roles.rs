//! The roles of the fleet as processes: configuration, logs, metrics and signals, then the role's own `run`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::config::Config;
use common::{process, store, telemetry};
use metrics_exporter_prometheus::PrometheusHandle;
use nix::unistd::getppid;
use producer::{LiveEncoder, NoKeys};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::args::{Migrate, Producer, Role, Worker};
use crate::failure::{self, Failure};
use crate::output;

pub(crate) async fn producer(config: Option<&Path>, options: Producer) -> anyhow::Result<()> {
    let process = begin(config, &options.role)?;
    let (listener, address) = process::listen(&process.config.producer.bind).await?;
    if options.trust_loopback && !address.ip().is_loopback() {
        let advice = format!(
            "--trust-loopback lets everybody in who reaches the API, and producer.bind is {address}, which other machines reach. \
             Use 127.0.0.1, or make keys with `podfleet keys create` and leave the flag out"
        );
        return Err(Failure::Usage(advice).into());
    }
    tracing::info!(%address, "the API listens");
    if let Some(path) = &options.ready_file {
        tell_ready(path, &format!("{address}\n"))?;
    }
    let options = producer::Options {
        trusts_loopback: options.trust_loopback,
        new_encoder: |audio| Box::new(Frames(worker::audio::live::LiveEncoder::new(audio.clone()))),
        say: |config, voice, language| Box::pin(worker::sample::say(config, voice, language)),
    };
    let ended = producer::run(process.config, options, process.metrics, listener, process.shutdown).await;
    ended.map_err(|error| match error.downcast_ref::<NoKeys>() {
        Some(no_keys) => Failure::Usage(no_keys.to_string()).into(),
        None => error,
    })
}

/// What a producer lets those hear who listen while an episode is made, made as workers make it.
struct Frames(worker::audio::live::LiveEncoder);

impl LiveEncoder for Frames {
    fn segment(&mut self, wav: &[u8], samples: u64, pause_ms: u32) -> anyhow::Result<Vec<u8>> {
        self.0.segment(wav, samples, pause_ms).map_err(anyhow::Error::msg)
    }

    fn end_chapter(&mut self) -> anyhow::Result<Vec<u8>> {
        self.0.end_chapter().map_err(anyhow::Error::msg)
    }
}

pub(crate) async fn worker(config: Option<&Path>, options: Worker) -> anyhow::Result<()> {
    let process = begin(config, &options.role)?;
    let options = worker::Options { kinds: options.tasks, concurrency: options.concurrency };
    worker::run(process.config, options, process.metrics, process.shutdown).await
}

pub(crate) async fn collector(config: Option<&Path>, options: Role) -> anyhow::Result<()> {
    if let Some(file) = config {
        hand_on_configuration(file)?;
    }
    let process = begin(config, &options)?;
    collector::run(process.config, process.metrics, process.shutdown).await
}

pub(crate) async fn migrate(config: Option<&Path>, options: Migrate) -> anyhow::Result<()> {
    let config = load(config)?;
    telemetry::start(&config.telemetry)?;
    let applied = store::migrate(&config.database).await?;
    if options.json { output::print_json(&json!({ "applied": applied })) } else { Ok(()) }
}

/// The configuration; what is wrong with it is wrong usage.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    Config::load(file).map_err(|error| failure::usage(&error).into())
}

/// What a role needs from its process.
struct Process {
    config: Arc<Config>,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
}

fn begin(file: Option<&Path>, role: &Role) -> anyhow::Result<Process> {
    let config = load(file)?;
    let metrics = telemetry::start(&config.telemetry).map_err(|error| failure::usage(&error))?;
    let shutdown = process::shutdown_on_signals()?;
    if let Some(parent) = role.parent {
        tokio::spawn(leave_with(parent, shutdown.clone()));
    }
    Ok(Process { config: Arc::new(config), metrics, shutdown })
}

/// Shuts this process down once its parent is no longer `parent`: nobody is left who would end it.
async fn leave_with(parent: u32, shutdown: CancellationToken) {
    while u32::try_from(getppid().as_raw()) == Ok(parent) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = shutdown.cancelled() => return,
        }
    }
    tracing::warn!(parent, "the process that started this one is gone; leaving");
    shutdown.cancel();
}

/// A collector's mixing process reads the same configuration, by the variable. Where it was named by `--config` alone,
/// this process becomes itself again with the variable set.
fn hand_on_configuration(file: &Path) -> anyhow::Result<()> {
    const VARIABLE: &str = "PODFLEET_CONFIG";
    if std::env::var_os(VARIABLE).is_some_and(|named| named == file) {
        return Ok(());
    }
    let program = std::env::current_exe().context("finding this program")?;
    let error = Command::new(program).args(std::env::args_os().skip(1)).env(VARIABLE, file).exec();
    Err(error).context("starting again with the configuration in the environment")
}

/// Writes the file in one step, so that whoever waits for it never reads half of it.
fn tell_ready(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(&unfinished, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
