//! How a simulated provider behaves.

use std::sync::Arc;
use std::time::Duration;

use super::tones::RATE;

/// Behaviour of a provider. `Settings::default()` answers at once, without faults, two seconds a segment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an answer takes.
    pub latency: Latency,
    /// How long a recording is.
    pub length: Length,
    /// Of the random numbers behind the latency: equal seeds give equal sequences.
    pub seed: u64,
    /// The first calls that fail: how many, with which status, after which advice.
    pub failures: Vec<Failing>,
    /// The first calls (after those that fail) that are never answered.
    pub stalls: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Failing {
    pub calls: u64,
    pub status: u16,
    pub retry_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub enum Latency {
    Fixed(Duration),
    /// `exp(N(ln median, sigma))`: most answers near the median, a few far above it. At most 60 times the median.
    LogNormal {
        median: Duration,
        sigma: f64,
    },
}

#[derive(Clone)]
pub enum Length {
    Fixed(Duration),
    /// Samples at 24 kHz for a text.
    Rule(Arc<dyn Fn(&str) -> usize + Send + Sync>),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            latency: Latency::Fixed(Duration::ZERO),
            length: Length::Fixed(Duration::from_secs(2)),
            seed: 1,
            failures: Vec::new(),
            stalls: 0,
        }
    }
}

impl Settings {
    /// The first `calls` calls fail with `status`; `retry_after` is sent in whole seconds, rounded up. Given more than
    /// once, the rules follow each other.
    #[must_use]
    pub fn fail_first(mut self, calls: u64, status: u16, retry_after: Option<Duration>) -> Settings {
        self.failures.push(Failing { calls, status, retry_after });
        self
    }

    /// The first `calls` calls, after those that fail, are never answered.
    #[must_use]
    pub fn stall_first(mut self, calls: u64) -> Settings {
        self.stalls = calls;
        self
    }

    /// The exact length of each recording, by a rule on its text. Shorter ones than a second cannot hold their number and
    /// are a second long.
    #[must_use]
    pub fn samples_for(mut self, rule: impl Fn(&str) -> usize + Send + Sync + 'static) -> Settings {
        self.length = Length::Rule(Arc::new(rule));
        self
    }
}

impl Length {
    pub(super) fn samples(&self, text: &str) -> usize {
        match self {
            Length::Fixed(length) => (length.as_secs_f64() * f64::from(RATE)).round() as usize,
            Length::Rule(rule) => rule(text),
        }
    }
}

impl std::fmt::Debug for Length {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Length::Fixed(length) => f.debug_tuple("Fixed").field(length).finish(),
            Length::Rule(_) => f.write_str("Rule"),
        }
    }
}

impl Latency {
    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Duration {
        match self {
            Latency::Fixed(latency) => *latency,
            Latency::LogNormal { median, sigma } => median.mul_f64((normal(random) * sigma).exp().min(60.0)),
        }
    }
}

/// A standard normal number (Box and Muller, 1958).
fn normal(random: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lognormal_latencies_have_their_median_and_spread() {
        let latency = Latency::LogNormal { median: Duration::from_millis(100), sigma: 0.5 };
        let mut random = fastrand::Rng::with_seed(7);
        let mut drawn: Vec<f64> =
            (0..4000).map(|_| latency.draw(&mut random).as_secs_f64() * 1000.0).collect();
        drawn.sort_by(f64::total_cmp);
        assert!((drawn[2000] - 100.0).abs() < 5.0, "{}", drawn[2000]);
        // The 84th percentile lies one sigma up: 100 * e^0.5.
        assert!((drawn[3365] - 165.0).abs() < 10.0, "{}", drawn[3365]);
    }
}
