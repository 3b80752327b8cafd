//! The speech server and language model of a fleet that is maltreated: it can be stopped, and comes back at the same address.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use loadtest::providers::{
    Endpoint, Latency, Ledger, Length, Misbehaviour, Provider, Rule, Settings, Writing,
};

/// The first text with these words is refused.
pub(super) const REFUSED_ONCE: &str = "a stumbling block";

pub(super) struct Replaceable {
    pub(super) address: SocketAddr,
    running: Option<Provider>,
    /// Of those that were stopped.
    past: Vec<Ledger>,
}

impl Replaceable {
    pub(super) async fn start() -> anyhow::Result<Replaceable> {
        let provider = Provider::start(settings()).await?;
        Ok(Replaceable { address: provider.address(), running: Some(provider), past: Vec::new() })
    }

    pub(super) fn running(&self) -> anyhow::Result<&Provider> {
        self.running.as_ref().context("the speech server is down")
    }

    pub(super) async fn stop(&mut self) {
        if let Some(provider) = self.running.take() {
            self.past.push(provider.stop().await);
        }
    }

    /// It runs, and does nothing that it should not, but for one thing.
    pub(super) async fn restore(&mut self) -> anyhow::Result<()> {
        if self.running.is_none() {
            self.running = Some(Provider::bind(self.address, settings()).await?);
        }
        self.running()?.clear_rules();
        self.running()?.add_rules(vec![refusal()])
    }

    pub(super) fn ledgers(&self) -> Vec<Ledger> {
        self.past.iter().cloned().chain(self.running.as_ref().map(Provider::ledger)).collect()
    }
}

/// Short recordings and short scripts, so that many podcasts fit into the time; the scripts come as streams.
fn settings() -> Settings {
    let mut settings = Settings::default().speech_latency(Latency::fixed_ms(150)).rule(refusal());
    // Two seconds, and more where nobody could say the text in that time: 20 letters a second are fast.
    settings.speech.length = Length::Rule(Arc::new(|text| 24_000 * text.chars().count().div_ceil(20).max(2)));
    settings.chat.first_token = Latency::fixed_ms(100);
    settings.chat.tokens_per_second = 300.0;
    settings.chat.writing = Writing { chapters: 2, turns: 4, words: 12, ..settings.chat.writing };
    settings
}

/// Once, a text with these words is refused for good: its podcast fails, and goes on when somebody replays it.
fn refusal() -> Rule {
    let refusal = Rule::new(Misbehaviour::ServerError).at(Endpoint::Speech).on(REFUSED_ONCE).times(1);
    Rule { status: Some(400), ..refusal }
}
