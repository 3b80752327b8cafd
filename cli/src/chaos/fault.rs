//! What may be done to the fleet.

use common::crash;
use common::private::Fault as NetworkFault;
use loadtest::providers::Misbehaviour;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Killed(&'static str),
    Frozen(&'static str),
    Ended(&'static str),
    MixerKilled,
    MixerFrozen,
    MixerEnded,
    /// A process aborts when it passes this point.
    Crash(&'static str),
    BrokerKilled,
    BrokerRestarted,
    BrokerWiped,
    BrokerAlarmed(Resource),
    Deleted(Queue),
    DatabaseKilled,
    DatabaseRestarted,
    CacheKilled,
    CacheFlushed,
    CacheFrozen,
    Network(Link, NetworkFault),
    NetworkCut(Link),
    Provider(Misbehaviour),
    ProviderCrashed,
    Messages(Mischief),
}

/// What the broker may run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Memory,
    Disk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Lane,
    /// A lane that holds nothing and has nothing under way; the next request needs it, and its ticket comes back.
    EmptyLane,
    Outcomes,
    Requests,
    Epoch,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Broker,
    Database,
    Cache,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mischief {
    Duplicated,
    Reordered,
    /// Tickets take a shape that only a later version knows.
    Newer,
    /// Input, not a fault.
    Garbage,
}

/// What a fault needs for itself while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Member(String),
    Broker,
    Database,
    Cache,
    Provider,
    Link(Link),
}

/// Every fault there is.
pub(super) fn deck() -> Vec<Fault> {
    const ROLES: [&str; 3] = ["producer", "collector", "worker"];
    const LINKS: [Link; 3] = [Link::Broker, Link::Database, Link::Cache];
    let slow = NetworkFault::Delay { ms: 150, jitter_ms: 100 };
    let mut deck = vec![
        Fault::MixerKilled,
        Fault::MixerFrozen,
        Fault::MixerEnded,
        Fault::BrokerKilled,
        Fault::BrokerRestarted,
        Fault::BrokerWiped,
        Fault::BrokerAlarmed(Resource::Memory),
        Fault::BrokerAlarmed(Resource::Disk),
        Fault::DatabaseKilled,
        Fault::DatabaseRestarted,
        Fault::CacheKilled,
        Fault::CacheFlushed,
        Fault::CacheFrozen,
        Fault::Provider(Misbehaviour::Throttled),
        Fault::Provider(Misbehaviour::ServerError),
        Fault::Provider(Misbehaviour::StallBefore),
        Fault::Provider(Misbehaviour::ResetMiddle),
        Fault::Provider(Misbehaviour::TruncatedAudio),
        Fault::Provider(Misbehaviour::Html),
        Fault::ProviderCrashed,
        Fault::Messages(Mischief::Duplicated),
        Fault::Messages(Mischief::Reordered),
        Fault::Messages(Mischief::Newer),
        Fault::Messages(Mischief::Garbage),
    ];
    let queues = [Queue::Lane, Queue::EmptyLane, Queue::Outcomes, Queue::Requests, Queue::Epoch, Queue::Dead];
    deck.extend(queues.map(Fault::Deleted));
    deck.extend(
        ROLES.into_iter().flat_map(|role| [Fault::Killed(role), Fault::Frozen(role), Fault::Ended(role)]),
    );
    deck.extend(crash::POINTS.iter().map(|point| Fault::Crash(point)));
    deck.extend(LINKS.into_iter().flat_map(|link| {
        [Fault::NetworkCut(link), Fault::Network(link, NetworkFault::Blackhole), Fault::Network(link, slow)]
    }));
    deck
}

impl Fault {
    pub(super) fn name(self) -> String {
        match self {
            Fault::Killed(role) => format!("{role} killed"),
            Fault::Frozen(role) => format!("{role} frozen"),
            Fault::Ended(role) => format!("{role} ended"),
            Fault::MixerKilled => "mixer killed".into(),
            Fault::MixerFrozen => "mixer frozen".into(),
            Fault::MixerEnded => "mixer ended".into(),
            Fault::Crash(point) => format!("crash {point}"),
            Fault::BrokerKilled => "broker killed".into(),
            Fault::BrokerRestarted => "broker restarted".into(),
            Fault::BrokerWiped => "broker wiped".into(),
            Fault::BrokerAlarmed(resource) => format!("broker alarmed: {resource:?}").to_lowercase(),
            Fault::Deleted(Queue::EmptyLane) => "empty lane deleted".into(),
            Fault::Deleted(queue) => format!("{queue:?} deleted").to_lowercase(),
            Fault::DatabaseKilled => "database killed".into(),
            Fault::DatabaseRestarted => "database restarted".into(),
            Fault::CacheKilled => "cache killed".into(),
            Fault::CacheFlushed => "cache flushed".into(),
            Fault::CacheFrozen => "cache frozen".into(),
            Fault::NetworkCut(link) => format!("{link:?} cut off").to_lowercase(),
            Fault::Network(link, NetworkFault::Blackhole) => format!("{link:?} silent").to_lowercase(),
            Fault::Network(link, _) => format!("{link:?} slow").to_lowercase(),
            Fault::Provider(misbehaviour) => format!("provider {}", misbehaviour.name()),
            Fault::ProviderCrashed => "provider crashed".into(),
            Fault::Messages(mischief) => format!("messages {mischief:?}").to_lowercase(),
        }
    }

    /// Malformed messages are input, not faults.
    pub(super) fn counts(self) -> bool {
        self != Fault::Messages(Mischief::Garbage)
    }

    /// What must not be under another fault at the same time, besides the process that it chooses.
    pub(super) fn target(self) -> Option<Target> {
        match self {
            Fault::BrokerKilled
            | Fault::BrokerRestarted
            | Fault::BrokerWiped
            | Fault::BrokerAlarmed(_)
            | Fault::Deleted(_)
            | Fault::Messages(_) => Some(Target::Broker),
            Fault::DatabaseKilled | Fault::DatabaseRestarted => Some(Target::Database),
            Fault::CacheKilled | Fault::CacheFlushed | Fault::CacheFrozen => Some(Target::Cache),
            Fault::Provider(_) | Fault::ProviderCrashed => Some(Target::Provider),
            Fault::Network(link, _) | Fault::NetworkCut(link) => Some(Target::Link(link)),
            Fault::Killed(_)
            | Fault::Frozen(_)
            | Fault::Ended(_)
            | Fault::MixerKilled
            | Fault::MixerFrozen
            | Fault::MixerEnded
            | Fault::Crash(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let deck = deck();
        let names: BTreeSet<String> = deck.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), deck.len());
    }
}
