//! Pauses: work that is not sent out until somebody resumes it. What is out already is finished; nothing that is held back is lost,
//! and deadlines go on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::ChosenEngines;
use crate::topology::Lane;
use crate::work::Kind;

/// What is held back: everything that all of the given parts fit. A part that is left out fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "PauseScope")]
pub struct Scope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<Lane>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

fn fits<T: PartialEq + ?Sized>(wanted: Option<&T>, given: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == given)
}

impl Scope {
    /// Whether a task is held back.
    pub fn covers(&self, tenant: &str, kind: Kind, lane: Lane, engine: &str) -> bool {
        self.touches(kind, lane)
            && fits(self.tenant.as_deref(), tenant)
            && fits(self.engine.as_deref(), engine)
    }

    /// Whether anything in a lane may be held back.
    pub fn touches(&self, kind: Kind, lane: Lane) -> bool {
        fits(self.kind.as_ref(), &kind) && fits(self.lane.as_ref(), &lane)
    }

    /// Whether everything in a lane is held back, whosever it is.
    pub fn stops(&self, kind: Kind, lane: Lane) -> bool {
        self.tenant.is_none() && self.engine.is_none() && self.touches(kind, lane)
    }

    /// Whether a podcast meets this on its way.
    pub fn meets(&self, tenant: &str, lane: Lane, engines: &ChosenEngines) -> bool {
        let lane = self.lane.filter(|lane| *lane == Lane::Alone).unwrap_or(lane);
        Kind::ALL.into_iter().any(|kind| self.covers(tenant, kind, lane, engines.engine(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(kind: Option<Kind>, lane: Option<Lane>, tenant: Option<&str>, engine: Option<&str>) -> Scope {
        Scope { tenant: tenant.map(Into::into), kind, lane, engine: engine.map(Into::into) }
    }

    #[test]
    fn a_pause_covers_what_all_of_its_parts_fit() {
        let covers = |scope: &Scope| scope.covers("acme", Kind::Tts, Lane::High, "espeak");
        assert!(covers(&Scope::default()), "everything");
        assert!(covers(&scope(Some(Kind::Tts), Some(Lane::High), Some("acme"), Some("espeak"))));
        for other in [
            scope(Some(Kind::Mix), None, None, None),
            scope(None, Some(Lane::Low), None, None),
            scope(None, None, Some("rival"), None),
            scope(Some(Kind::Tts), None, None, Some("openai")),
        ] {
            assert!(!covers(&other), "{other:?}");
        }
    }

    #[test]
    fn a_lane_stands_still_only_for_everybody() {
        assert!(scope(Some(Kind::Tts), None, None, None).stops(Kind::Tts, Lane::Low));
        assert!(scope(None, Some(Lane::Low), None, None).stops(Kind::Mix, Lane::Low));
        assert!(!scope(None, Some(Lane::Low), None, None).stops(Kind::Mix, Lane::High));
        assert!(!scope(None, None, Some("acme"), None).stops(Kind::Mix, Lane::High));
        assert!(scope(None, None, Some("acme"), None).touches(Kind::Mix, Lane::High));
        assert!(!scope(Some(Kind::Tts), None, None, Some("espeak")).stops(Kind::Tts, Lane::High));
    }
}
