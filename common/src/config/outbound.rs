use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::engine::comma_separated;

/// `[outbound]`: the addresses that requests name, `source.url` and `callback_url`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// `PODFLEET__OUTBOUND__ALLOW`: networks that may be reached although they are not public, comma-separated, as in `10.1.0.0/16`;
    /// these on any port, and over http, too. The same for producers and workers. Default none.
    #[serde(deserialize_with = "comma_separated")]
    pub allow: Vec<IpNet>,
    /// `PODFLEET__OUTBOUND__TIMEOUT_MS`: for one whole page, its redirects included, or one call of a webhook. Default 15000.
    pub timeout_ms: u64,
}

impl Default for Outbound {
    fn default() -> Self {
        Outbound { allow: Vec::new(), timeout_ms: 15_000 }
    }
}

impl Outbound {
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
