//! Every route there is, and who may use it. The router is built from this table and from nothing else, so no route is
//! without a door; a test of the whole fleet walks it with every role and with the ids of another tenant.

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::routing::{MethodRouter, Router, delete, get, post};
use common::access::Role;

use super::dashboard::{
    acts as deciding, assets, dead_letters as letters, frame, letter, live, new, now, podcast,
    podcasts as pages, replays as replay_pages, script, session, voices,
};
use super::dead_letters::{self, settle};
use super::door::{self, Access};
use super::{
    App, acts, docs, episode, erase, feed, fleet, health, keys, limits, pauses, podcasts, replays, submit,
    watch, webhooks,
};

/// A route: its method, its path, who may use it, and what answers.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    /// For people: it has a frame around it, and whoever is not signed in is led to where he can.
    pub page: bool,
    handler: fn() -> MethodRouter<App>,
}

const PUBLIC: Access = Access::Public;
const PLAYS: Access = Access::Plays;
const VIEWER: Access = Access::Needs(Role::Viewer);
const SUBMIT: Access = Access::Needs(Role::Submit);
const SUPPORT: Access = Access::Needs(Role::Support);
const ADMIN: Access = Access::Needs(Role::Admin);

/// `?payload=true` of a dead letter needs `support`, too: its handler asks.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    read("/v1/podcasts", VIEWER, || get(podcasts::list)),
    write("/v1/podcasts", SUBMIT, || post(submit::submit)),
    read("/v1/podcasts/{id}", VIEWER, || get(podcasts::show)),
    remove("/v1/podcasts/{id}", SUBMIT, || delete(podcasts::cancel)),
    write("/v1/podcasts/{id}/replay", SUPPORT, || post(acts::replay)),
    read("/v1/podcasts/{id}/script", VIEWER, || get(acts::script)),
    write("/v1/podcasts/{id}/finish-without", SUPPORT, || post(acts::finish_without)),
    write("/v1/podcasts/{id}/erase", SUPPORT, || post(erase::erase)),
    write("/v1/podcasts/{id}/revise", SUBMIT, || post(acts::revise)),
    write("/v1/podcasts/{id}/priority", SUBMIT, || post(acts::prioritise)),
    read("/v1/podcasts/{id}/events", VIEWER, || get(watch::events)),
    read("/v1/podcasts/{id}/ws", VIEWER, || get(watch::websocket)),
    read("/v1/podcasts/{id}/audio", PLAYS, || get(episode::audio)),
    read("/v1/podcasts/{id}/transcript.vtt", PLAYS, || get(episode::transcript_vtt)),
    read("/v1/podcasts/{id}/transcript.srt", PLAYS, || get(episode::transcript_srt)),
    read("/v1/podcasts/{id}/transcript.json", PLAYS, || get(episode::transcript_json)),
    read("/v1/podcasts/{id}/transcript.txt", PLAYS, || get(episode::transcript_txt)),
    read("/v1/podcasts/{id}/chapters.json", PLAYS, || get(episode::chapters_json)),
    read("/v1/podcasts/{id}/webhooks", VIEWER, || get(webhooks::list)),
    write("/v1/webhooks/{id}/replay", SUPPORT, || post(webhooks::replay)),
    read("/v1/webhooks/secret", ADMIN, || get(webhooks::secret)),
    write("/v1/webhooks/secret/rotate", ADMIN, || post(webhooks::rotate)),
    read("/v1/dead-letters", VIEWER, || get(dead_letters::list)),
    read("/v1/dead-letters/groups", VIEWER, || get(dead_letters::groups)),
    write("/v1/dead-letters/replay", SUPPORT, || post(replays::start)),
    read("/v1/dead-letters/{id}", VIEWER, || get(dead_letters::show)),
    write("/v1/dead-letters/{id}/replay", SUPPORT, || post(settle::replay)),
    write("/v1/dead-letters/{id}/edit-replay", SUPPORT, || post(settle::edit_replay)),
    write("/v1/dead-letters/{id}/discard", SUPPORT, || post(settle::discard)),
    read("/v1/replays", VIEWER, || get(replays::list)),
    read("/v1/replays/{id}", VIEWER, || get(replays::show)),
    remove("/v1/replays/{id}", SUPPORT, || delete(replays::cancel)),
    write("/v1/replays/{id}/cancel", SUPPORT, || post(replays::cancel)),
    read("/feed.xml", PLAYS, || get(feed::rss)),
    read("/v1/feed", VIEWER, || get(feed::show)),
    write("/v1/feed", ADMIN, || post(feed::set)),
    write("/v1/feed/token", ADMIN, || post(feed::new_token)),
    remove("/v1/feed/token", ADMIN, || delete(feed::no_token)),
    read("/v1/queues", VIEWER, || get(fleet::queues)),
    read("/v1/workers", SUPPORT, || get(fleet::workers)),
    read("/v1/limits", VIEWER, || get(limits::show)),
    read("/v1/erasures", VIEWER, || get(erase::list)),
    read("/v1/pauses", VIEWER, || get(pauses::list)),
    write("/v1/pauses", SUPPORT, || post(pauses::pause)),
    write("/v1/pauses/{id}/resume", SUPPORT, || post(pauses::resume)),
    read("/v1/keys", ADMIN, || get(keys::list)),
    write("/v1/keys", ADMIN, || post(keys::create)),
    remove("/v1/keys/{id}", ADMIN, || delete(keys::revoke)),
    read("/livez", PUBLIC, || get(health::alive)),
    read("/readyz", PUBLIC, || get(health::ready)),
    read("/metrics", VIEWER, || get(health::metrics)),
    read("/openapi.json", PUBLIC, || get(docs::openapi)),
    read("/asyncapi.json", PUBLIC, || get(docs::asyncapi)),
    read("/schemas/request.json", PUBLIC, || get(docs::request_schema)),
    read("/schemas/event.json", PUBLIC, || get(docs::event_schema)),
    read("/docs", PUBLIC, || get(docs::page)),
    read("/docs/style.css", PUBLIC, || get(docs::style)),
    // The dashboard.
    read("/assets/{name}", PUBLIC, || get(assets::serve)),
    page("/", PUBLIC, || get(pages::home)),
    page("/login", PUBLIC, || get(session::login)),
    form("/login", PUBLIC, || post(session::sign_in)),
    form("/logout", PUBLIC, || post(session::sign_out)),
    form("/preferences", PUBLIC, || post(session::preferences)),
    page("/podcasts", VIEWER, || get(pages::list)),
    page("/podcasts/new", SUBMIT, || get(new::show)),
    form("/podcasts/new", SUBMIT, || post(new::send)),
    form("/podcasts/new/estimate", SUBMIT, || post(new::estimate)),
    page("/voices/{name}", SUBMIT, || get(voices::sample)),
    page("/podcasts/{id}", VIEWER, || get(podcast::show)),
    page("/podcasts/{id}/live", VIEWER, || get(live::podcast)),
    form("/podcasts/{id}/cancel", SUBMIT, || post(podcast::cancel)),
    page("/podcasts/{id}/script", SUBMIT, || get(script::show)),
    form("/podcasts/{id}/script", SUBMIT, || post(script::revise)),
    form("/podcasts/{id}/priority", SUBMIT, || post(deciding::prioritise)),
    form("/podcasts/{id}/replay", SUPPORT, || post(deciding::replay)),
    form("/podcasts/{id}/finish-without", SUPPORT, || post(deciding::finish_without)),
    form("/podcasts/{id}/erase", SUPPORT, || post(deciding::erase)),
    form("/pauses", SUPPORT, || post(deciding::pause)),
    form("/pauses/{id}/resume", SUPPORT, || post(deciding::resume)),
    page("/now", VIEWER, || get(now::show)),
    page("/now/live", VIEWER, || get(now::live)),
    page("/dead-letters", VIEWER, || get(letters::list)),
    form("/dead-letters/replay", SUPPORT, || post(letters::replay)),
    page("/dead-letters/{id}", VIEWER, || get(letter::show)),
    form("/dead-letters/{id}/replay", SUPPORT, || post(letter::replay)),
    form("/dead-letters/{id}/edit", SUPPORT, || post(letter::edit)),
    form("/dead-letters/{id}/discard", SUPPORT, || post(letter::discard)),
    page("/replays", VIEWER, || get(replay_pages::list)),
    page("/replays/{id}", VIEWER, || get(replay_pages::show)),
    form("/replays/{id}/cancel", SUPPORT, || post(replay_pages::cancel)),
];

const fn read(path: &'static str, access: Access, handler: fn() -> MethodRouter<App>) -> Route {
    Route { method: Method::GET, path, access, page: false, handler }
}

const fn write(path: &'static str, access: Access, handler: fn() -> MethodRouter<App>) -> Route {
    Route { method: Method::POST, path, access, page: false, handler }
}

const fn remove(path: &'static str, access: Access, handler: fn() -> MethodRouter<App>) -> Route {
    Route { method: Method::DELETE, path, access, page: false, handler }
}

const fn page(path: &'static str, access: Access, handler: fn() -> MethodRouter<App>) -> Route {
    Route { method: Method::GET, path, access, page: true, handler }
}

/// What a form of a page does.
const fn form(path: &'static str, access: Access, handler: fn() -> MethodRouter<App>) -> Route {
    Route { method: Method::POST, path, access, page: true, handler }
}

/// A page that only shows reads over the pages' own connections; what a form does is done as by the API.
pub(super) fn router(app: &App) -> Router {
    let pages = app.for_pages();
    ROUTES.iter().fold(Router::new(), |router, route| {
        let (env, access, page) = (app.env.clone(), route.access, route.page);
        let door = middleware::from_fn(move |request: Request, next: Next| {
            door::admit(env.clone(), access, page, request, next)
        });
        let mut handler = (route.handler)();
        if page {
            let app = app.clone();
            let check = move |request: Request, next: Next| frame::check_form(app.clone(), request, next);
            // The bound of all bodies stands in for the framework's own.
            handler =
                handler.route_layer(DefaultBodyLimit::disable()).route_layer(middleware::from_fn(check));
        }
        handler = handler.route_layer(door);
        if page {
            handler = handler.route_layer(middleware::from_fn(frame::frame));
        }
        let only_shows = page && route.method == Method::GET;
        router.route(route.path, handler.with_state(if only_shows { pages.clone() } else { app.clone() }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_needs_more_than_to_look() {
        for route in ROUTES {
            let changes = route.method != Method::GET;
            let looks = route.access.role().is_none_or(|role| role == Role::Viewer);
            // To sign in or out, or to choose a language, changes nothing of a tenant's.
            let own = ["/login", "/logout", "/preferences"].contains(&route.path);
            assert!(!(changes && looks) || own, "{} {}", route.method, route.path);
        }
    }

    #[test]
    fn a_token_in_an_address_opens_what_players_fetch() {
        let plays = ROUTES.iter().filter(|route| route.access == Access::Plays);
        assert!(plays.clone().all(|route| route.method == Method::GET));
        let paths: Vec<&str> =
            plays.map(|route| route.path.trim_start_matches("/v1/podcasts/{id}/")).collect();
        let transcripts = ["transcript.vtt", "transcript.srt", "transcript.json", "transcript.txt"];
        assert_eq!(paths, [&["audio"][..], &transcripts, &["chapters.json", "/feed.xml"]].concat());
    }

    #[test]
    fn the_public_routes_are_these() {
        let public = ROUTES.iter().filter(|route| route.access == Access::Public).map(|route| route.path);
        let health = ["/livez", "/readyz", "/openapi.json", "/asyncapi.json"];
        let described = ["/schemas/request.json", "/schemas/event.json", "/docs", "/docs/style.css"];
        let pages = ["/assets/{name}", "/", "/login", "/login", "/logout", "/preferences"];
        assert_eq!(public.collect::<Vec<_>>(), [&health[..], &described, &pages].concat());
    }
}
