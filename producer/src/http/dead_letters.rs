//! Dead letters: list, group, show. What is decided about them is in [`settle`].

pub(super) mod filter;
pub(super) mod settle;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::access::Role;
use common::class::Class;
use common::request::Fault;
use common::store::audit::{self, Entry, NewAudit};
use common::store::dead_letters::Source;
use common::store::dead_letters::advice::advice;
use common::store::dead_letters::reading::{self, Group, Letter, Whole};
use common::store::dead_letters::redact::redacted;
use common::store::replay;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::door::forbidden;
use super::extract::{LetterId, Params};
use super::paging::page;
use super::problem::Problem;
use super::{App, submit};
use crate::Caller;
use crate::replay::why_not;
use filter::Wanted;

/// A page of letters, newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterPage")]
pub(super) struct Page {
    dead_letters: Vec<Letter>,
    /// Give it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Page>, Problem> {
    let (filter, limit, before) = (wanted.filter()?, wanted.limit()?, wanted.before()?);
    let found = app
        .read(async |client| reading::letters(client, &caller.tenant, &filter, before, limit + 1).await)
        .await?;
    let (dead_letters, next) = page(found, limit, |letter| letter.id);
    Ok(Json(Page { dead_letters, next }))
}

/// Letters by cause.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterGroups")]
pub(super) struct Groups {
    groups: Vec<Group>,
}

pub(super) async fn groups(
    State(app): State<App>,
    caller: Caller,
    Params(wanted): Params<Wanted>,
) -> Result<Json<Groups>, Problem> {
    let (filter, limit) = (wanted.filter()?, wanted.limit()?);
    if wanted.cursor.is_some() {
        return Err(Problem::bad_request("cursor", "groups have no pages", "Narrow them with a filter"));
    }
    let groups =
        app.read(async |client| reading::groups(client, &caller.tenant, &filter, limit).await).await?;
    Ok(Json(Groups { groups }))
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeadLetterQuery")]
pub(super) struct Look {
    #[serde(default)]
    payload: bool,
}

/// A letter in full.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeadLetterShown")]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) letter: Letter,
    /// What it means and what to do, in plain words.
    pub(super) advice: &'static str,
    pub(super) replayable: bool,
    /// Why it cannot be replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why_not: Option<String>,
    /// Whose podcast or message it is.
    pub(super) principal: String,
    pub(super) chain: Value,
    pub(super) history: Value,
    pub(super) payload: Value,
    /// What an edit changed of the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<Value>,
    pub(super) audit: Vec<Entry>,
}

pub(super) async fn show(
    State(app): State<App>,
    caller: Caller,
    LetterId(id): LetterId,
    Params(look): Params<Look>,
) -> Result<Json<Shown>, Problem> {
    open(&app, &caller, id, look.payload).await.map(Json)
}

/// The payload is redacted unless it is asked for; then the look at it is written down first.
pub(super) async fn open(app: &App, caller: &Caller, id: Uuid, with_payload: bool) -> Result<Shown, Problem> {
    let tenant = &caller.tenant;
    let whole = app.read(async |client| reading::letter(client, tenant, id).await).await?;
    let whole = whole.ok_or_else(|| unknown(id))?;
    if with_payload && caller.role < Role::Support {
        return Err(forbidden(caller, Role::Support));
    }
    let subject = replay::subject(id);
    if with_payload {
        let entry = NewAudit {
            tenant,
            principal: &caller.principal,
            action: "dead_letter.view_payload",
            subject: subject.clone(),
            reason: None,
            before: None,
            after: None,
        };
        app.read(async |client| {
            let tx = client.transaction().await?;
            audit::insert(&tx, &entry).await?;
            Ok(tx.commit().await?)
        })
        .await?;
    }
    let audit = app.read(async |client| audit::of_subject(client, tenant, &subject).await).await?;
    Ok(shown(whole, with_payload, audit))
}

fn shown(whole: Whole, with_payload: bool, audit: Vec<Entry>) -> Shown {
    let why_not = match (&whole.letter.settled, whole.letter.source.as_str()) {
        (Some(settled), _) => Some(format!("It was {} by {} at {}", settled.state, settled.by, settled.at)),
        (None, "message") => why_not(&whole, false).map(|why| format!("{}. {}", why.reason, why.remedy)),
        (None, _) => None,
    };
    let source = Source::parse(&whole.letter.source).unwrap_or(Source::Task);
    let class = Class::parse(&whole.letter.class).unwrap_or(Class::Transient);
    let difference = whole.difference.as_ref();
    Shown {
        advice: advice(source, class),
        replayable: why_not.is_none(),
        why_not,
        payload: payload(&whole, with_payload),
        difference: difference.map(|list| if with_payload { list.clone() } else { redacted(list) }),
        letter: whole.letter,
        principal: whole.principal,
        chain: whole.chain,
        history: whole.history,
        audit,
    }
}

/// What is no JSON is shown as text, and redacted as a whole.
fn payload(whole: &Whole, in_full: bool) -> Value {
    let Some(bytes) = &whole.payload else { return Value::Null };
    let length = whole.payload_bytes.unwrap_or_else(|| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    let cut = usize::try_from(length).is_ok_and(|length| length > bytes.len());
    let (format, value) = match (serde_json::from_slice::<Value>(bytes), in_full) {
        (Ok(value), true) => ("json", value),
        (Ok(value), false) => ("json", redacted(&value)),
        (Err(_), true) => ("text", Value::String(String::from_utf8_lossy(bytes).into_owned())),
        (Err(_), false) => ("text", Value::Null),
    };
    json!({"format": format, "bytes": length, "cut": cut, "redacted": !in_full, "value": value})
}

/// There is no such letter, or it is another tenant's: the answer is the same.
pub(super) fn unknown(id: Uuid) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("There is no dead letter {id}"))
}

/// A JSON body, refused with the path of what is wrong in it.
pub(super) async fn body<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    submit::check_content_type(headers)?;
    let _memory = submit::memory(app, headers).map_err(|(_, problem)| problem)?;
    let bytes = submit::read(body, submit::announced(headers)).await?;
    parse(&bytes).map_err(|fault| Problem::faulty(StatusCode::UNPROCESSABLE_ENTITY, vec![fault]))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let fault = |field: String, reason: String| {
        let remedy = r#"Send one JSON object, such as {"reason": "the engine is repaired"}"#;
        Fault { field, reason, remedy: remedy.into() }
    };
    // A list would be taken for an object's fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(fault("body".into(), "it is a list".into()));
    }
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let broken = error.inner().is_syntax() || error.inner().is_eof() || path == ".";
        fault(if broken { "body".into() } else { path }, error.inner().to_string())
    })?;
    deserializer.end().map_err(|error| fault("body".into(), format!("there is more after it: {error}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(payload: Option<&[u8]>, bytes: i32) -> Whole {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let letter = Letter {
            id: Uuid::nil(),
            cause: "x".into(),
            class: "permanent_input".into(),
            source: "message".into(),
            state: "open".into(),
            kind: None,
            engine: None,
            podcast: None,
            task: None,
            fingerprint: "f".into(),
            version: "0".into(),
            created_at: now,
            first_seen: now,
            last_seen: now,
            seen: 1,
            origin: Some("request".into()),
            message_id: None,
            settled: None,
        };
        let payload = payload.map(<[u8]>::to_vec);
        let (chain, history) = (json!([]), json!([]));
        let payload_bytes = Some(bytes);
        Whole { letter, principal: "p".into(), chain, history, payload, payload_bytes, difference: None }
    }

    #[test]
    fn a_payload_is_shown_whole_only_on_demand() {
        let request = whole(Some(br#"{"title": "secret"}"#), 19);
        assert!(!payload(&request, false).to_string().contains("secret"));
        assert_eq!(payload(&request, true)["value"]["title"], "secret");
        let garbage = whole(Some(b"secret \xff"), 8);
        assert!(!payload(&garbage, false).to_string().contains("secret"));
        assert_eq!(payload(&garbage, true)["value"], "secret \u{fffd}");
        assert_eq!(payload(&whole(None, 0), true), Value::Null);
    }

    #[test]
    fn what_was_cut_cannot_be_replayed_as_it_is() {
        let cut = shown(whole(Some(b"{"), 5), false, Vec::new());
        assert!(!cut.replayable && cut.payload["cut"] == true, "{cut:?}");
        let all = shown(whole(Some(b"{"), 1), false, Vec::new());
        assert!(all.replayable && all.why_not.is_none(), "{all:?}");
    }

    #[test]
    fn a_body_is_refused_by_the_path_of_what_is_wrong() {
        let field = |text: &str| parse::<settle::EditReplay>(text.as_bytes()).unwrap_err().field;
        assert_eq!(field("{"), "body");
        assert_eq!(field(""), "body");
        assert_eq!(field(r#"{"reason": 7, "payload": {}}"#), "reason");
        assert_eq!(field(r#"{"reason": "x", "payload": {}, "force": 1}"#), "force");
        assert_eq!(field(r#"{"reason": "x", "payload": {}} more"#), "body");
    }
}
