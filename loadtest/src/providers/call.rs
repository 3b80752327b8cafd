//! One call, from its arrival to the first byte of its answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Response};

use super::faults;
use super::gate::{Gate, Place};
use super::latency::Latency;
use super::ledger::{Arrival, Outcome, Tokens};
use super::plan::{Entry, Plan, play};
use super::rules::{Asked, Fate, Misbehaviour};
use super::socket::Switch;
use super::{Shared, locked};

pub(super) struct Call {
    entry: Entry,
    fate: Fate,
    place: Option<Place>,
    switch: Switch,
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Option<&str> {
    headers.get("idempotency-key")?.to_str().ok()
}

impl Call {
    /// Asks the rules and writes the call down.
    pub(super) fn begin(
        shared: Arc<Shared>,
        switch: Switch,
        asked: &Asked<'_>,
        arrival: &Arrival<'_>,
    ) -> Call {
        let fate = locked(&shared.rules).decide(asked);
        let rule = fate.rule.as_ref().map(|rule| match (&rule.name, rule.misbehaviour) {
            (name, Some(misbehaviour)) if name.is_empty() => misbehaviour.name(),
            (name, _) => name.clone(),
        });
        let id = locked(&shared.ledger).begin(arrival, rule);
        Call { entry: Entry::new(shared, id), fate, place: None, switch }
    }

    pub(super) fn id(&self) -> u64 {
        self.entry.id
    }

    pub(super) fn misbehaviour(&self) -> Option<Misbehaviour> {
        self.fate.misbehaviour()
    }

    /// The status that the rule gives for its misbehaviour.
    pub(super) fn rule_status(&self) -> Option<u16> {
        self.fate.rule.as_ref().and_then(|rule| rule.status)
    }

    /// Through the gate, unless a rule or the gate itself refuses: then with what to answer.
    pub(super) async fn enter(&mut self, gate: &Gate) -> Result<(), Plan> {
        if let Some(plan) = self.fate.rule.as_ref().and_then(faults::refusal) {
            return Err(plan);
        }
        match gate.enter().await {
            Ok(place) => {
                self.place = Some(place);
                Ok(())
            }
            Err(refused) => Err(faults::throttled(refused.retry_after, "too many requests at a time")),
        }
    }

    /// The rule's, or else drawn from the endpoint's.
    pub(super) fn latency(&self, usual: Latency) -> Duration {
        self.draw(self.fate.latency.unwrap_or(usual))
    }

    /// Drawn from this one, whatever the rule says.
    pub(super) fn draw(&self, latency: Latency) -> Duration {
        latency.draw(&mut locked(&self.entry.shared.random))
    }

    pub(super) fn rule_latency(&self) -> Option<Latency> {
        self.fate.latency
    }

    /// Waits, or for ever when that is what the rule says.
    pub(super) async fn wait(&self, latency: Duration) {
        if self.misbehaviour() == Some(Misbehaviour::StallBefore) {
            self.entry.shared.stopping.cancelled().await;
        } else if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    pub(super) fn pay(&self, tokens: Tokens, price_micros: f64) {
        if self
            .misbehaviour()
            .is_some_and(|wrong| matches!(wrong, Misbehaviour::StallBefore | Misbehaviour::ResetBefore))
        {
            return;
        }
        locked(&self.entry.shared.ledger).pay(self.entry.id, tokens, price_micros.round() as u64);
    }

    pub(super) fn answer(self, plan: Plan) -> Response<Body> {
        match self.misbehaviour() {
            // It was waiting for the end: nobody was answered.
            Some(Misbehaviour::StallBefore) if plan.status.is_success() => {
                drop(self.entry);
                let mut response = Response::new(Body::empty());
                *response.status_mut() = axum::http::StatusCode::SERVICE_UNAVAILABLE;
                response
            }
            Some(Misbehaviour::ResetBefore) if plan.status.is_success() => {
                self.switch.reset();
                let nothing = Box::new(std::iter::empty());
                let plan = Plan { length: Some(0), pieces: nothing, outcome: Outcome::Misbehaved, ..plan };
                play(plan, self.entry, self.place, &self.switch)
            }
            _ => play(plan, self.entry, self.place, &self.switch),
        }
    }
}
