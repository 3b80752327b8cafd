use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[limits]`: what one tenant may ask for; 0: no limit. `podfleet limits set` gives a tenant limits of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// `PODFLEET__LIMITS__REQUESTS_PER_MINUTE`: to the HTTP API of one producer. Default 0.
    pub requests_per_minute: u32,
    /// `PODFLEET__LIMITS__PODCASTS_IN_FLIGHT`: that run at the same time. Default 0.
    pub podcasts_in_flight: u32,
    /// `PODFLEET__LIMITS__CHARACTERS_PER_DAY`: of source text, in a day by UTC. Default 0.
    pub characters_per_day: u64,
}
