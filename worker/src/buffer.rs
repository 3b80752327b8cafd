//! Deliveries that wait for a permit, by lane, and which of them is next.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use common::topology::Lane;
use common::work::Kind;

/// A ticket that was not started within this long goes back, so that another worker can have it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Waiting items of the lanes of every kind; generic so that its order can be tested without a broker.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    lanes: BTreeMap<(Kind, Lane), Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(Instant, T)>,
    /// Smooth weighted round robin: rises by the lane's weight at each choice, falls by the sum of weights when chosen.
    credit: i64,
}

impl<T> Buffer<T> {
    pub(crate) fn new() -> Buffer<T> {
        Buffer { lanes: BTreeMap::new() }
    }

    pub(crate) fn push(&mut self, kind: Kind, lane: Lane, now: Instant, item: T) {
        let waiting = self.lanes.entry((kind, lane)).or_insert(Waiting { items: VecDeque::new(), credit: 0 });
        waiting.items.push_back((now, item));
    }

    /// The next item of a kind, from its lanes in proportion to their weights. Empty lanes yield their turn. The alone lane
    /// is not among them.
    pub(crate) fn pop(&mut self, kind: Kind) -> Option<(Lane, T)> {
        let mut total = 0;
        let mut best: Option<(Lane, i64)> = None;
        for lane in [Lane::High, Lane::Normal, Lane::Low] {
            let Some(waiting) = self.lanes.get_mut(&(kind, lane)) else { continue };
            if waiting.items.is_empty() {
                waiting.credit = 0;
                continue;
            }
            let weight = i64::from(lane.weight());
            total += weight;
            waiting.credit += weight;
            if best.is_none_or(|(_, credit)| waiting.credit > credit) {
                best = Some((lane, waiting.credit));
            }
        }
        let (lane, _) = best?;
        let waiting = self.lanes.get_mut(&(kind, lane))?;
        waiting.credit -= total;
        waiting.items.pop_front().map(|(_, item)| (lane, item))
    }

    /// An item that must run alone.
    pub(crate) fn pop_alone(&mut self) -> Option<(Kind, T)> {
        let ((kind, _), waiting) = self
            .lanes
            .iter_mut()
            .find(|((_, lane), waiting)| *lane == Lane::Alone && !waiting.items.is_empty())?;
        let (_, item) = waiting.items.pop_front()?;
        Some((*kind, item))
    }

    pub(crate) fn has_alone(&self) -> bool {
        self.lanes.iter().any(|((_, lane), waiting)| *lane == Lane::Alone && !waiting.items.is_empty())
    }

    /// Takes out what has waited too long. What must run alone waits until everything else is finished.
    pub(crate) fn take_stale(&mut self, now: Instant) -> Vec<T> {
        let mut stale = Vec::new();
        for ((_, lane), waiting) in &mut self.lanes {
            if *lane == Lane::Alone {
                continue;
            }
            while waiting.items.front().is_some_and(|(since, _)| now.duration_since(*since) >= PATIENCE) {
                stale.extend(waiting.items.pop_front().map(|(_, item)| item));
            }
        }
        stale
    }

    /// Takes out everything but the next item that must run alone.
    pub(crate) fn take_all_but_one_alone(&mut self) -> Vec<T> {
        let mut kept = None;
        let mut rest = Vec::new();
        for ((kind, lane), mut waiting) in std::mem::take(&mut self.lanes) {
            if lane == Lane::Alone && kept.is_none() {
                kept = waiting.items.pop_front().map(|item| ((kind, lane), item));
            }
            rest.extend(waiting.items.into_iter().map(|(_, item)| item));
        }
        if let Some((place, item)) = kept {
            self.lanes.insert(place, Waiting { items: [item].into(), credit: 0 });
        }
        rest
    }

    pub(crate) fn take_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.lanes)
            .into_values()
            .flat_map(|waiting| waiting.items.into_iter().map(|(_, item)| item))
            .collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flat_map(|waiting| waiting.items.iter().map(|(_, item)| item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(counts: [usize; 3]) -> Buffer<Lane> {
        let mut buffer = Buffer::new();
        for (lane, count) in [Lane::High, Lane::Normal, Lane::Low].into_iter().zip(counts) {
            for _ in 0..count {
                buffer.push(Kind::Tts, lane, Instant::now(), lane);
            }
        }
        buffer
    }

    fn first(buffer: &mut Buffer<Lane>, count: usize) -> [usize; 3] {
        let mut taken = [0; 3];
        for _ in 0..count {
            match buffer.pop(Kind::Tts).map(|(lane, _)| lane) {
                Some(Lane::High) => taken[0] += 1,
                Some(Lane::Normal) => taken[1] += 1,
                Some(Lane::Low) => taken[2] += 1,
                other => panic!("{other:?}"),
            }
        }
        taken
    }

    #[test]
    fn lanes_are_taken_from_in_proportion_to_their_weights() {
        assert_eq!(first(&mut filled([100, 100, 100]), 100), [60, 30, 10]);
    }

    #[test]
    fn an_empty_lane_yields_its_turn() {
        assert_eq!(first(&mut filled([0, 100, 100]), 40), [0, 30, 10]);
        assert_eq!(first(&mut filled([0, 0, 7]), 7), [0, 0, 7]);
        assert!(filled([0, 0, 0]).pop(Kind::Tts).is_none());
    }

    #[test]
    fn what_waits_too_long_goes_back_but_not_from_the_alone_lane() {
        let start = Instant::now();
        let mut buffer = Buffer::new();
        buffer.push(Kind::Tts, Lane::Low, start, "old");
        buffer.push(Kind::Tts, Lane::Alone, start, "alone");
        buffer.push(Kind::Tts, Lane::Low, start + Duration::from_millis(900), "young");
        assert_eq!(buffer.take_stale(start + PATIENCE), ["old"]);
        assert_eq!(buffer.iter().count(), 2);
        assert!(buffer.has_alone());
    }

    #[test]
    fn what_must_run_alone_is_left_alone() {
        let now = Instant::now();
        let mut buffer = Buffer::new();
        for (kind, lane, name) in [
            (Kind::Script, Lane::Low, "script"),
            (Kind::Script, Lane::Alone, "alone"),
            (Kind::Tts, Lane::High, "segment"),
            (Kind::Tts, Lane::Alone, "alone, too"),
        ] {
            buffer.push(kind, lane, now, name);
        }
        let mut rest = buffer.take_all_but_one_alone();
        rest.sort_unstable();
        assert_eq!(rest, ["alone, too", "script", "segment"]);
        assert_eq!(buffer.pop_alone(), Some((Kind::Script, "alone")));
        assert_eq!(buffer.iter().count(), 0);
    }
}
