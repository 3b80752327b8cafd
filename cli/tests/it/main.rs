//! The whole fleet, tested from outside: real role processes on real servers that this program starts and stops itself.
//! Every test has a database, a virtual host, a cache and blobs of its own, so all run in parallel.

// A test program prints what it measures, and may panic.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used)]

mod access;
mod addresses;
mod api;
mod asking;
mod audio;
mod bad_input;
mod breaker;
mod browser;
mod chaos;
mod claims;
mod clients;
mod equal;
mod faults;
mod feed;
mod fleet;
mod guides;
mod limits;
mod listening;
mod live;
mod load;
mod ops;
mod pages;
mod providers;
mod recovery;
mod replay;
mod scale;
mod signing_in;
mod spine;
mod writer;
mod writing;

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Trial};

use crate::fleet::Servers;

pub(crate) type Test = for<'a> fn(&'a Arc<Servers>) -> LocalBoxFuture<'a, anyhow::Result<()>>;

/// Every test there is.
const TESTS: &[(&str, Test)] = &[
    // It takes longest, so it begins first.
    ("chaos::nothing_is_lost_in_chaos", |s| Box::pin(chaos::nothing_is_lost_in_chaos(s))),
    ("chaos::acks_before_commits_are_found_out", |s| Box::pin(chaos::acks_before_commits_are_found_out(s))),
    ("chaos::a_naive_fan_in_is_found_out", |s| Box::pin(chaos::a_naive_fan_in_is_found_out(s))),
    ("chaos::dropped_returns_are_found_out", |s| Box::pin(chaos::dropped_returns_are_found_out(s))),
    ("spine::an_article_becomes_an_episode", |s| Box::pin(spine::an_article_becomes_an_episode(s))),
    ("spine::the_same_key_is_the_same_podcast", |s| Box::pin(spine::the_same_key_is_the_same_podcast(s))),
    ("spine::a_broker_that_is_down_delays_but_loses_nothing", |s| {
        Box::pin(spine::a_broker_that_is_down_delays_but_loses_nothing(s))
    }),
    ("spine::a_cancelled_podcast_stays_cancelled", |s| {
        Box::pin(spine::a_cancelled_podcast_stays_cancelled(s))
    }),
    ("spine::a_deadline_ends_a_podcast", |s| Box::pin(spine::a_deadline_ends_a_podcast(s))),
    ("spine::requests_come_over_amqp_too", |s| Box::pin(spine::requests_come_over_amqp_too(s))),
    ("access::every_route_is_walked_with_every_role", |s| {
        Box::pin(access::every_route_is_walked_with_every_role(s))
    }),
    ("signing_in::a_session_opens_what_its_key_opens_and_changes_nothing_by_itself", |s| {
        Box::pin(signing_in::a_session_opens_what_its_key_opens_and_changes_nothing_by_itself(s))
    }),
    ("access::without_a_key_no_producer_starts", |s| Box::pin(access::without_a_key_no_producer_starts(s))),
    ("access::a_revoked_key_opens_nothing_after_five_seconds", |s| {
        Box::pin(access::a_revoked_key_opens_nothing_after_five_seconds(s))
    }),
    ("access::tenants_of_the_broker_see_their_podcasts_over_http", |s| {
        Box::pin(access::tenants_of_the_broker_see_their_podcasts_over_http(s))
    }),
    ("addresses::a_page_becomes_a_podcast", |s| Box::pin(addresses::a_page_becomes_a_podcast(s))),
    ("addresses::a_page_leads_nowhere_that_is_private", |s| {
        Box::pin(addresses::a_page_leads_nowhere_that_is_private(s))
    }),
    ("addresses::an_end_is_told_and_signed", |s| Box::pin(addresses::an_end_is_told_and_signed(s))),
    ("addresses::a_webhook_outlives_its_producer", |s| {
        Box::pin(addresses::a_webhook_outlives_its_producer(s))
    }),
    ("limits::fifty_at_once_get_exactly_what_there_is", |s| {
        Box::pin(limits::fifty_at_once_get_exactly_what_there_is(s))
    }),
    ("limits::a_days_characters_are_counted_to_the_last", |s| {
        Box::pin(limits::a_days_characters_are_counted_to_the_last(s))
    }),
    ("limits::a_minutes_requests_are_counted_for_key_and_tenant", |s| {
        Box::pin(limits::a_minutes_requests_are_counted_for_key_and_tenant(s))
    }),
    ("limits::slow_and_deep_requests_end", |s| Box::pin(limits::slow_and_deep_requests_end(s))),
    ("audio::every_segment_sounds_once_in_order_and_on_time", |s| {
        Box::pin(audio::every_segment_sounds_once_in_order_and_on_time(s))
    }),
    ("audio::without_fades_the_joins_click", |s| Box::pin(audio::without_fades_the_joins_click(s))),
    ("audio::an_hour_fits_into_little_memory", |s| Box::pin(audio::an_hour_fits_into_little_memory(s))),
    ("bad_input::http_names_field_reason_and_remedy", |s| {
        Box::pin(bad_input::http_names_field_reason_and_remedy(s))
    }),
    ("bad_input::amqp_refusals_become_dead_letters", |s| {
        Box::pin(bad_input::amqp_refusals_become_dead_letters(s))
    }),
    ("bad_input::garbage_in_the_lanes_is_set_aside", |s| {
        Box::pin(bad_input::garbage_in_the_lanes_is_set_aside(s))
    }),
    ("faults::every_crash_point_is_survived", |s| Box::pin(faults::every_crash_point_is_survived(s))),
    ("faults::a_killed_worker_loses_nothing", |s| Box::pin(faults::a_killed_worker_loses_nothing(s))),
    ("faults::a_killed_broker_loses_nothing", |s| Box::pin(faults::a_killed_broker_loses_nothing(s))),
    ("faults::a_wiped_broker_loses_nothing", |s| Box::pin(faults::a_wiped_broker_loses_nothing(s))),
    ("faults::a_deleted_lane_comes_back", |s| Box::pin(faults::a_deleted_lane_comes_back(s))),
    ("faults::throttled_speech_is_retried_and_paid_once", |s| {
        Box::pin(faults::throttled_speech_is_retried_and_paid_once(s))
    }),
    ("breaker::an_engine_with_a_wrong_key_parks_work_and_kills_none", |s| {
        Box::pin(breaker::an_engine_with_a_wrong_key_parks_work_and_kills_none(s))
    }),
    ("breaker::throttling_slows_the_whole_fleet_down", |s| {
        Box::pin(breaker::throttling_slows_the_whole_fleet_down(s))
    }),
    ("breaker::a_text_that_always_fails_stops_nobody_else", |s| {
        Box::pin(breaker::a_text_that_always_fails_stops_nobody_else(s))
    }),
    ("breaker::an_engine_that_is_left_alone_is_replaced_by_its_fallback", |s| {
        Box::pin(breaker::an_engine_that_is_left_alone_is_replaced_by_its_fallback(s))
    }),
    ("breaker::a_rate_holds_for_the_whole_fleet", |s| Box::pin(breaker::a_rate_holds_for_the_whole_fleet(s))),
    ("breaker::without_redis_everything_ends_the_same", |s| {
        Box::pin(breaker::without_redis_everything_ends_the_same(s))
    }),
    ("breaker::an_input_that_kills_its_worker_is_caught", |s| {
        Box::pin(breaker::an_input_that_kills_its_worker_is_caught(s))
    }),
    ("breaker::a_task_that_runs_alone_takes_no_other_along", |s| {
        Box::pin(breaker::a_task_that_runs_alone_takes_no_other_along(s))
    }),
    ("equal::equal_speech_is_paid_once", |s| Box::pin(equal::equal_speech_is_paid_once(s))),
    ("equal::equal_writing_is_paid_once", |s| Box::pin(equal::equal_writing_is_paid_once(s))),
    ("equal::the_work_of_a_dead_worker_is_taken_over", |s| {
        Box::pin(equal::the_work_of_a_dead_worker_is_taken_over(s))
    }),
    ("load::a_short_load_is_reported_and_nothing_fails", |s| {
        Box::pin(load::a_short_load_is_reported_and_nothing_fails(s))
    }),
    ("load::a_slower_build_is_found_out", |s| Box::pin(load::a_slower_build_is_found_out(s))),
    ("writer::six_texts_last_as_long_as_asked_for", |s| {
        Box::pin(writer::six_texts_last_as_long_as_asked_for(s))
    }),
    ("writer::any_voice_reads_for_as_long_as_asked_for", |s| {
        Box::pin(writer::any_voice_reads_for_as_long_as_asked_for(s))
    }),
    ("listening::an_episode_is_heard_while_it_is_made", |s| {
        Box::pin(listening::an_episode_is_heard_while_it_is_made(s))
    }),
    ("listening::listening_ends_with_the_podcast", |s| {
        Box::pin(listening::listening_ends_with_the_podcast(s))
    }),
    ("live::events_resume_where_they_broke_off", |s| Box::pin(live::events_resume_where_they_broke_off(s))),
    ("live::health_and_metrics_answer", |s| Box::pin(live::health_and_metrics_answer(s))),
    ("providers::the_table_for_speech_is_true", |s| Box::pin(providers::the_table_for_speech_is_true(s))),
    ("providers::the_tables_for_writing_are_true", |s| {
        Box::pin(providers::the_tables_for_writing_are_true(s))
    }),
    ("providers::the_command_serves_until_it_is_told_to_leave", |s| {
        Box::pin(providers::the_command_serves_until_it_is_told_to_leave(s))
    }),
    ("scale::a_short_podcast_passes_a_long_one", |s| Box::pin(scale::a_short_podcast_passes_a_long_one(s))),
    ("scale::a_million_waiting_tasks_are_not_read", |s| {
        Box::pin(scale::a_million_waiting_tasks_are_not_read(s))
    }),
    ("scale::a_publisher_with_lost_tickets_is_remembered", |s| {
        Box::pin(scale::a_publisher_with_lost_tickets_is_remembered(s))
    }),
    ("scale::late_collectors_do_not_wait_for_each_other", |s| {
        Box::pin(scale::late_collectors_do_not_wait_for_each_other(s))
    }),
    ("scale::several_of_each_role_give_the_same_result", |s| {
        Box::pin(scale::several_of_each_role_give_the_same_result(s))
    }),
    ("replay::a_replayed_podcast_goes_on_where_it_stopped", |s| {
        Box::pin(replay::a_replayed_podcast_goes_on_where_it_stopped(s))
    }),
    ("replay::an_edited_input_takes_the_place_of_the_old_one", |s| {
        Box::pin(replay::an_edited_input_takes_the_place_of_the_old_one(s))
    }),
    ("replay::what_ran_out_of_time_gets_its_time_again", |s| {
        Box::pin(replay::what_ran_out_of_time_gets_its_time_again(s))
    }),
    ("replay::many::a_replay_of_many_stops_when_the_cause_returns", |s| {
        Box::pin(replay::many::a_replay_of_many_stops_when_the_cause_returns(s))
    }),
    ("replay::many::a_replay_of_many_outlives_its_process", |s| {
        Box::pin(replay::many::a_replay_of_many_outlives_its_process(s))
    }),
    ("replay::a_refused_request_is_repaired", |s| Box::pin(replay::a_refused_request_is_repaired(s))),
    ("replay::show_tells_the_next_attempt_and_the_last_failure", |s| {
        Box::pin(replay::show_tells_the_next_attempt_and_the_last_failure(s))
    }),
    ("claims::dev_starts_everything_and_leaves_nothing", |s| {
        Box::pin(claims::dev_starts_everything_and_leaves_nothing(s))
    }),
    ("asking::the_idempotency_key_changes_after_a_definite_failure_alone", |s| {
        Box::pin(asking::the_idempotency_key_changes_after_a_definite_failure_alone(s))
    }),
    ("asking::a_replay_asks_under_a_key_of_its_own", |s| {
        Box::pin(asking::a_replay_asks_under_a_key_of_its_own(s))
    }),
    ("asking::a_long_segment_is_spoken_in_pieces", |s| {
        Box::pin(asking::a_long_segment_is_spoken_in_pieces(s))
    }),
    ("asking::speech_falls_back_to_an_engine_that_sounds_the_same", |s| {
        Box::pin(asking::speech_falls_back_to_an_engine_that_sounds_the_same(s))
    }),
    ("asking::a_server_is_asked_no_more_than_it_takes", |s| {
        Box::pin(asking::a_server_is_asked_no_more_than_it_takes(s))
    }),
    ("writing::the_first_turn_is_heard_while_the_others_are_written", |s| {
        Box::pin(writing::the_first_turn_is_heard_while_the_others_are_written(s))
    }),
    ("writing::a_script_that_breaks_off_goes_on_where_it_stopped", |s| {
        Box::pin(writing::a_script_that_breaks_off_goes_on_where_it_stopped(s))
    }),
    ("writing::a_writer_that_is_gone_is_replaced_by_its_fallback", |s| {
        Box::pin(writing::a_writer_that_is_gone_is_replaced_by_its_fallback(s))
    }),
    ("writing::episodes_get_their_length_from_what_speech_lasted", |s| {
        Box::pin(writing::episodes_get_their_length_from_what_speech_lasted(s))
    }),
    ("ops::a_podcast_is_replayed_as_a_whole", |s| Box::pin(ops::a_podcast_is_replayed_as_a_whole(s))),
    ("ops::a_changed_priority_moves_what_waits", |s| Box::pin(ops::a_changed_priority_moves_what_waits(s))),
    ("ops::what_is_paused_waits_and_is_not_lost", |s| Box::pin(ops::what_is_paused_waits_and_is_not_lost(s))),
    ("ops::another_take_makes_only_its_chapter_again", |s| {
        Box::pin(ops::another_take_makes_only_its_chapter_again(s))
    }),
    ("ops::what_cannot_be_spoken_is_left_out", |s| Box::pin(ops::what_cannot_be_spoken_is_left_out(s))),
    ("ops::an_erased_podcast_leaves_no_trace", |s| Box::pin(ops::an_erased_podcast_leaves_no_trace(s))),
    ("guides::every_command_of_the_guides_works", |s| Box::pin(guides::every_command_of_the_guides_works(s))),
    ("ops::the_doctor_tells_what_is_there_and_what_is_not", |s| {
        Box::pin(ops::the_doctor_tells_what_is_there_and_what_is_not(s))
    }),
    ("pages::ten_open_pages_ask_no_more_than_one", |s| {
        Box::pin(pages::ten_open_pages_ask_no_more_than_one(s))
    }),
    ("pages::slow_pages_keep_nobody_waiting", |s| Box::pin(pages::slow_pages_keep_nobody_waiting(s))),
    ("api::lists_are_paged_and_filtered", |s| Box::pin(api::lists_are_paged_and_filtered(s))),
    ("api::answers_are_tagged_and_compressed", |s| Box::pin(api::answers_are_tagged_and_compressed(s))),
    ("api::the_fleet_shows_what_it_is_at", |s| Box::pin(api::the_fleet_shows_what_it_is_at(s))),
    ("clients::schemathesis_finds_nothing", |s| Box::pin(clients::schemathesis_finds_nothing(s))),
    ("clients::a_plain_amqp_client_follows_a_podcast", |s| {
        Box::pin(clients::a_plain_amqp_client_follows_a_podcast(s))
    }),
    ("feed::a_player_reads_the_feed_and_all_that_it_names", |s| {
        Box::pin(feed::a_player_reads_the_feed_and_all_that_it_names(s))
    }),
    ("feed::a_feeds_token_opens_nothing_else", |s| Box::pin(feed::a_feeds_token_opens_nothing_else(s))),
    ("claims::the_client_commands_work", |s| Box::pin(claims::the_client_commands_work(s))),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test runs a fleet: more at once than this only makes all of them slow.
    arguments.test_threads.get_or_insert(3);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let runtime: &'static tokio::runtime::Runtime = Box::leak(Box::new(runtime));
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(runtime, None)).exit_code();
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let servers = match runtime.block_on(Servers::start()) {
        Ok(servers) => Arc::new(servers),
        Err(error) => {
            eprintln!("the servers for the tests did not start: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(runtime, Some(&servers)));
    // Every test has ended, so nobody else holds the servers.
    let stopped = match Arc::into_inner(servers) {
        Some(servers) => runtime.block_on(servers.stop(conclusion.num_failed > 0)),
        None => Err(anyhow::anyhow!("a test still holds them")),
    };
    if let Err(error) = stopped {
        eprintln!("the servers for the tests did not stop: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trials(runtime: &'static tokio::runtime::Runtime, servers: Option<&Arc<Servers>>) -> Vec<Trial> {
    TESTS
        .iter()
        .chain(browser::TESTS)
        .chain(recovery::TESTS)
        .map(|(name, test)| {
            let servers = servers.cloned();
            Trial::test(*name, move || {
                let servers = servers.ok_or("no servers")?;
                runtime.block_on(test(&servers)).map_err(|error| format!("{error:#}").into())
            })
        })
        .collect()
}
