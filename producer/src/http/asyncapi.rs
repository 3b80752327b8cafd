//! The description of what travels over AMQP (AsyncAPI 3.0), made of the types that are read and written.

use common::request::PodcastRequest;
use common::store::events;
use common::topology::{EVENTS_EXCHANGE, REQUESTS_EXCHANGE};
use common::wire::Hint;
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Value, json};

use crate::intake::{Refused, Reply};

const SCHEMAS: &str = "/components/schemas";

pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut read = settings.clone().for_deserialize().into_generator();
    let mut written = settings.for_serialize().into_generator();
    let messages = json!({
        "request": {
            "title": "A request for a podcast",
            "summary": "The same JSON as in POST /v1/podcasts.",
            "description": "The property message_id is required, 1 to 255 visible ASCII characters: it is the idempotency key. \
                            The broker vouches for user_id, which is the tenant; without it the tenant is `default`. With \
                            reply_to the answer is sent there, with correlation_id, else message_id, as its correlation_id. \
                            timestamp is when the deadline begins to run. The header traceparent is taken on.",
            "contentType": "application/json",
            "payload": payload::<PodcastRequest>(&mut read),
        },
        "reply": {
            "title": "What became of a request",
            "contentType": "application/json",
            "payload": payload::<Reply>(&mut written),
        },
        "event": {
            "title": "Something has changed",
            "description": "A hint: whoever must miss nothing follows /v1/podcasts/{id}/events, which resumes after a seq.",
            "contentType": "application/json",
            "payload": payload::<Hint>(&mut written),
        },
        "refused": {
            "title": "A request over AMQP was refused",
            "contentType": "application/json",
            "payload": payload::<Refused>(&mut written),
        },
    });
    let mut schemas = written.take_definitions(true);
    schemas.extend(read.take_definitions(true));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Podfleet over AMQP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Requests go in and events come out through the broker that the fleet works on (AMQP 0-9-1).",
            "license": {"name": "Apache-2.0 OR MIT"},
        },
        "defaultContentType": "application/json",
        "channels": channels(),
        "operations": {
            "takeRequest": {
                "action": "receive",
                "channel": {"$ref": "#/channels/requests"},
                "messages": [{"$ref": "#/channels/requests/messages/request"}],
                "reply": {
                    "address": {"description": "The queue that the property reply_to names.", "location": "$message.header#/replyTo"},
                    "channel": {"$ref": "#/channels/replies"},
                    "messages": [{"$ref": "#/channels/replies/messages/reply"}],
                },
            },
            "tellEvent": {
                "action": "send",
                "channel": {"$ref": "#/channels/events"},
                "messages": [{"$ref": "#/channels/events/messages/event"}],
            },
            "tellRefusal": {
                "action": "send",
                "channel": {"$ref": "#/channels/refusals"},
                "messages": [{"$ref": "#/channels/refusals/messages/refused"}],
            },
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

fn channels() -> Value {
    let exchange = |name: &str, kind: &str| {
        let exchange = json!({"name": name, "type": kind, "durable": true, "autoDelete": false});
        json!({"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}})
    };
    let event = json!({"enum": events::NAMES, "description": "What has happened."});
    json!({
        "requests": {
            "address": "",
            "description": "Any routing key.",
            "messages": {"request": {"$ref": "#/components/messages/request"}},
            "bindings": exchange(REQUESTS_EXCHANGE, "fanout"),
        },
        "replies": {
            "address": null,
            "messages": {"reply": {"$ref": "#/components/messages/reply"}},
        },
        "events": {
            "address": "podcast.{event}",
            "parameters": {"event": event},
            "messages": {"event": {"$ref": "#/components/messages/event"}},
            "bindings": exchange(EVENTS_EXCHANGE, "topic"),
        },
        "refusals": {
            "address": "podcast.refused",
            "messages": {"refused": {"$ref": "#/components/messages/refused"}},
            "bindings": exchange(EVENTS_EXCHANGE, "topic"),
        },
    })
}

fn payload<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}
