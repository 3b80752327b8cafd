//! How much worse is too much.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// A TOML file; what it leaves out is as in [`Thresholds::default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Worse by more than this is a regression, in percent of the old value. Default 10.
    pub percent: f64,
    /// How sure it has to be. Default 0.95.
    pub confidence: f64,
    /// Resamples of the bootstrap, and the seed of their random numbers. Default 2000 and 1.
    pub resamples: u32,
    pub seed: u64,
    /// Other percentages, by the figure's id.
    pub figures: BTreeMap<String, f64>,
    /// A difference that is smaller than this, in the figure's unit, never counts, by the figure's id.
    pub least: BTreeMap<String, f64>,
}

impl Default for Thresholds {
    fn default() -> Self {
        let of = |pairs: &[(&str, f64)]| pairs.iter().map(|(id, limit)| ((*id).to_owned(), *limit)).collect();
        Thresholds {
            percent: 10.0,
            confidence: 0.95,
            resamples: 2000,
            seed: 1,
            // The tails of distributions are decided by few observations.
            figures: of(&[
                ("completion_p99_s", 20.0),
                ("first_audio_p99_s", 20.0),
                ("first_answer_p99_ms", 50.0),
                ("first_answer_p95_ms", 30.0),
                ("amqp_answer_p95_ms", 30.0),
                ("progress_p99_ms", 50.0),
                ("progress_max_ms", 200.0),
                ("notice_p99_ms", 50.0),
                ("sent_late_p99_ms", 200.0),
            ]),
            least: of(&[
                ("errors_percent", 0.5),
                ("availability_percent", 0.05),
                ("first_answer_mean_ms", 5.0),
                ("first_answer_p50_ms", 5.0),
                ("first_answer_p95_ms", 10.0),
                ("first_answer_p99_ms", 20.0),
                ("amqp_answer_p95_ms", 10.0),
                ("progress_p50_ms", 10.0),
                ("progress_p99_ms", 50.0),
                ("progress_max_ms", 200.0),
                ("notice_p99_ms", 50.0),
                ("sent_late_p99_ms", 20.0),
                ("sent_in_vain", 5.0),
                ("streams_broken", 5.0),
                ("coordination_percent", 0.5),
                ("first_audio_beyond_s", 0.05),
                ("ending_beyond_s", 0.05),
                ("cpu_producer_percent", 2.0),
                ("cpu_collector_percent", 2.0),
                ("cpu_mixer_percent", 2.0),
                ("cpu_worker_percent", 2.0),
            ]),
        }
    }
}

impl Thresholds {
    pub fn read(file: &Path) -> anyhow::Result<Thresholds> {
        let name = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
        let thresholds: Thresholds = toml::from_str(&text).with_context(|| format!("{name} is not right"))?;
        thresholds.check().with_context(|| format!("{name} is not right"))?;
        Ok(thresholds)
    }

    fn check(&self) -> anyhow::Result<()> {
        for percent in self.figures.values().chain([&self.percent]) {
            ensure!((0.0..=10_000.0).contains(percent), "a threshold is {percent} %; give 0 to 10000");
        }
        ensure!(
            (0.5..1.0).contains(&self.confidence),
            "confidence is {}; give 0.5 to below 1",
            self.confidence
        );
        ensure!(
            (100..=100_000).contains(&self.resamples),
            "resamples is {}; give 100 to 100000",
            self.resamples
        );
        Ok(())
    }

    pub(super) fn percent_of(&self, id: &str) -> f64 {
        self.figures.get(id).copied().unwrap_or(self.percent)
    }

    pub(super) fn least_of(&self, id: &str) -> f64 {
        self.least.get(id).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_differs() {
        let read = |text: &str| toml::from_str::<Thresholds>(text).map_err(|error| error.to_string());
        let thresholds = read("percent = 5\n[figures]\npodcast_s = 3").unwrap();
        assert_eq!((thresholds.percent_of("podcast_s"), thresholds.percent_of("x")), (3.0, 5.0));
        assert_eq!(thresholds.confidence, 0.95);
        assert!(read("procent = 5").unwrap_err().contains("procent"));
        assert!(read("percent = -1").unwrap().check().is_err());
        assert!(read("confidence = 1.0").unwrap().check().is_err());
    }

    #[test]
    fn the_defaults_can_be_written_down_and_read_again() {
        let text = toml::to_string(&Thresholds::default()).unwrap();
        assert_eq!(toml::from_str::<Thresholds>(&text).unwrap(), Thresholds::default());
    }
}
