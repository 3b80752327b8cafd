//! What comes with a request besides its body, decoded by itself, for the crate `fuzz`. Nothing in the fleet calls this; it is compiled
//! always, so that the fleet is built once, with one set of features.

use common::request::Fault;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

pub use crate::http::fuzzing as http;
use crate::intake;

/// The longest reason that goes into a header.
pub const MAX_REASON: usize = intake::MAX_REASON;

/// What the properties of a message tell.
#[derive(Debug)]
pub struct Sender {
    pub tenant: String,
    pub principal: String,
    pub key: Result<String, Fault>,
    pub since: Timestamp,
    pub traceparent: Option<String>,
}

/// Reads properties as they come with a request over AMQP. `message_id` and `user_id` have at most 255 bytes there.
pub fn sender(message_id: &str, user_id: &str, timestamp: u64, traceparent: &str, now: Timestamp) -> Sender {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.into()));
    let properties = BasicProperties::default()
        .with_message_id(message_id.into())
        .with_user_id(user_id.into())
        .with_timestamp(timestamp)
        .with_headers(headers);
    let caller = intake::caller(&properties);
    Sender {
        tenant: caller.tenant,
        principal: caller.principal,
        key: intake::message_id(&properties),
        since: intake::since(&properties, now),
        traceparent: intake::traceparent(&properties),
    }
}

/// A reason as it fits into a header.
pub fn reason(text: &str) -> &str {
    intake::cut(text, MAX_REASON)
}
