//! What each route takes and answers: one entry a route, in the order of [`super::super::routes`]. A test compares the two.

use common::request::PodcastRequest;
use common::store::feeds::Settings;
use common::store::keys::Made;
use common::store::reading::Script;
use common::store::replay::bulk::Progress;

use super::super::dead_letters::{self, filter, settle};
use super::super::{
    acts, episode, erase, feed, fleet, keys, limits, paging, pauses, podcasts, replays, submit, watch,
    webhooks,
};
use super::{Header, Operation};

const IDEMPOTENCY_KEY: Header = Header {
    name: "Idempotency-Key",
    description: "1 to 255 visible ASCII characters. The same key with the same request is the same podcast, however often it is sent.",
    example: "order-17",
};
const LAST_EVENT_ID: Header = Header {
    name: "Last-Event-ID",
    description: "The `seq` of the last event seen; stands above `after`.",
    example: "7",
};
const RANGE: Header = Header {
    name: "Range",
    description: "A range of bytes (RFC 9110, section 14).",
    example: "bytes=0-1023",
};

#[rustfmt::skip]
pub(super) fn all() -> Vec<Operation> {
    let get = |path, group, summary| Operation::new("GET", path, group, summary);
    let post = |path, group, summary| Operation::new("POST", path, group, summary);
    let delete = |path, group, summary| Operation::new("DELETE", path, group, summary);
    let file = |path, summary, media_type| {
        get(path, "Episode", summary).query::<feed::WithToken>().headers(&[RANGE]).file(200, media_type).file(206, media_type).refuses(&[409, 416])
    };
    vec![
        get("/v1/podcasts", "Podcasts", "List podcasts, newest first")
            .query::<podcasts::Wanted>().json::<podcasts::Page>(200),
        post("/v1/podcasts", "Podcasts", "Ask for a podcast")
            .headers(&[IDEMPOTENCY_KEY]).body::<PodcastRequest>().json::<submit::Receipt>(202).refuses(&[409]),
        get("/v1/podcasts/{id}", "Podcasts", "Show a podcast")
            .json::<podcasts::Shown>(200),
        delete("/v1/podcasts/{id}", "Podcasts", "Cancel a podcast")
            .json::<podcasts::Ended>(200).refuses(&[409]),
        post("/v1/podcasts/{id}/replay", "Podcasts", "Let everything that was given up in it go on")
            .body::<settle::WithReason>().json::<acts::Replayed>(200).refuses(&[409]),
        get("/v1/podcasts/{id}/script", "Podcasts", "What it says, with the places by which segments are named")
            .json::<Script>(200),
        post("/v1/podcasts/{id}/finish-without", "Podcasts", "Finish it without segments that could not be spoken")
            .body::<acts::LeaveOut>().json::<acts::Replayed>(200).refuses(&[409]),
        post("/v1/podcasts/{id}/erase", "Podcasts", "Erase it with everything that is known of it, or say what would go")
            .body::<erase::Asked>().json::<serde_json::Value>(200).json::<erase::Begun>(202).refuses(&[409]),
        post("/v1/podcasts/{id}/revise", "Podcasts", "Make its next generation: segments that say something else, or the same another time")
            .body::<acts::Revision>().json::<acts::Revising>(200).refuses(&[409]),
        post("/v1/podcasts/{id}/priority", "Podcasts", "Say how urgent it is")
            .body::<acts::WithPriority>().json::<acts::Reordered>(200).refuses(&[409]),
        get("/v1/podcasts/{id}/events", "Podcasts", "Follow a podcast by server-sent events, each with an `Event` as its data")
            .query::<watch::From>().headers(&[LAST_EVENT_ID]).file(200, "text/event-stream")
            .nothing(204, "It has ended, and all was told."),
        get("/v1/podcasts/{id}/ws", "Podcasts", "Follow a podcast over a WebSocket, each message an `Event`")
            .query::<watch::From>().nothing(101, "The WebSocket is open.").refuses(&[426]),
        get("/v1/podcasts/{id}/audio", "Episode", "The episode as MP3")
            .query::<episode::Wanted>().headers(&[RANGE]).file(200, "audio/mpeg").file(206, "audio/mpeg").refuses(&[409, 416]),
        file("/v1/podcasts/{id}/transcript.vtt", "Transcript as WebVTT", "text/vtt"),
        file("/v1/podcasts/{id}/transcript.srt", "Transcript as SubRip", "application/x-subrip"),
        file("/v1/podcasts/{id}/transcript.json", "Transcript as Podcasting 2.0 JSON", "application/json"),
        file("/v1/podcasts/{id}/transcript.txt", "Transcript as plain text", "text/plain"),
        file("/v1/podcasts/{id}/chapters.json", "Podcasting 2.0 chapters", "application/json+chapters"),
        get("/v1/podcasts/{id}/webhooks", "Webhooks", "What was told to a podcast's `callback_url`")
            .json::<webhooks::List>(200),
        post("/v1/webhooks/{id}/replay", "Webhooks", "Send a webhook again")
            .json::<webhooks::Replayed>(200),
        get("/v1/webhooks/secret", "Webhooks", "The secrets that sign webhooks, newest first")
            .json::<webhooks::Secrets>(200),
        post("/v1/webhooks/secret/rotate", "Webhooks", "Make a new secret; the one before signs beside it for a day")
            .json::<webhooks::Secrets>(200),
        get("/v1/dead-letters", "Dead letters", "List what was given up, newest first")
            .query::<filter::Wanted>().json::<dead_letters::Page>(200),
        get("/v1/dead-letters/groups", "Dead letters", "Group dead letters by cause")
            .query::<filter::Wanted>().json::<dead_letters::Groups>(200),
        post("/v1/dead-letters/replay", "Dead letters", "Replay all that match a filter, or say what it would come to")
            .body::<replays::Asked>().json::<replays::DryRun>(200).json::<Progress>(202),
        get("/v1/dead-letters/{id}", "Dead letters", "Show a dead letter; `payload=true` needs the role `support`, and is audited")
            .query::<dead_letters::Look>().json::<dead_letters::Shown>(200),
        post("/v1/dead-letters/{id}/replay", "Dead letters", "Let it go on")
            .body::<settle::WithReason>().json::<settle::Answer>(200).refuses(&[409]),
        post("/v1/dead-letters/{id}/edit-replay", "Dead letters", "Let it go on with another payload")
            .body::<settle::EditReplay>().json::<settle::Answer>(200).refuses(&[409]),
        post("/v1/dead-letters/{id}/discard", "Dead letters", "Give it up for good")
            .body::<settle::WithReason>().json::<settle::Discarded>(200).refuses(&[409]),
        get("/v1/replays", "Dead letters", "List replays of many, newest first")
            .query::<paging::Paging>().json::<replays::List>(200),
        get("/v1/replays/{id}", "Dead letters", "Show a replay of many")
            .json::<replays::Shown>(200),
        delete("/v1/replays/{id}", "Dead letters", "Cancel a replay of many")
            .json::<Progress>(200).refuses(&[409]),
        post("/v1/replays/{id}/cancel", "Dead letters", "Cancel a replay of many")
            .json::<Progress>(200).refuses(&[409]),
        get("/feed.xml", "Feed", "Your finished podcasts as RSS 2.0, with the tags of iTunes and of Podcasting 2.0")
            .query::<feed::WithToken>().file(200, "application/rss+xml").nothing(304, "It is what `If-None-Match` names."),
        get("/v1/feed", "Feed", "What the feed says of itself")
            .json::<feed::Shown>(200),
        post("/v1/feed", "Feed", "Say what the feed says of itself, in the place of what was said before")
            .body::<Settings>().json::<feed::Shown>(200),
        post("/v1/feed/token", "Feed", "Make a new token for players, shown once; the one before opens nothing any more")
            .json::<feed::Made>(201).refuses(&[400]),
        delete("/v1/feed/token", "Feed", "Take the token away")
            .nothing(204, "There is none any more."),
        get("/v1/queues", "Fleet", "What waits in each lane, and what is on its way")
            .json::<fleet::Queues>(200),
        get("/v1/workers", "Fleet", "The workers that are there, and what each has in hand of yours")
            .json::<fleet::Workers>(200),
        get("/v1/limits", "Access", "What your tenant may ask for, and what it has asked for")
            .json::<limits::Shown>(200),
        get("/v1/erasures", "Podcasts", "The latest erasures, and whether all of each is gone")
            .json::<erase::List>(200),
        get("/v1/pauses", "Fleet", "What is paused")
            .json::<pauses::List>(200),
        post("/v1/pauses", "Fleet", "Hold work back until somebody resumes it")
            .body::<pauses::Asked>().json::<pauses::Begun>(200).json::<pauses::Begun>(201),
        post("/v1/pauses/{id}/resume", "Fleet", "Let it go on")
            .body::<settle::WithReason>().json::<pauses::Ended>(200),
        get("/v1/keys", "Access", "List keys, newest first")
            .query::<paging::Paging>().json::<keys::List>(200),
        post("/v1/keys", "Access", "Make a key; its text is in this answer and nowhere else")
            .body::<keys::Asked>().json::<Made>(201),
        delete("/v1/keys/{id}", "Access", "Revoke a key")
            .json::<keys::Revoked>(200),
        get("/livez", "Health", "Whether the process lives")
            .file(200, "text/plain"),
        get("/readyz", "Health", "Whether the database answers")
            .file(200, "text/plain").file(503, "text/plain"),
        get("/metrics", "Health", "Metrics for Prometheus")
            .file(200, "text/plain"),
        get("/openapi.json", "Descriptions", "This document")
            .file(200, "application/json"),
        get("/asyncapi.json", "Descriptions", "Requests and events over AMQP")
            .file(200, "application/json"),
        get("/schemas/request.json", "Descriptions", "JSON Schema of a request, over HTTP and AMQP")
            .file(200, "application/schema+json"),
        get("/schemas/event.json", "Descriptions", "JSON Schema of an event")
            .file(200, "application/schema+json"),
    ]
}
