//! The steps of a replay of many letters: 1, 5, 20, then 100 at a time. A step begins when the one before has proved itself,
//! and none does any more when the same cause has returned.

/// Letters in the steps; the last size repeats.
const SIZES: [u32; 4] = [1, 5, 20, 100];

/// How many letters a step replays. Steps count from 0.
pub fn size(step: u32) -> u32 {
    let last = SIZES.len() - 1;
    SIZES[usize::try_from(step).unwrap_or(last).min(last)]
}

/// Where a replay of many stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub step: u32,
    /// Letters that have had no turn.
    pub waiting: u32,
    /// Letters of this step that were replayed; skipped ones do not count.
    pub replayed: u32,
    /// Of these, the ones of which it is not known yet whether they work now.
    pub unsettled: u32,
    /// Of these, the ones that died again, of whatever cause.
    pub died: u32,
    /// Letters of any step whose cause has returned.
    pub returned: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// At most this many more, as the rate allows.
    Replay(u32),
    /// For what was replayed to show whether it works.
    Wait,
    /// The step has proved itself.
    Advance,
    /// The cause is still there.
    Stop(String),
    /// Every letter has had its turn.
    Finish,
}

/// What comes next.
pub fn decide(look: Look) -> Next {
    let size = size(look.step);
    if look.returned > 0 {
        return Next::Stop(format!(
            "the same cause returned after step {} ({} of its letters): it is not repaired yet",
            look.step + 1,
            look.returned
        ));
    }
    if look.replayed > 0 && look.died == look.replayed && (look.replayed >= size || look.waiting == 0) {
        return Next::Stop(format!(
            "everything that step {} replayed died again, of another cause: look at the new letters first",
            look.step + 1
        ));
    }
    if look.waiting > 0 && look.replayed < size {
        return Next::Replay((size - look.replayed).min(look.waiting));
    }
    match (look.unsettled, look.waiting) {
        (0, 0) => Next::Finish,
        (0, _) => Next::Advance,
        _ => Next::Wait,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_steps_are_1_5_20_and_100() {
        assert_eq!((0..6).map(size).collect::<Vec<_>>(), [1, 5, 20, 100, 100, 100]);
        assert_eq!(size(u32::MAX), 100);
    }

    #[test]
    fn a_step_waits_until_it_has_proved_itself() {
        let look = Look { waiting: 10, ..Look::default() };
        assert_eq!(decide(look), Next::Replay(1));
        assert_eq!(decide(Look { waiting: 9, replayed: 1, unsettled: 1, ..look }), Next::Wait);
        assert_eq!(decide(Look { waiting: 9, replayed: 1, ..look }), Next::Advance);
        let second = Look { step: 1, waiting: 9, ..look };
        assert_eq!(decide(second), Next::Replay(5));
        assert_eq!(decide(Look { waiting: 2, replayed: 2, unsettled: 2, ..second }), Next::Replay(2));
        assert_eq!(decide(Look { waiting: 0, replayed: 3, unsettled: 1, ..second }), Next::Wait);
        assert_eq!(decide(Look { waiting: 0, replayed: 3, ..second }), Next::Finish);
        assert_eq!(decide(Look::default()), Next::Finish, "nothing matched");
    }

    #[test]
    fn the_same_cause_stops_it() {
        let look = Look { step: 1, waiting: 9, replayed: 2, unsettled: 1, died: 1, returned: 1 };
        assert!(matches!(decide(look), Next::Stop(why) if why.contains("same cause")));
    }

    #[test]
    fn a_canary_that_dies_of_another_cause_stops_it_too() {
        let look = Look { waiting: 9, replayed: 1, died: 1, ..Look::default() };
        assert!(matches!(decide(look), Next::Stop(why) if why.contains("another cause")));
        let one_of_five = Look { step: 1, waiting: 4, replayed: 5, died: 1, ..Look::default() };
        assert_eq!(decide(one_of_five), Next::Advance);
    }

    proptest! {
        /// However letters fare, each has at most one turn, no step is larger than its size, and the replay ends.
        #[test]
        fn it_ends_and_never_takes_more_than_a_step(total in 0u32..300, fates in prop::collection::vec(0u8..10, 300)) {
            let (mut look, mut turns) = (Look { waiting: total, ..Look::default() }, 0usize);
            for _ in 0..2_000 {
                match decide(look) {
                    Next::Replay(count) => {
                        prop_assert!(count >= 1 && count <= look.waiting);
                        look.waiting -= 1;
                        match fates[turns] {
                            0 => {} // Skipped.
                            1 => { look.replayed += 1; look.died += 1; }
                            _ => { look.replayed += 1; look.unsettled += 1; }
                        }
                        turns += 1;
                        prop_assert!(look.replayed <= size(look.step));
                    }
                    Next::Wait => look.unsettled -= 1,
                    Next::Advance => {
                        prop_assert_eq!(look.unsettled, 0);
                        look = Look { step: look.step + 1, waiting: look.waiting, ..Look::default() };
                    }
                    Next::Stop(_) => return Ok(()),
                    Next::Finish => {
                        prop_assert_eq!((look.waiting, look.unsettled), (0, 0));
                        prop_assert_eq!(turns, usize::try_from(total).unwrap());
                        return Ok(());
                    }
                }
            }
            prop_assert!(false, "it did not end: {:?}", look);
        }
    }
}
