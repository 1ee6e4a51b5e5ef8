//! The contract of [`super::Store`] as tests, the same for every engine.
//!
//! A promise is a plain function, named by the sentence that it holds true, and speaks to nothing
//! but the trait. [`suite!`] makes a test of each for one engine, which tells only how it is opened.
//! No promise waits or asks what time it is.

pub(crate) mod alarm;
pub(crate) mod behind;
pub(crate) mod bench;
pub(crate) mod breaker;
pub(crate) mod change;
pub(crate) mod crowd;
mod event;
pub(crate) mod event_log;
pub(crate) mod keep;
pub(crate) mod key;
pub(crate) mod letter;
pub(crate) mod likeness;
pub(crate) mod look;
mod model;
pub(crate) mod output;
pub(crate) mod pause;
pub(crate) mod publish;
pub(crate) mod push;
pub(crate) mod recorded;
pub(crate) mod settlement;
mod step;
pub(crate) mod subscribed;
pub(crate) mod task;
pub(crate) mod turn;
pub(crate) mod unrecorded;
pub(crate) mod wish;
pub(crate) mod worker;

/// Holds an engine to the whole contract. `$open` opens it in a folder: `|folder: &Path| Result<_>`.
macro_rules! suite {
    ($open:expr) => {
        $crate::store::conformance::suite! { $open;
            push {
                jobs_are_numbered_in_the_order_of_their_push
                a_number_is_not_given_twice_even_after_its_job_was_dropped
                a_push_that_is_refused_in_the_middle_queues_nothing
                an_empty_push_is_no_error
                a_push_answers_where_each_job_stands
                what_is_pushed_comes_back_as_it_was
                a_worker_gets_what_was_pushed
                a_payload_that_is_empty_is_not_one_that_is_absent
                jobs_of_one_push_may_run_in_different_contexts
                each_connection_sees_what_the_others_did
                an_engine_that_is_opened_again_has_kept_everything
            }
            key {
                a_key_makes_one_job_however_often_it_is_pushed
                a_key_makes_one_job_even_within_one_push
                each_queue_has_keys_of_its_own
                a_second_push_says_whether_it_differs
                a_second_push_learns_what_it_met
                a_replacement_learns_what_it_replaced
                a_key_is_held_until_its_job_is_finished
                a_key_is_freed_by_a_cancellation_and_by_expiry
                a_key_with_a_time_outlives_its_job_until_then
                a_key_outlives_a_cancelled_and_an_expired_job_until_its_time
                a_time_does_not_free_the_key_of_an_unfinished_job
                a_key_is_free_once_its_job_is_forgotten_wherever_that_stood
                a_push_may_ask_to_be_refused_where_its_key_is_held
                a_push_may_replace_a_job_that_has_not_started
                a_job_that_has_started_is_not_replaced
                a_job_that_was_only_ever_returned_untouched_may_be_replaced
                a_lease_on_a_replaced_job_is_lost
                a_retried_job_takes_its_key_again
                a_retry_gives_way_to_a_newer_job_with_its_key
                a_retry_does_not_give_way_to_a_key_whose_time_is_over
                a_backoff_that_falls_due_never_meets_a_newer_holder
            }
            turn {
                a_claim_takes_the_highest_priority_first_then_the_oldest
                a_claim_says_who_runs_the_job_since_when_and_as_which_attempt
                a_turn_claims_no_more_than_is_wanted
                no_job_is_claimed_twice
                what_others_do_between_two_turns_counts_in_the_next
                what_a_connection_does_itself_between_two_turns_counts_in_the_next
                a_worker_is_given_only_jobs_of_the_queues_that_it_serves
                a_paused_queue_is_left_alone_until_it_is_resumed
                what_runs_in_a_queue_that_is_paused_may_finish
                a_scheduled_job_is_not_claimed_before_its_time
                what_fell_due_is_ready_since_its_time_even_if_nobody_claims_it
                a_turn_tells_when_the_next_job_of_a_served_queue_falls_due
                a_turn_tells_when_a_failed_job_is_tried_again
                a_turn_says_that_it_is_behind_when_more_than_500_jobs_fall_due_at_once
                a_turn_settles_first_and_may_claim_the_same_job_again
                a_job_that_is_not_started_in_time_dies
                a_job_that_is_claimed_in_time_does_not_expire
                a_job_that_was_only_ever_returned_untouched_expires
                more_than_500_jobs_that_expire_at_once_are_not_claimed_either
                a_turn_that_finds_nothing_to_do_changes_nothing
            }
            settlement {
                each_verdict_leads_to_its_state
                a_job_remembers_how_its_last_attempt_ended
                only_what_the_job_did_itself_counts_as_an_attempt
                a_lost_worker_raises_the_crashes_and_an_ending_that_was_seen_resets_them
                a_job_that_was_returned_untouched_is_as_it_was
                a_job_that_was_never_started_says_so
                only_the_first_settlement_of_a_lease_counts
                a_report_under_an_older_token_changes_nothing
                a_report_on_a_job_that_does_not_run_changes_nothing
                settlements_are_answered_in_their_order
                another_worker_may_settle_for_the_one_that_claimed
                the_attempts_of_a_job_are_its_history_and_the_one_that_runs
                a_settlement_brings_the_rest_of_the_output
            }
            wish {
                a_settlement_applies_its_rule_to_the_last_wish_of_the_attempt
                a_wish_that_does_not_count_changes_nothing
                a_snooze_is_counted_apart_from_the_attempts
                a_wish_dies_with_its_attempt
                a_job_that_is_cancelled_is_not_run_again_for_a_wish
                a_snoozed_job_does_not_expire
                progress_is_seen_at_once_and_until_the_next_attempt
                under_a_lost_lease_nothing_is_said
                what_was_taken_away_says_nothing_any_more
            }
            alarm {
                a_death_calls_the_hook_of_its_queue_once_for_each_cause
                causes_that_end_in_one_turn_call_a_hook_each_under_numbers_of_their_own
                a_cause_calls_again_when_its_period_is_over_and_its_hook_is_done
                a_hook_gets_a_line_about_the_job_and_its_own_terms
                what_expires_calls_the_hook_also_of_a_queue_that_is_not_served
                a_hook_that_dies_calls_none
                without_a_hook_nothing_is_called
                who_serves_a_queue_by_its_name_serves_its_hooks
                the_queue_of_hooks_goes_with_its_own_where_nothing_is_in_it
            }
            recorded {
                a_step_is_run_once_and_replayed_with_its_bytes_in_every_later_attempt
                the_key_of_a_step_is_the_same_each_time_that_it_is_run
                a_step_that_failed_is_run_again_also_in_the_same_attempt
                an_attempt_comes_to_a_step_once
                repeated_steps_are_numbered_in_their_order_in_each_attempt
                a_repeated_step_that_failed_keeps_its_number
                what_is_inside_of_a_step_that_is_begun_again_is_come_to_anew
                under_a_lost_lease_no_step_is_begun_or_recorded
                of_a_job_that_was_taken_away_no_step_is_recorded
                who_is_to_be_stopped_begins_no_step_and_may_say_what_it_has_done
                a_step_that_may_have_happened_is_dealt_with_as_was_asked
                a_job_is_dead_for_a_step_that_may_have_happened_once_its_attempt_ends
                a_step_is_for_its_input_and_tells_of_another_command
                the_first_value_that_is_set_stays
                steps_are_listed_in_the_order_in_which_they_were_first_begun
                the_end_of_a_step_prolongs_the_lease_of_its_worker_and_never_shortens_it
            }
            pause {
                a_sleep_lasts_until_the_time_of_its_first_call_and_is_passed_over_then
            }
            unrecorded {
                with_a_step_goes_what_is_inside_of_it_and_what_it_is_inside_of
                steps_are_forgotten_all_or_none
                a_retry_may_be_from_a_step_on
                a_retry_from_a_step_that_is_not_there_is_none
                a_step_that_printed_much_is_replayed_from_its_file
                a_file_goes_with_its_step_and_with_its_job
                a_file_that_nobody_finished_is_gone
                a_worker_that_enrolls_removes_files_that_no_attempt_can_come_to_need
                a_copy_has_the_files_of_its_steps
                a_job_without_steps_has_none_to_forget
            }
            output {
                what_an_attempt_prints_can_be_read_while_it_runs
                output_is_read_from_any_byte_on
                the_two_streams_are_kept_apart
                output_may_be_any_bytes
                each_attempt_and_each_job_has_output_of_its_own
                a_chunk_may_drop_the_middle_that_was_kept_before_it
                what_is_dropped_may_begin_within_a_chunk
                output_under_a_lost_lease_is_ignored
            }
            worker {
                a_worker_is_alive_until_its_store_is_gone
                the_books_say_what_a_worker_said_of_itself
                workers_are_numbered_and_no_number_is_given_twice
                one_store_may_have_several_workers
                a_worker_that_enrolls_is_never_taken_for_dead
                a_worker_that_retired_is_off_the_books
                the_jobs_of_a_worker_that_is_gone_are_lost
                a_lost_job_is_lost_until_someone_settles_it
                a_worker_that_is_silent_for_longer_than_its_lease_loses_its_jobs
                a_renewal_prolongs_the_lease
                a_worker_learns_how_each_of_its_jobs_stands
                a_job_that_was_settled_or_claimed_anew_is_no_longer_held
                a_mark_is_held_as_long_as_anyone_has_it_open
                a_mark_outlives_the_store_that_made_it
                a_lease_that_is_lost_gets_no_mark
                a_job_is_taken_away_only_from_a_worker_that_is_still_silent
                of_a_job_that_was_taken_away_nothing_is_recorded_but_its_loss
                a_worker_is_told_with_what_it_runs
                housekeeping_loses_nothing
            }
            change {
                a_waiting_job_is_cancelled_at_once
                the_worker_of_a_running_job_is_asked_to_stop_it
                a_job_that_was_asked_to_stop_and_runs_again_is_not_asked_again
                a_job_that_has_ended_is_not_cancelled
                a_retried_job_is_ready_under_its_number_with_all_its_attempts
                a_retried_job_does_not_expire
                a_job_that_waits_for_its_time_may_be_retried_now
                a_retry_is_refused_where_it_is_not_meant
                an_update_changes_what_it_names_and_nothing_else
                a_waiting_job_may_be_moved_in_time
                a_job_that_ended_is_not_updated
                a_job_does_not_move_to_a_queue_in_which_its_key_is_held
                dropping_forgets_all_that_a_dead_job_left
                only_dead_jobs_are_dropped_and_each_once
                a_pause_says_whether_it_changed_anything
                settings_come_back_as_they_were_set
                a_change_of_settings_sees_what_was_set_before
                a_queue_may_be_set_up_before_its_first_job
            }
            breaker {
                a_queue_is_stopped_once_so_many_of_its_last_attempts_failed_of_one_cause
                failures_of_different_causes_and_old_ones_do_not_stop_a_queue
                what_was_not_seen_to_its_end_does_not_count_for_a_breaker
                of_two_workers_one_tries_one_job_each_time
                who_is_tried_last_comes_last_whatever_its_priority
                a_trial_that_fails_of_the_same_cause_takes_no_attempt_and_of_another_does
                a_trial_that_succeeds_lets_the_queue_go_on_with_nothing_held_against_it
                what_ran_before_a_queue_was_stopped_does_not_let_it_go_on
                a_trial_that_is_handed_back_is_none
                a_queue_that_is_resumed_is_stopped_no_more
                a_queue_whose_breaker_is_taken_off_is_stopped_no_more
                a_clock_that_was_set_back_does_not_put_off_a_trial
                the_breaker_of_one_queue_is_no_concern_of_another
            }
            keep {
                finished_jobs_are_forgotten_by_age_and_dead_ones_never
                of_too_many_finished_jobs_the_oldest_are_forgotten
                a_finished_job_is_kept_for_as_long_as_it_holds_its_key
                one_portion_is_bounded_and_the_next_goes_on
                the_pace_of_hours_that_are_over_is_kept_by_the_hour
                a_queue_goes_only_when_it_has_no_jobs
                a_copy_is_a_queue_as_of_one_instant
            }
            look {
                every_queue_is_listed_by_name_with_its_counts
                a_queue_tells_since_when_its_longest_waiting_job_waits
                a_queue_counts_the_live_workers_that_serve_it
                a_job_that_does_not_exist_is_nowhere
                jobs_are_found_by_number
                many_numbers_may_be_asked_for_at_once
                jobs_are_found_by_queue
                jobs_are_found_by_state
                jobs_are_found_by_all_of_their_labels
                jobs_are_found_by_the_time_of_their_push
                every_condition_that_is_given_must_hold
                pages_follow_one_another_in_both_directions
                a_page_may_be_without_limit
                the_dead_are_listed_the_last_to_die_first
                standings_are_told_of_the_jobs_that_there_are
                the_jobs_that_go_before_one_are_counted
                the_pace_of_a_queue_counts_how_attempts_ended
                a_job_that_did_not_succeed_and_holds_its_key_is_told
                jobs_that_nobody_makes_ready_are_told_the_longest_due_first
                a_queue_remembers_when_it_was_last_served
                the_version_changes_whenever_someone_else_changed_something
            }
            publish {
                each_subscription_to_a_topic_gets_its_events_as_jobs_of_its_own
                an_event_without_a_payload_is_not_one_with_an_empty_one
                without_a_subscription_an_event_is_on_record
                what_becomes_of_one_delivery_is_no_concern_of_the_others
                an_event_comes_with_all_of_its_deliveries_or_not_at_all
                sixteen_subscriptions_get_an_event_at_once_and_seventeen_from_workers
                a_subscription_may_want_only_events_with_some_labels_or_fields
                a_label_and_a_field_of_one_name_may_both_be_what_is_wanted
                who_wants_an_event_not_is_not_counted_and_not_behind
                a_key_publishes_one_event_in_its_topic_until_its_time
                no_two_events_have_one_number_also_when_the_last_was_forgotten
                a_topic_leads_to_the_subscriptions_whose_patterns_match_it
                a_topic_of_sixteen_tokens_is_found_by_each_way_to_write_it
                deliveries_of_one_event_are_made_in_the_order_of_the_subscriptions
            }
            subscribed {
                a_subscription_comes_back_as_it_was_made
                the_same_subscription_once_more_changes_nothing
                another_subscription_of_the_same_name_is_refused_and_nothing_is_done
                a_removed_subscription_gets_nothing_more_and_what_it_got_stays
                a_queue_stays_while_a_subscription_delivers_to_it
                a_paused_subscription_gets_later_what_was_published_meanwhile
                a_pause_leaves_a_queue_alone_that_others_use_too
                what_is_said_of_a_queue_counts_for_deliveries_from_then_on
                a_delivery_runs_as_its_subscription_says
                two_subscriptions_may_share_a_queue_and_each_gets_its_own
                those_that_would_get_a_topic_are_told_by_name_with_how_they_stand
            }
            event_log {
                events_are_read_in_their_order_from_any_on
                a_place_in_the_log_is_the_first_event_from_there_on
                topics_tell_what_they_have_on_record
                an_event_is_on_record_for_a_week_unless_something_is_set
                of_a_topic_the_newest_events_are_kept_by_number_and_by_bytes
                what_says_most_about_a_topic_counts_first_and_the_rest_fills_in
                what_is_set_stays_until_it_is_set_anew
                an_event_is_on_record_for_as_long_as_it_holds_its_key
                an_event_with_deliveries_keeps_its_payload_until_the_last_of_them_is_forgotten
                an_event_on_record_outlives_its_deliveries
                events_are_forgotten_in_portions
                a_time_far_away_and_a_clock_that_was_set_back_forget_nothing_too_early
                a_copy_has_the_events_and_subscriptions
                a_queue_without_events_has_none_to_tell_of
            }
            behind {
                what_is_left_to_workers_is_delivered_by_those_that_serve_its_queue
                events_are_delivered_in_the_order_of_publication_whoever_does_it
                a_backlog_is_delivered_in_portions_and_each_event_once
                a_turn_delivers_no_more_however_many_subscriptions_are_behind
                many_workers_and_publishers_deliver_each_event_once_and_in_order
                a_log_of_other_topics_is_passed_over_in_portions
                a_new_subscription_begins_where_it_asks_to
                a_rewound_subscription_gets_again_what_was_published_from_there_on
                rewound_to_what_is_new_a_subscription_passes_over_its_backlog
                a_backlog_is_delivered_at_its_rate
                no_rate_is_missed_by_far_also_where_it_is_no_round_one
                a_rewind_may_have_a_rate_and_new_events_wait_behind
                a_clock_that_was_set_back_holds_up_no_backlog_without_a_rate
                a_queue_in_which_much_waits_gets_no_more_until_there_is_room
                jobs_that_wait_to_be_tried_again_or_for_their_time_take_up_room_and_the_dead_do_not
                what_nobody_works_stays_behind_and_costs_the_others_nothing
                a_backlog_that_was_forgotten_whole_is_none
                who_waits_for_events_only_is_told_when_to_look
            }
            task {
                dead_jobs_are_put_back_in_one_go_and_the_others_are_answered
                a_job_that_is_put_back_elsewhere_needs_its_key_there
                a_task_puts_its_jobs_back_at_its_rate_and_in_its_order
                any_worker_carries_a_task_whichever_queues_it_serves
                a_task_without_a_rate_goes_in_portions_and_each_job_is_come_to_once
                many_may_carry_a_task_at_once_and_each_job_is_put_back_once
                the_rest_follows_when_enough_of_the_sample_succeed
                the_rest_stays_dead_when_too_few_of_the_sample_succeed
                a_sample_is_over_when_none_of_it_is_under_way
                a_sample_may_be_followed_at_a_rate
                what_dies_again_is_not_put_back_again_by_the_same_task
                what_cannot_be_put_back_is_skipped_with_the_reason
                the_time_of_a_paused_task_stands_still
                a_cancelled_task_leaves_the_rest_dead_and_does_not_go_on
                a_clock_that_was_set_back_holds_up_no_task
                two_tasks_with_the_same_jobs_put_each_back_once
                a_task_comes_back_as_it_was_recorded
                tasks_that_are_over_are_forgotten_after_a_month_or_behind_a_hundred_others
                a_queue_without_tasks_has_none_to_tell_of
            }
            letter {
                what_was_dropped_comes_back_as_it_was
                a_dropped_job_is_nowhere
                a_job_comes_back_without_its_key_where_another_holds_it
                drops_are_listed_the_newest_first_and_one_may_come_in_portions
                what_was_dropped_long_ago_is_forgotten_for_good
                a_dropped_delivery_keeps_the_payload_of_its_event
                a_queue_that_was_removed_is_made_anew_for_what_comes_back
                what_is_replaced_when_a_job_is_put_back_is_kept
                a_replaced_payload_of_one_delivery_is_not_that_of_the_others
                what_is_told_of_a_dead_job_and_taken_in_elsewhere_is_told_alike
            }
            crowd {
                many_may_push_at_once_and_each_key_makes_one_job
                many_may_work_at_once_and_each_job_runs_once
                attempts_are_read_in_one_piece_while_they_end
                a_queue_is_read_in_one_piece_while_its_jobs_come_and_go
            }
            likeness {
                any_verbs_in_any_order_do_to_the_store_what_they_do_to_its_model
            }
        }
    };
    ($open:expr; $($topic:ident { $($promise:ident)* })*) => {
        fn open(folder: &std::path::Path) -> $crate::store::Result<Box<dyn $crate::store::Store>> {
            Ok(Box::new(($open)(folder)?))
        }
        $(mod $topic {
            $(#[test]
            fn $promise() {
                $crate::store::conformance::$topic::$promise(&super::open);
            })*
        })*
    };
}
pub(crate) use suite;
