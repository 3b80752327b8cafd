//! What is lost is found again, whatever is away comes back, and nobody has to start anything anew.

mod broker;
mod cache;
mod clock;
mod database;
mod disk;
mod lost;
mod messages;
mod orphans;
mod severed;
mod shutdown;

use crate::Test;

/// Those that take longest first.
pub(crate) const TESTS: &[(&str, Test)] = &[
    ("recovery::broker::an_alarm_is_waited_out", |s| Box::pin(broker::an_alarm_is_waited_out(s))),
    ("recovery::broker::a_fleet_begins_all_at_once", |s| Box::pin(broker::a_fleet_begins_all_at_once(s))),
    ("recovery::broker::a_broker_that_loses_leaders_is_worked_with", |s| {
        Box::pin(broker::a_broker_that_loses_leaders_is_worked_with(s))
    }),
    ("recovery::broker::a_partition_is_survived", |s| Box::pin(broker::a_partition_is_survived(s))),
    ("recovery::broker::a_consumer_that_timed_out_is_built_again", |s| {
        Box::pin(broker::a_consumer_that_timed_out_is_built_again(s))
    }),
    ("recovery::broker::requests_over_amqp_stay_in_their_queue", |s| {
        Box::pin(broker::requests_over_amqp_stay_in_their_queue(s))
    }),
    ("recovery::severed::a_commit_without_an_answer_counts_once", |s| {
        Box::pin(severed::a_commit_without_an_answer_counts_once(s))
    }),
    ("recovery::lost::a_letter_waits_for_its_queue", |s| Box::pin(lost::a_letter_waits_for_its_queue(s))),
    ("recovery::lost::nothing_is_taken_without_a_queue_for_outcomes", |s| {
        Box::pin(lost::nothing_is_taken_without_a_queue_for_outcomes(s))
    }),
    ("recovery::lost::requests_find_their_queue_again", |s| {
        Box::pin(lost::requests_find_their_queue_again(s))
    }),
    ("recovery::lost::a_lost_mix_is_made_again", |s| Box::pin(lost::a_lost_mix_is_made_again(s))),
    ("recovery::lost::purged_lanes_and_outcomes_are_found", |s| {
        Box::pin(lost::purged_lanes_and_outcomes_are_found(s))
    }),
    ("recovery::lost::what_is_lost_from_a_busy_lane_is_found", |s| {
        Box::pin(lost::what_is_lost_from_a_busy_lane_is_found(s))
    }),
    ("recovery::lost::missed_fan_ins_are_made_and_drift_is_told", |s| {
        Box::pin(lost::missed_fan_ins_are_made_and_drift_is_told(s))
    }),
    ("recovery::database::a_database_that_dies_is_waited_for", |s| {
        Box::pin(database::a_database_that_dies_is_waited_for(s))
    }),
    ("recovery::database::a_silent_database_is_answered_for", |s| {
        Box::pin(database::a_silent_database_is_answered_for(s))
    }),
    ("recovery::database::half_open_connections_are_not_used_again", |s| {
        Box::pin(database::half_open_connections_are_not_used_again(s))
    }),
    ("recovery::database::locks_and_a_used_up_pool_are_shed", |s| {
        Box::pin(database::locks_and_a_used_up_pool_are_shed(s))
    }),
    ("recovery::shutdown::a_second_signal_ends_any_role", |s| {
        Box::pin(shutdown::a_second_signal_ends_any_role(s))
    }),
    ("recovery::shutdown::every_role_leaves_in_order", |s| Box::pin(shutdown::every_role_leaves_in_order(s))),
    ("recovery::shutdown::what_outlasts_the_drain_is_handed_back", |s| {
        Box::pin(shutdown::what_outlasts_the_drain_is_handed_back(s))
    }),
    ("recovery::cache::without_redis_all_is_the_same", |s| Box::pin(cache::without_redis_all_is_the_same(s))),
    ("recovery::clock::clocks_may_be_wrong", |s| Box::pin(clock::clocks_may_be_wrong(s))),
    ("recovery::disk::a_full_disk_of_blobs_is_waited_out", |s| {
        Box::pin(disk::a_full_disk_of_blobs_is_waited_out(s))
    }),
    ("recovery::disk::a_full_disk_of_the_database_is_told", |s| {
        Box::pin(disk::a_full_disk_of_the_database_is_told(s))
    }),
    ("recovery::messages::each_message_five_times_in_any_order", |s| {
        Box::pin(messages::each_message_five_times_in_any_order(s))
    }),
    ("recovery::messages::one_poisonous_outcome_is_set_aside_alone", |s| {
        Box::pin(messages::one_poisonous_outcome_is_set_aside_alone(s))
    }),
    ("recovery::messages::cancel_and_completion_have_one_winner", |s| {
        Box::pin(messages::cancel_and_completion_have_one_winner(s))
    }),
    ("recovery::orphans::blobs_that_no_row_needs_are_collected", |s| {
        Box::pin(orphans::blobs_that_no_row_needs_are_collected(s))
    }),
];
