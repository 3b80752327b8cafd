//! How sure a difference is: the bootstrap (Efron, 1979). Both sets are drawn again many times, with replacement, and the middle of
//! what then comes out is the interval.

use serde::Serialize;

use crate::report::{median, quantile};

/// Of the relative change of the medians, in percent; above zero the new value is higher.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub from: f64,
    pub to: f64,
}

/// The change of the median, in percent of the old one. `None` where there is nothing to divide by.
pub(super) fn change(old: &[f64], new: &[f64]) -> Option<f64> {
    let (old, new) = (median(old)?, median(new)?);
    (old != 0.0).then(|| 100.0 * (new - old) / old.abs())
}

/// With fewer than two runs on both sides nothing is known of the noise.
pub(super) fn interval(
    old: &[f64],
    new: &[f64],
    confidence: f64,
    resamples: u32,
    random: &mut fastrand::Rng,
) -> Option<Interval> {
    if old.len() < 2 || new.len() < 2 {
        return None;
    }
    let mut draw = |values: &[f64]| -> Vec<f64> {
        values.iter().map(|_| values[random.usize(0..values.len())]).collect()
    };
    let changes: Vec<f64> = (0..resamples).filter_map(|_| change(&draw(old), &draw(new))).collect();
    let outside = (1.0 - confidence) / 2.0;
    Some(Interval { from: quantile(&changes, outside)?, to: quantile(&changes, 1.0 - outside)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(old: &[f64], new: &[f64]) -> Interval {
        interval(old, new, 0.95, 2000, &mut fastrand::Rng::with_seed(1)).unwrap()
    }

    #[test]
    fn a_clear_difference_has_an_interval_on_one_side() {
        let found = of(&[10.0, 10.2, 9.9, 10.1, 10.0], &[12.0, 12.3, 11.9, 12.1, 12.2]);
        assert!(found.from > 15.0 && found.to < 26.0, "{found:?}");
    }

    #[test]
    fn noise_has_an_interval_round_zero() {
        let found = of(&[10.0, 14.0, 7.0, 11.0, 9.0], &[12.0, 8.0, 10.0, 13.0, 9.5]);
        assert!(found.from < 0.0 && found.to > 0.0, "{found:?}");
    }

    #[test]
    fn equal_seeds_give_equal_intervals_and_one_run_none() {
        let (old, new) = ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]);
        assert_eq!(of(&old, &new), of(&old, &new));
        let mut random = fastrand::Rng::with_seed(1);
        assert_eq!(interval(&[1.0], &[2.0, 3.0], 0.95, 100, &mut random), None);
        assert_eq!(change(&[0.0], &[1.0]), None);
        assert_eq!(change(&[4.0], &[5.0]), Some(25.0));
    }
}
