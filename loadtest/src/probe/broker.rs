//! What RabbitMQ counted, as its management API tells.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

/// Messages so far. The API lags behind by up to five seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Broker {
    pub published: u64,
    pub confirmed: u64,
    pub delivered: u64,
    pub acked: u64,
    pub redelivered: u64,
    /// In all queues, at that moment.
    pub waiting: u64,
}

impl Broker {
    /// `management` is `http://user:password@host:port/`.
    pub async fn now(management: &str) -> anyhow::Result<Broker> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build()?;
        let answer = client.get(format!("{management}api/overview")).send().await;
        let answer =
            answer.and_then(reqwest::Response::error_for_status).map_err(reqwest::Error::without_url);
        let overview: Value = answer.context("RabbitMQ's overview")?.json().await?;
        Ok(read(&overview))
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Broker) -> Broker {
        Broker {
            published: self.published.saturating_sub(before.published),
            confirmed: self.confirmed.saturating_sub(before.confirmed),
            delivered: self.delivered.saturating_sub(before.delivered),
            acked: self.acked.saturating_sub(before.acked),
            redelivered: self.redelivered.saturating_sub(before.redelivered),
            waiting: self.waiting,
        }
    }
}

fn read(overview: &Value) -> Broker {
    let count = |name: &str| overview["message_stats"][name].as_u64().unwrap_or(0);
    Broker {
        published: count("publish"),
        confirmed: count("confirm"),
        delivered: count("deliver_get"),
        acked: count("ack"),
        redelivered: count("redeliver"),
        waiting: overview["queue_totals"]["messages"].as_u64().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_broker_that_has_done_nothing_counts_nothing() {
        assert_eq!(read(&json!({"message_stats": {}, "queue_totals": {}})), Broker::default());
        let later =
            read(&json!({"message_stats": {"publish": 9, "ack": 4}, "queue_totals": {"messages": 2}}));
        let since = later.since(Broker { published: 5, ..Broker::default() });
        assert_eq!((since.published, since.acked, since.waiting), (4, 4, 2));
    }
}
