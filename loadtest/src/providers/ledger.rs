//! What a provider was asked, and how each call ended.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// Every call in the order of arrival.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    pub calls: Vec<CallRecord>,
    /// Calls that are being answered.
    pub in_flight: usize,
    /// The most that were being answered at one time.
    pub peak_in_flight: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallRecord {
    /// BLAKE3 of the text, in hexadecimal: equal texts have equal hashes.
    pub text_hash: String,
    /// The first number of the text, which the recording codes.
    pub number: Option<u16>,
    pub voice: String,
    pub idempotency_key: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not answered yet.
    Open,
    Answered,
    /// A fault on demand, or a request that made no sense.
    Failed(u16),
    /// The caller went away, or the provider was stopped.
    Abandoned,
}

impl Ledger {
    /// Calls that were answered with a recording.
    pub fn answered(&self) -> usize {
        self.calls.iter().filter(|call| call.outcome == Outcome::Answered).count()
    }

    /// How often each text was answered with a recording, by its hash: more than once is money spent twice.
    pub fn answers_by_text(&self) -> BTreeMap<&str, usize> {
        let mut answers = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.outcome == Outcome::Answered) {
            *answers.entry(call.text_hash.as_str()).or_default() += 1;
        }
        answers
    }

    /// Writes down a call and says where.
    pub(super) fn begin(&mut self, text: &str, voice: String, idempotency_key: Option<String>) -> usize {
        self.calls.push(CallRecord {
            text_hash: blake3::hash(text.as_bytes()).to_hex().to_string(),
            number: super::number_in(text),
            voice,
            idempotency_key,
            started_at: Timestamp::now(),
            ended_at: None,
            outcome: Outcome::Open,
        });
        self.in_flight += 1;
        self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
        self.calls.len() - 1
    }

    pub(super) fn end(&mut self, place: usize, outcome: Outcome) {
        if let Some(call) = self.calls.get_mut(place).filter(|call| call.outcome == Outcome::Open) {
            call.outcome = outcome;
            call.ended_at = Some(Timestamp::now());
            self.in_flight -= 1;
        }
    }
}
