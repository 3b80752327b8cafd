//! Logs on stderr and metrics for Prometheus.

use std::io::IsTerminal;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::Telemetry;

/// Bounds of the histograms of durations, in seconds.
const SECONDS: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// Starts logs and metrics for this process. Logs go to stderr; `RUST_LOG` overrides the filter.
pub fn start(settings: &Telemetry) -> anyhow::Result<PrometheusHandle> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        // These say at length what our own messages say once, where it is handled.
        _ => format!(
            "lapin=off,symphonia_bundle_mp3=warn,refinery_core=warn,tokio_postgres=warn,{}",
            settings.log
        ),
    };
    let filter = EnvFilter::try_new(&filter).with_context(|| {
        format!("telemetry.log is \"{filter}\", which is not a filter such as info,lapin=warn")
    })?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = if settings.json { logs.json().try_init() } else { logs.try_init() };
    started.map_err(|error| anyhow::anyhow!("starting the log: {error}"))?;
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .install_recorder()
        .context("starting metrics")?;
    metrics::gauge!("podfleet_build_info", "version" => crate::process::VERSION).set(1.0);
    Ok(metrics)
}
