//! What a provider was asked, how each call ended, and what it cost.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use super::rules::Endpoint;

/// The calls in the order of arrival: the last 100,000 of them, and the sums of all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    pub calls: VecDeque<CallRecord>,
    /// Calls so far, those that are no longer listed included.
    pub total: u64,
    /// Calls that are being answered.
    pub in_flight: usize,
    /// The most that were being answered at one time.
    pub peak_in_flight: usize,
    /// What all calls cost, in millionths of a dollar.
    pub price_micros: u64,
}

/// Older calls are forgotten, so that a soak test has room.
pub(super) const KEPT: usize = 100_000;
/// Keys and voices come from outside.
const LONGEST_NAME: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallRecord {
    /// From 1; answers carry it as `x-request-id: req-N`.
    pub id: u64,
    pub endpoint: Endpoint,
    pub idempotency_key: Option<String>,
    /// BLAKE3 of the text to speak, or of the messages, in hexadecimal: equal texts have equal hashes.
    pub text_hash: String,
    /// The first number of a text to speak, which the recording codes.
    pub number: Option<u16>,
    pub voice: String,
    /// Of the request's body.
    pub bytes_in: u64,
    /// Of the answer's body, as far as it was sent.
    pub bytes_out: u64,
    pub status: Option<u16>,
    /// The name of the rule that it met, or of its misbehaviour.
    pub rule: Option<String>,
    pub started_at: Timestamp,
    pub first_byte_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub outcome: Outcome,
    pub tokens: Tokens,
    pub price_micros: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    pub prompt: u64,
    /// Of the prompt's: known from an earlier call.
    pub cached: u64,
    pub completion: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not answered yet.
    Open,
    Answered,
    /// A fault on demand, a limit, or a request that made no sense.
    Failed(u16),
    /// A 2xx on demand that was not what was asked for, or that was broken off.
    Misbehaved,
    /// The caller went away, or the provider was stopped.
    Abandoned,
}

/// What is known of a call when it arrives.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) input: &'a str,
    pub(super) voice: &'a str,
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) bytes_in: u64,
}

impl Ledger {
    /// Calls that were answered as they should be.
    pub fn answered(&self) -> usize {
        self.calls.iter().filter(|call| call.outcome == Outcome::Answered).count()
    }

    /// How often each text was answered, by its hash: more than once is money spent twice.
    pub fn answers_by_text(&self) -> BTreeMap<&str, usize> {
        let answered = self.calls.iter().filter(|call| call.outcome == Outcome::Answered);
        count(answered.map(|call| call.text_hash.as_str()))
    }

    /// Idempotency keys under which more than one call was answered, and how many.
    pub fn duplicates(&self) -> BTreeMap<&str, usize> {
        let answered = self.calls.iter().filter(|call| call.outcome == Outcome::Answered);
        let mut keys = count(answered.filter_map(|call| call.idempotency_key.as_deref()));
        keys.retain(|_, calls| *calls > 1);
        keys
    }

    /// The call with this id, unless it is forgotten.
    pub fn call(&self, id: u64) -> Option<&CallRecord> {
        self.calls.get(self.place(id)?)
    }

    fn place(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.calls.front()?.id)?).ok()
    }

    /// Writes down a call and says its id.
    pub(super) fn begin(&mut self, arrival: &Arrival<'_>, rule: Option<String>) -> u64 {
        self.total += 1;
        let speech = arrival.endpoint == Endpoint::Speech;
        self.calls.push_back(CallRecord {
            id: self.total,
            endpoint: arrival.endpoint,
            idempotency_key: arrival.idempotency_key.map(bounded),
            text_hash: blake3::hash(arrival.input.as_bytes()).to_hex().to_string(),
            number: super::number_in(arrival.input).filter(|_| speech),
            voice: bounded(arrival.voice),
            bytes_in: arrival.bytes_in,
            bytes_out: 0,
            status: None,
            rule,
            started_at: Timestamp::now(),
            first_byte_at: None,
            ended_at: None,
            outcome: Outcome::Open,
            tokens: Tokens::default(),
            price_micros: 0,
        });
        if self.calls.len() > KEPT {
            self.calls.pop_front();
        }
        self.in_flight += 1;
        self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
        self.total
    }

    pub(super) fn pay(&mut self, id: u64, tokens: Tokens, price_micros: u64) {
        self.price_micros += price_micros;
        self.change(id, |call| {
            call.tokens = tokens;
            call.price_micros = price_micros;
        });
    }

    pub(super) fn answering(&mut self, id: u64, status: u16) {
        self.change(id, |call| call.status = Some(status));
    }

    pub(super) fn sent(&mut self, id: u64, bytes: u64) {
        self.change(id, |call| {
            call.first_byte_at.get_or_insert_with(Timestamp::now);
            call.bytes_out += bytes;
        });
    }

    /// Once a call.
    pub(super) fn end(&mut self, id: u64, outcome: Outcome) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.change(id, |call| {
            call.outcome = outcome;
            call.ended_at = Some(Timestamp::now());
        });
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut CallRecord)) {
        if let Some(call) = self.place(id).and_then(|place| self.calls.get_mut(place)) {
            change(call);
        }
    }

    /// At most `limit` calls after the one with the id `after`, with the sums of all.
    pub(super) fn page(&self, after: u64, limit: usize) -> Ledger {
        let calls = self.calls.iter().filter(|call| call.id > after).take(limit).cloned().collect();
        Ledger { calls, ..*self }
    }
}

fn bounded(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

fn count<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(key: &'static str) -> Arrival<'static> {
        Arrival {
            endpoint: Endpoint::Speech,
            input: "7",
            voice: "v",
            idempotency_key: Some(key),
            bytes_in: 9,
        }
    }

    #[test]
    fn a_key_that_was_answered_twice_is_a_duplicate() {
        let mut ledger = Ledger::default();
        for (key, outcome) in [
            ("a", Outcome::Failed(500)),
            ("a", Outcome::Answered),
            ("b", Outcome::Answered),
            ("b", Outcome::Answered),
        ] {
            let id = ledger.begin(&arrival(key), None);
            ledger.pay(id, Tokens::default(), 5);
            ledger.end(id, outcome);
        }
        assert_eq!(ledger.duplicates(), BTreeMap::from([("b", 2)]));
        assert_eq!(ledger.answers_by_text().into_values().collect::<Vec<_>>(), [3]);
        assert_eq!((ledger.in_flight, ledger.peak_in_flight, ledger.price_micros), (0, 1, 20));
    }

    #[test]
    fn old_calls_are_forgotten_but_counted() {
        let mut ledger = Ledger::default();
        let first = ledger.begin(&arrival("a"), None);
        for _ in 0..KEPT {
            ledger.begin(&arrival("b"), None);
        }
        ledger.end(first, Outcome::Answered);
        assert_eq!((ledger.calls.len(), ledger.total, ledger.in_flight), (KEPT, KEPT as u64 + 1, KEPT));
        assert!(ledger.call(first).is_none() && ledger.call(first + 1).is_some_and(|call| call.id == 2));
        let page = ledger.page(5, 2);
        assert_eq!(page.calls.iter().map(|call| call.id).collect::<Vec<_>>(), [6, 7]);
    }
}
