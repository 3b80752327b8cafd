use super::Problems;
use serde::{Deserialize, Serialize};

/// `[policy]`: when a failed attempt is tried again. An engine may have its own: [`PolicyChanges`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// `PODFLEET__POLICY__MAX_FAILURES`: transient failures and timeouts of one task. Default 5.
    pub max_failures: u16,
    /// `PODFLEET__POLICY__MAX_THROTTLES`: times an engine may ask one task to wait. Default 50.
    pub max_throttles: u16,
    /// `PODFLEET__POLICY__BASE_MS`: first backoff; doubles with each failure. Default 1000.
    pub base_ms: u64,
    /// `PODFLEET__POLICY__CAP_MS`: longest backoff. Default 300000.
    pub cap_ms: u64,
    /// `PODFLEET__POLICY__MAX_RETRY_AFTER_MS`: longest wait that an engine may ask for. Default 600000.
    pub max_retry_after_ms: u64,
    /// `PODFLEET__POLICY__INTERRUPTED_MS`: shortest first wait after an interruption; up to five times that. Default 2000.
    pub interrupted_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            max_failures: 5,
            max_throttles: 50,
            base_ms: 1_000,
            cap_ms: 300_000,
            max_retry_after_ms: 600_000,
            interrupted_ms: 2_000,
        }
    }
}

/// `[engines.NAME.policy]`: what is different for the tasks of one engine. What is left out is as in `[policy]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyChanges {
    /// `PODFLEET__ENGINES__NAME__POLICY__MAX_FAILURES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failures: Option<u16>,
    /// `…__POLICY__MAX_THROTTLES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_throttles: Option<u16>,
    /// `…__POLICY__BASE_MS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_ms: Option<u64>,
    /// `…__POLICY__CAP_MS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_ms: Option<u64>,
    /// `…__POLICY__MAX_RETRY_AFTER_MS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retry_after_ms: Option<u64>,
}

impl PolicyChanges {
    /// The policy with these changes.
    pub fn of(&self, policy: &Policy) -> Policy {
        Policy {
            max_failures: self.max_failures.unwrap_or(policy.max_failures),
            max_throttles: self.max_throttles.unwrap_or(policy.max_throttles),
            base_ms: self.base_ms.unwrap_or(policy.base_ms),
            cap_ms: self.cap_ms.unwrap_or(policy.cap_ms),
            max_retry_after_ms: self.max_retry_after_ms.unwrap_or(policy.max_retry_after_ms),
            interrupted_ms: policy.interrupted_ms,
        }
    }
}

/// `[engines.NAME.breaker]`: when an engine that only fails is left alone for a while, by the whole fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// `PODFLEET__ENGINES__NAME__BREAKER__FAILURES`: in a row, of at least three tasks, within a minute. 0: no breaker. Default 10.
    pub failures: u16,
    /// `…__BREAKER__OPEN_MS`: until it is tried for the first time; doubles with each try that fails. Default 5000.
    pub open_ms: u64,
    /// `…__BREAKER__OPEN_CAP_MS`: longest time between two tries, and the first one too after an error of configuration. Default 30000.
    pub open_cap_ms: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { failures: 10, open_ms: 5_000, open_cap_ms: 30_000 }
    }
}

impl Breaker {
    pub(super) fn check(&self, engine: &str, problems: &mut Problems) {
        problems.add_if(
            !(self.open_ms > 0 && self.open_ms <= self.open_cap_ms && self.open_cap_ms <= 3_600_000),
            &format!("engines.{engine}.breaker"),
            format!("has open_ms {} and open_cap_ms {}", self.open_ms, self.open_cap_ms),
            "give 1 to 3600000, and no smaller cap",
        );
    }
}
