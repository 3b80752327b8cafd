//! Webhooks as the Standard Webhooks specification writes and signs them (<https://www.standardwebhooks.com>, 1.0.0), and
//! when one that was not taken is sent again.

use std::time::Duration;

use anyhow::anyhow;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use uuid::Uuid;

const SECRET_BYTES: usize = 32;
/// How long a secret signs beside the one that takes its place.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// A secret of 256 random bits.
pub fn new_secret() -> anyhow::Result<Vec<u8>> {
    let mut secret = vec![0; SECRET_BYTES];
    SystemRandom::new()
        .fill(&mut secret)
        .map_err(|_| anyhow!("the operating system gives no random numbers"))?;
    Ok(secret)
}

/// A secret as its receiver is given it.
pub fn written(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

/// What a webhook's id looks like from outside.
pub fn message_id(id: Uuid) -> String {
    format!("msg_{}", id.simple())
}

/// The body: the same, byte for byte, however often it is sent.
pub fn body(podcast: Uuid, event: &str, seq: i64, at: Timestamp, data: &Value) -> Vec<u8> {
    let mut told =
        json!({"podcast": podcast, "seq": seq, "links": {"self": format!("/v1/podcasts/{podcast}")}});
    if let (Value::Object(told), Value::Object(data)) = (&mut told, data) {
        told.extend(data.clone());
    }
    let body = json!({"type": format!("podcast.{event}"), "timestamp": at, "data": told});
    body.to_string().into_bytes()
}

/// The header `webhook-signature`: one signature for each secret, so that receivers may change theirs in their own time.
pub fn signatures(secrets: &[Vec<u8>], message_id: &str, at: Timestamp, body: &[u8]) -> String {
    let signed = [format!("{message_id}.{}.", at.as_second()).as_bytes(), body].concat();
    let sign = |secret: &Vec<u8>| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)))
    };
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// What its receiver answered, or that it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Status {
        code: u16,
        retry_after: Option<Duration>,
    },
    None,
    /// The address is one that must not be asked; it was judged again when it was sent.
    Forbidden,
}

/// What becomes of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    /// Sent again after this.
    Again(Duration),
    /// Nobody will try again by himself.
    GivenUp,
    /// And nothing more is sent to this address.
    Gone,
}

/// Waits after the first, second, … attempt: eight attempts in about 18 hours.
const WAITS: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
];
/// The longest that a receiver's own wish is listened to.
const LONGEST_WISH: Duration = Duration::from_secs(3600);

/// Decides after an attempt, the first of which is 1; `jitter` is from 0 to 1 and adds up to a fifth. Only 2xx is a yes: a
/// redirect is none, because it could lead anywhere.
pub fn next(attempt: u32, answer: Answer, jitter: f64) -> Next {
    let wish = match answer {
        Answer::Status { code: 200..=299, .. } => return Next::Delivered,
        Answer::Status { code: 410, .. } => return Next::Gone,
        Answer::Forbidden => return Next::GivenUp,
        Answer::Status { retry_after, .. } => retry_after.unwrap_or_default().min(LONGEST_WISH),
        Answer::None => Duration::ZERO,
    };
    let Some(wait) = usize::try_from(attempt).ok().and_then(|attempt| WAITS.get(attempt.saturating_sub(1)))
    else {
        return Next::GivenUp;
    };
    Next::Again(wait.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 5.0).max(wish))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(written(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let at = Timestamp::from_second(1_614_265_330).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signatures(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = signatures(&[new_secret().unwrap(), secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body);
        assert_eq!(both.split(' ').count(), 2);
        assert!(both.ends_with(&signed) && !both.starts_with(&signed));
    }

    #[test]
    fn only_a_2xx_is_a_yes() {
        let status = |code| Answer::Status { code, retry_after: None };
        for (answer, expected) in [
            (status(200), Next::Delivered),
            (status(204), Next::Delivered),
            (status(301), Next::Again(WAITS[0])),
            (status(400), Next::Again(WAITS[0])),
            (status(410), Next::Gone),
            (status(500), Next::Again(WAITS[0])),
            (Answer::None, Next::Again(WAITS[0])),
            (Answer::Forbidden, Next::GivenUp),
        ] {
            assert_eq!(next(1, answer, 0.0), expected, "{answer:?}");
        }
    }

    #[test]
    fn it_is_sent_again_over_hours_and_then_no_more() {
        let total: Duration = (1..)
            .map_while(|attempt| match next(attempt, Answer::None, 0.0) {
                Next::Again(wait) => Some(wait),
                _ => None,
            })
            .sum();
        assert_eq!(total.as_secs() / 3600, 17);
        assert_eq!(next(8, Answer::None, 0.0), Next::GivenUp);
        assert_eq!(next(1, Answer::None, 1.0), Next::Again(Duration::from_secs(6)));
        let asked = |seconds| Answer::Status { code: 503, retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(next(1, asked(120), 0.0), Next::Again(Duration::from_secs(120)));
        assert_eq!(next(1, asked(1_000_000), 0.0), Next::Again(LONGEST_WISH));
    }

    #[test]
    fn a_body_tells_the_event() {
        let at = Timestamp::from_second(0).unwrap();
        let told: Value =
            serde_json::from_slice(&body(Uuid::nil(), "failed", 7, at, &json!({"state": "failed"}))).unwrap();
        assert_eq!(told["type"], "podcast.failed");
        assert_eq!(told["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!((&told["data"]["seq"], &told["data"]["state"]), (&json!(7), &json!("failed")));
    }
}
