//! What tenants may have in flight and ask for in a day, counted exactly: under a lock of each limited tenant, in the
//! transaction that accepts. Tenants without such limits cost nothing.

use std::collections::{BTreeMap, HashSet};

use common::config::Limits;
use common::request::Fault;
use common::store::Transaction;
use common::store::tenants::{self, Used};

use super::batch::Prepared;
use crate::Env;

/// How long a podcast takes is not known; whoever has too many asks again after this.
const ASK_AGAIN: u32 = 15;

/// A limit that a request would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    pub(crate) limit: &'static str,
    pub(crate) most: u64,
    pub(crate) reason: String,
    pub(crate) remedy: &'static str,
    pub(crate) retry_after_seconds: u32,
}

impl Limited {
    pub(crate) fn fault(&self) -> Fault {
        Fault { field: self.limit.into(), reason: self.reason.clone(), remedy: self.remedy.into() }
    }
}

/// Judges the requests of one batch in their order; `None` where nothing is in the way. Whoever was accepted before, under the
/// same key, is not counted again.
pub(super) async fn judge(
    tx: &Transaction<'_>,
    env: &Env,
    prepared: &[Prepared],
) -> anyhow::Result<Vec<Option<Limited>>> {
    let mut of_tenants: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, one) in prepared.iter().enumerate() {
        of_tenants.entry(&one.caller.tenant).or_default().push(at);
    }
    let mut verdicts = vec![None; prepared.len()];
    for (tenant, places) in of_tenants {
        let limits = env.keyring.limits(tenant, env.config.limits);
        if limits.podcasts_in_flight == 0 && limits.characters_per_day == 0 {
            continue;
        }
        let used = tenants::hold(tx, tenant, limits.podcasts_in_flight.saturating_add(1)).await?;
        let keys: Vec<&str> = places.iter().filter_map(|at| prepared[*at].key()).collect();
        let mut known = tenants::known_keys(tx, tenant, &keys).await?;
        let mut standing = Standing { limits, used };
        for at in places {
            verdicts[at] = standing.judge(&mut known, prepared[at].key(), prepared[at].characters());
        }
        let asked = standing.used.characters - used.characters;
        if asked > 0 {
            tenants::charge(tx, tenant, asked).await?;
        }
    }
    Ok(verdicts)
}

/// What a tenant may have and what it has.
struct Standing {
    limits: Limits,
    used: Used,
}

impl Standing {
    fn judge(&mut self, known: &mut HashSet<String>, key: Option<&str>, characters: u64) -> Option<Limited> {
        if key.is_some_and(|key| known.contains(key)) {
            return None;
        }
        let Standing { limits, used } = self;
        let most = u64::from(limits.podcasts_in_flight);
        if most > 0 && u64::from(used.podcasts_in_flight) >= most {
            return Some(Limited {
                limit: "podcasts_in_flight",
                most,
                reason: format!("as many podcasts are in flight as the tenant may have, {most}"),
                remedy: "Send it again when one of them has ended, or have the tenant's limit raised",
                retry_after_seconds: ASK_AGAIN,
            });
        }
        let most = limits.characters_per_day;
        if most > 0 && used.characters.saturating_add(characters) > most {
            let used = used.characters;
            return Some(Limited {
                limit: "characters_per_day",
                most,
                reason: format!(
                    "it has {characters} characters, and the tenant has asked for {used} of its {most} today"
                ),
                remedy: "Send a shorter text, wait for midnight (UTC), or have the tenant's limit raised",
                retry_after_seconds: self.used.seconds_to_midnight,
            });
        }
        used.podcasts_in_flight += 1;
        used.characters = used.characters.saturating_add(characters);
        known.extend(key.map(str::to_owned));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(podcasts: u32, characters: u64) -> Standing {
        let limits =
            Limits { requests_per_minute: 0, podcasts_in_flight: podcasts, characters_per_day: characters };
        let used = Used { podcasts_in_flight: 1, characters: 10, seconds_to_midnight: 77 };
        Standing { limits, used }
    }

    #[test]
    fn what_would_go_beyond_a_limit_is_refused_by_its_name() {
        let mut known = HashSet::new();
        let mut two = standing(2, 0);
        assert_eq!(two.judge(&mut known, None, 1_000), None);
        let refused = two.judge(&mut known, None, 1).unwrap();
        assert_eq!((refused.limit, refused.most), ("podcasts_in_flight", 2));
        let mut hundred = standing(0, 100);
        assert_eq!(hundred.judge(&mut known, None, 91).unwrap().retry_after_seconds, 77);
        assert_eq!(hundred.judge(&mut known, None, 90), None, "to the last character");
        assert_eq!(hundred.judge(&mut known, None, 1).unwrap().limit, "characters_per_day");
        assert_eq!(hundred.used.characters, 100, "what is refused is not counted");
    }

    #[test]
    fn a_key_is_counted_once() {
        let mut known = HashSet::from(["before".to_owned()]);
        let mut full = standing(1, 0);
        assert_eq!(full.judge(&mut known, Some("before"), 5), None, "it is a podcast already");
        assert!(full.judge(&mut known, Some("new"), 5).is_some());
        let mut one_left = standing(2, 0);
        assert_eq!(one_left.judge(&mut known, Some("twice"), 5), None);
        assert_eq!(one_left.judge(&mut known, Some("twice"), 5), None, "twice in one batch is one podcast");
        assert!(one_left.judge(&mut known, Some("other"), 5).is_some());
    }
}
