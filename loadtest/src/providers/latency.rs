//! How long things take: drawn from a distribution, so that runs with equal seeds are equal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// No draw is longer than this many medians: the tail of a provider ends at its own time-out.
const LONGEST_IN_MEDIANS: f64 = 60.0;
/// The 95th percentile of the standard normal distribution.
const P95: f64 = 1.644_853_626_951_472;

/// In files one of `{ fixed_ms = 900 }`, `{ from_ms = 500, to_ms = 1500 }` and `{ median_ms = 900, p95_ms = 1500 }`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum Latency {
    Fixed(Duration),
    /// Every length from the first to the last is as likely.
    Uniform {
        from: Duration,
        to: Duration,
    },
    /// Most answers near the median, a few far above it, as of real providers. At most 60 times the median.
    LogNormal {
        median: Duration,
        p95: Duration,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    median_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_ms: Option<f64>,
}

impl Latency {
    pub const NONE: Latency = Latency::Fixed(Duration::ZERO);

    pub fn fixed_ms(ms: u64) -> Latency {
        Latency::Fixed(Duration::from_millis(ms))
    }

    /// The same distribution in less time.
    #[must_use]
    pub fn faster(self, times: f64) -> Latency {
        let shorter = |latency: Duration| latency.div_f64(times);
        match self {
            Latency::Fixed(fixed) => Latency::Fixed(shorter(fixed)),
            Latency::Uniform { from, to } => Latency::Uniform { from: shorter(from), to: shorter(to) },
            Latency::LogNormal { median, p95 } => {
                Latency::LogNormal { median: shorter(median), p95: shorter(p95) }
            }
        }
    }

    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> Duration {
        match self {
            Latency::Fixed(latency) => *latency,
            Latency::Uniform { from, to } => *from + to.saturating_sub(*from).mul_f64(random.f64()),
            Latency::LogNormal { median, p95 } => {
                let sigma = (p95.as_secs_f64() / median.as_secs_f64().max(1e-9)).ln().max(0.0) / P95;
                median.mul_f64((normal(random) * sigma).exp().min(LONGEST_IN_MEDIANS))
            }
        }
    }
}

/// A standard normal number (Box and Muller, 1958).
fn normal(random: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}

impl TryFrom<Fields> for Latency {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Latency, String> {
        let given =
            [fields.fixed_ms, fields.from_ms, fields.to_ms, fields.median_ms, fields.p95_ms].into_iter();
        if given.flatten().any(|ms| !(0.0..=86_400_000.0).contains(&ms)) {
            return Err("a latency is in milliseconds, from 0 to a day".into());
        }
        let ms = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        match fields {
            Fields { fixed_ms: Some(fixed), from_ms: None, to_ms: None, median_ms: None, p95_ms: None } => {
                Ok(Latency::Fixed(ms(fixed)))
            }
            Fields { fixed_ms: None, from_ms: Some(from), to_ms: Some(to), median_ms: None, p95_ms: None }
                if from <= to =>
            {
                Ok(Latency::Uniform { from: ms(from), to: ms(to) })
            }
            Fields {
                fixed_ms: None, from_ms: None, to_ms: None, median_ms: Some(median), p95_ms: Some(p95)
            } if median > 0.0 && median <= p95 => {
                Ok(Latency::LogNormal { median: ms(median), p95: ms(p95) })
            }
            _ => Err("a latency is fixed_ms, or from_ms and to_ms (not below it), or median_ms and p95_ms (not below it)"
                .into()),
        }
    }
}

impl From<Latency> for Fields {
    fn from(latency: Latency) -> Fields {
        let ms = |duration: Duration| Some(duration.as_secs_f64() * 1000.0);
        match latency {
            Latency::Fixed(fixed) => Fields { fixed_ms: ms(fixed), ..Fields::default() },
            Latency::Uniform { from, to } => Fields { from_ms: ms(from), to_ms: ms(to), ..Fields::default() },
            Latency::LogNormal { median, p95 } => {
                Fields { median_ms: ms(median), p95_ms: ms(p95), ..Fields::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drawn(latency: Latency) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut drawn: Vec<f64> =
            (0..4000).map(|_| latency.draw(&mut random).as_secs_f64() * 1000.0).collect();
        drawn.sort_by(f64::total_cmp);
        drawn
    }

    #[test]
    fn lognormal_latencies_have_their_median_and_95th_percentile() {
        let ms = Duration::from_millis;
        let drawn = drawn(Latency::LogNormal { median: ms(100), p95: ms(220) });
        assert!((drawn[2000] - 100.0).abs() < 5.0, "{}", drawn[2000]);
        assert!((drawn[3800] - 220.0).abs() < 15.0, "{}", drawn[3800]);
    }

    #[test]
    fn faster_latencies_keep_their_distribution() {
        let ms = Duration::from_millis;
        let slow = drawn(Latency::LogNormal { median: ms(100), p95: ms(220) });
        let fast = drawn(Latency::LogNormal { median: ms(100), p95: ms(220) }.faster(10.0));
        assert!(slow.iter().zip(&fast).all(|(slow, fast)| (slow / fast - 10.0).abs() < 0.01));
    }

    #[test]
    fn uniform_latencies_fill_their_range() {
        let drawn =
            drawn(Latency::Uniform { from: Duration::from_millis(50), to: Duration::from_millis(150) });
        assert!(drawn[0] >= 50.0 && drawn[3999] <= 150.0);
        assert!((drawn[1000] - 75.0).abs() < 5.0 && (drawn[3000] - 125.0).abs() < 5.0);
    }

    #[test]
    fn files_say_one_kind() {
        let read = |value| serde_json::from_value::<Latency>(value).map_err(|error| error.to_string());
        assert_eq!(read(json!({"fixed_ms": 900})), Ok(Latency::fixed_ms(900)));
        for good in [json!({"from_ms": 1.0, "to_ms": 2.0}), json!({"median_ms": 900.0, "p95_ms": 1500.0})] {
            let latency = read(good.clone()).unwrap();
            assert_eq!(serde_json::to_value(latency).unwrap(), good);
        }
        for bad in [
            json!({}),
            json!({"fixed_ms": -1}),
            json!({"fixed_ms": 1, "to_ms": 2}),
            json!({"from_ms": 2, "to_ms": 1}),
            json!({"median_ms": 2, "p95_ms": 1}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert!(read(json!({"fixed": 1})).unwrap_err().contains("fixed_ms"));
    }
}
