//! A fleet of real processes on private servers, with simulated providers, in a folder that is gone afterwards.

use std::path::Path;

use anyhow::Context;
use common::config::{Broker, Order};
use loadtest::probe::Database;
use loadtest::providers::{Provider, Settings};
use loadtest::scenario;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::dev;
use crate::fleet::{Fleet, Options};
use crate::output::remark;
use crate::progress::Board;

/// How large the fleet is.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The outline is a fixture of five chapters, as the performance goals have it given.
    pub(crate) outline_given: bool,
    pub(crate) producers: u16,
    pub(crate) workers: u16,
    pub(crate) collectors: u16,
    /// Segments that one worker has spoken at a time.
    pub(crate) speech: u16,
    /// Outlines and scripts that one worker has written at a time.
    pub(crate) writing: u16,
    /// Chapters that one collector mixes at a time.
    pub(crate) mixers: u16,
    /// Whose work goes first.
    pub(crate) order: Order,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            outline_given: true,
            producers: 2,
            workers: 2,
            collectors: 2,
            speech: 32,
            writing: 64,
            mixers: 2,
            order: Order::Work,
        }
    }
}

impl Setup {
    /// For a report.
    pub(crate) fn describe(&self) -> Value {
        json!({
            "outline_given": self.outline_given, "producers": self.producers, "workers": self.workers, "collectors": self.collectors,
            "speech_of_a_worker": self.speech, "writing_of_a_worker": self.writing, "mixers_of_a_collector": self.mixers,
            "order": self.order,
        })
    }

    fn configuration(&self, provider: &str) -> String {
        let permits = self.writing.max(self.speech);
        let order = match self.order {
            Order::Work => "work",
            Order::Arrival => "arrival",
        };
        let outline = if self.outline_given { "noop" } else { "writer" };
        format!(
            "[defaults]\noutline = \"{outline}\"\nscript = \"writer\"\ntts = \"voice\"\n\
             [producer]\norder = \"{order}\"\n[worker]\nconcurrency = {permits}\n[collector]\nmixers = {}\n\
             [engines.writer]\ntype = \"openai\"\nkinds = [\"outline\", \"script\"]\nurl = \"{provider}\"\nmodel = \"writer\"\n\
             concurrency = {}\nexpected_ms = 9500\n\
             [engines.voice]\ntype = \"openai\"\nkinds = [\"tts\"]\nurl = \"{provider}\"\nmodel = \"voice\"\n\
             concurrency = {}\nexpected_ms = 900\n",
            self.mixers, self.writing, self.speech
        )
    }
}

pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) provider: Provider,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn start(
        setup: &Setup,
        providers: Settings,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Stage> {
        let provider = Provider::start(providers).await?;
        Stage::with_configuration(setup, provider, None, shutdown).await
    }

    /// `configuration` takes the place of what [`Setup`] says of engines.
    pub(crate) async fn with_configuration(
        setup: &Setup,
        provider: Provider,
        configuration: Option<&str>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Stage> {
        let folder = tempfile::Builder::new()
            .prefix("podfleet-load-")
            .tempdir()
            .context("a folder for the servers")?;
        let file = folder.path().join("load.toml");
        let configuration = configuration.map_or_else(|| setup.configuration(&provider.url()), str::to_owned);
        std::fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        let options = Options {
            data: folder.path().join("data"),
            port: 0,
            producers: setup.producers,
            workers: setup.workers,
            collectors: setup.collectors,
            external: false,
        };
        let fleet = dev::start(Some(&file), &options, &Board::new(), shutdown).await?;
        Ok(Stage { fleet, provider, folder })
    }

    pub(crate) fn address(&self) -> scenario::Fleet {
        scenario::Fleet { apis: self.fleet.apis.clone(), broker: self.broker() }
    }

    pub(crate) fn broker(&self) -> Broker {
        Broker { url: self.fleet.broker.clone(), ..Broker::default() }
    }

    pub(crate) fn database(&self) -> anyhow::Result<Database> {
        Database::new(&self.fleet.database)
    }

    pub(crate) fn management_url(&self) -> anyhow::Result<String> {
        Ok(self.fleet.servers().context("private servers")?.rabbitmq.management_url())
    }

    /// Where the servers and the blobs lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends everything. When something went wrong the folder stays, and is named: the roles' logs are in it.
    pub(crate) async fn stop(self, went_well: bool) -> anyhow::Result<()> {
        let stopped = self.fleet.stop().await;
        self.provider.stop().await;
        if !went_well {
            remark(format_args!(
                "the logs of the roles are in {}",
                self.folder.keep().join("data/log").display()
            ));
        }
        stopped
    }
}
