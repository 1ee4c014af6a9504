"""Every row of the routing document, sections 2 to 11, has a test that shows it, or a reason why it has none.

The rows are read from the document where it is there: table rows by their first words, other lines by their number
within the section. The tests are those of this folder, and of all others where the corridor has a part in it.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
DOCUMENT = TESTS.parents[1] / "shared" / "spec" / "routing.md"

ROWS: dict[str, tuple[str, ...]] = {
    # --- 2: the provider object
    "2 order": (
        "test_order_tries_the_named_first_and_the_others_after_them",
        "test_order_switches_load_balancing_off",
        "test_order_takes_no_notice_of_it",
    ),
    "2 only": ("test_only_allows_nobody_else", "test_only_is_within_what_the_account_allows_and_nothing_left_is_404"),
    "2 ignore": ("test_ignore_leaves_out_what_request_or_account_name",),
    "2 allow_fallbacks": ("test_without_fallbacks_there_is_one_endpoint_or_the_named_ones",),
    "2 require_parameters": ("test_required_parameters_leave_out_who_does_not_take_every_one_sent",),
    "2 data_collection": ("test_data_collection_denied_leaves_out_who_stores_or_trains",),
    "2 zdr": ("test_zdr_is_what_request_or_account_want_and_false_relaxes_nothing",),
    "2 enforce_distillable_text": ("test_distillable_text_is_enforced_and_unknown_is_no_yes",),
    "2 quantizations": ("test_quantizations_keep_those_named_and_what_they_cover",),
    "2 sort": ("test_a_sort_is_strict_and_may_be_an_object", "test_order_wins_over_a_sort"),
    "2 preferred_min_throughput": ("test_too_slow_endpoints_go_to_the_end_and_are_not_left_out",),
    "2 preferred_max_latency": ("test_too_late_endpoints_go_to_the_end_in_seconds",),
    "2 max_price": ("test_max_price_is_per_million_tokens_and_inclusive",),
    "2 #1": (
        "test_a_provider_is_known_by_slug_and_by_display_name",
        "test_an_unknown_key_of_the_provider_object_is_refused",
    ),
    # --- 3: hard filters
    "3 #1": ("test_an_endpoint_that_is_switched_off_is_never_tried", "test_a_region_keeps_only_its_endpoints"),
    "3 #2": ("test_account_lists_and_guardrails_hold_for_providers_and_models",),
    "3 #3": (
        "test_training_and_publication_are_switched_apart_for_paid_and_free",
        "test_the_group_of_a_vendor_is_its_own_and_not_its_slug",
    ),
    "3 #4": ("test_wishes_filter_and_order", "test_max_price_counts_the_discount_and_refuses_the_unpriced"),
    "3 #5": (
        "test_what_cannot_fit_is_left_out_and_what_may_not_fit_goes_behind",
        "test_the_longest_answer_has_to_be_producible",
        "test_compression_relaxes_the_context_to_half_of_what_is_needed_else_the_largest",
    ),
    "3 #6": ("test_inputs_and_outputs_that_an_endpoint_is_known_not_to_have_leave_it_out",),
    "3 #7": ("test_a_service_tier_is_tried_only_where_it_is_asked_for",),
    "3 #8": ("test_the_error_names_the_filter_that_removed_the_last_endpoint",),
    # --- 4: soft preferences
    "4 #1": (
        "test_where_some_take_what_matters_only_they_are_used",
        "test_where_nobody_takes_it_it_is_ignored_and_no_model_is_lost_for_it",
    ),
    "4 #2": ("test_any_other_unsupported_parameter_takes_nobody_out",),
    "4 #3": ("test_with_tools_good_endpoints_come_first_then_unknown_then_those_put_back",),
    "4 #4": (
        "test_every_percentile_that_is_given_has_to_hold",
        "test_who_is_not_measured_stands_between_who_meets_a_bar_and_who_misses_it",
    ),
    # --- 5: ordering
    "5.1 #1": ("test_an_outage_of_the_last_thirty_seconds_puts_an_endpoint_back_and_ends_by_itself",),
    "5.1 #2": ("test_all_that_stand_well_are_drawn_by_the_inverse_square_of_their_price",),
    "5.1 #3": ("test_the_worked_example_holds_within_one_percent", "test_the_fallbacks_follow_by_rising_price"),
    "5.1 #4": (
        "test_the_price_is_three_parts_of_prompt_to_one_of_completion_less_the_discount",
        "test_a_free_endpoint_is_drawn_nearly_always_and_an_unpriced_one_never_before_a_priced",
        "test_two_failures_that_are_half_of_all_in_30_s_are_an_outage",
    ),
    "5.2 #1": (
        "test_explicit_sorts_are_strict_with_any_seed",
        "test_who_is_not_measured_sorts_last",
        "test_a_sort_over_all_models_and_within_each",
    ),
    "5.2 #2": ("test_an_explicit_sort_by_price_throughput_or_latency_beats_exacto",),
    "5.3 #1": (
        "test_how_tools_are_called_is_remembered_of_the_endpoint",
        "test_every_call_names_a_tool_that_was_offered_with_an_object",
        "test_with_fewer_than_four_providers_nobody_is_put_back",
        "test_too_few_requests_are_insufficient_data",
        "test_without_tools_quality_counts_only_where_it_is_asked_for",
    ),
    "5.3 #2": (
        "test_quality_is_opted_out_of_by_a_sort_by_price",
        "test_quality_is_opted_out_of_by_the_account",
    ),
    "5.4 #1": (
        "test_uptime_has_three_classes_and_needs_a_hundred_requests",
        "test_what_counts_against_an_endpoint_is_what_it_did_itself",
        "test_a_degraded_endpoint_goes_behind_and_one_that_is_down_behind_that",
        "test_the_listing_tells_uptimes_and_percentiles_in_the_apis_units",
    ),
    "5.5 #1": (
        "test_throughput_falls_with_the_percentile_and_latency_rises",
        "test_throughput_is_tokens_by_the_time_of_the_whole_attempt",
        "test_percentiles_are_off_by_the_stated_error_at_most",
    ),
    "5.5 #2": ("test_few_samples_ask_a_longer_window_and_none_leave_it_unknown",),
    "5.6 #1": (
        "test_own_keys_go_first_even_against_provider_order",
        "test_prioritised_keys_then_shared_capacity_then_fallback_keys",
    ),
    "5.6 #2": (
        "test_every_condition_of_a_key_has_to_hold",
        "test_a_key_that_is_always_used_takes_the_place_of_the_shared_capacity",
    ),
    # --- 6: failover
    "6 #1": ("test_before_content_every_fault_of_a_provider_goes_to_the_next_endpoint",),
    "6 #2": ("test_a_fault_of_ours_or_the_callers_stops",),
    "6 #3": (
        "test_every_fault_of_a_provider_moves_on_until_content_came_or_enough_was_tried",
        "test_after_content_no_other_provider_is_asked_and_the_error_is_told_in_the_stream",
    ),
    "6 #4": ("test_the_next_model_of_the_list_answers_and_is_billed_and_named",),
    "6 #5": (
        "test_the_shortest_wait_of_all_is_told",
        "test_several_faults_become_the_one_that_tells_the_caller_most",
        "test_a_model_that_no_provider_has_any_more_is_not_found",
        "test_the_caller_is_told_what_the_table_says",
    ),
    "6 #6": ("test_fallbacks_and_models_are_read_by_either_name",),
    "6 #7": (
        "test_with_headers_out_failover_goes_on_and_a_final_failure_is_an_event",
        "test_a_provider_without_a_first_token_in_time_is_given_up_for_the_next",
    ),
    # --- 7: model strings
    "7 #1": ("test_a_model_string_has_its_parts", "test_an_alias_is_the_model_and_the_plan_says_so"),
    "7 :free": ("test_free_is_a_model_of_its_own_and_where_it_ended_the_error_says_so",),
    "7 :extended": ("test_extended_and_batch_are_models_of_their_own_or_nothing",),
    "7 :thinking": (
        "test_thinking_is_its_own_model_else_the_model_with_reasoning_on_but_at_anthropic",
        "test_a_call_is_made_to_think_unless_it_says_something_of_it_itself",
    ),
    "7 :batch": ("test_extended_and_batch_are_models_of_their_own_or_nothing",),
    "7 :nitro": (
        "test_nitro_sorts_by_throughput_floor_by_price_and_exacto_by_quality",
        "test_a_service_tier_is_tried_only_where_it_is_asked_for",
    ),
    "7 :floor": (
        "test_nitro_sorts_by_throughput_floor_by_price_and_exacto_by_quality",
        "test_a_service_tier_is_tried_only_where_it_is_asked_for",
    ),
    "7 :exacto": ("test_without_tools_quality_counts_only_where_it_is_asked_for",),
    "7 :online": (
        "test_online_is_the_same_model_told_to_search",
        "test_who_can_search_is_asked_and_where_nobody_can_all_are",
        "test_online_gives_the_model_the_providers_own_search_and_its_price_is_charged",
    ),
    # --- 8: routers and tiers
    "8 openrouter/auto": (
        "test_auto_takes_the_configured_ranking_the_best_and_two_fallbacks",
        "test_a_learnt_ranking_is_cut_to_the_cost_band_and_low_without_one",
        "test_auto_keeps_allowed_patterns_and_exclusion_wins",
        "test_a_plugin_of_another_router_is_ignored",
        "test_a_session_stays_with_the_model_that_answered_while_it_is_a_candidate",
        "test_the_task_is_told_by_what_the_request_is_made_of_and_never_fails",
        "test_a_ranking_is_learnt_from_what_was_spent_on_each_model",
        "test_auto_follows_what_callers_spend_and_not_itself",
        "test_a_pinned_model_is_the_one_that_the_last_assistant_message_names",
        "test_the_older_tradeoff_is_a_ceiling_of_prices_and_the_tier_goes_before_it",
        "test_a_router_passes_over_models_that_no_endpoint_may_serve",
        "test_a_conversation_stays_with_its_model_wherever_the_ranking_has_it_by_now",
    ),
    "8 openrouter/free": ("test_free_draws_among_the_free_models_that_can_serve_the_request",),
    "8 ~author/family-latest": (
        "test_latest_is_the_newest_visible_model_of_a_family",
        "test_a_family_without_a_visible_model_is_an_error",
    ),
    "8 openrouter/pareto-code": (
        "test_pareto_code_takes_the_cheapest_of_a_coding_tier",
        "test_pareto_code_without_a_candidate_is_404_and_a_wrong_score_400",
        "test_pareto_code_by_speed_takes_the_fastest_of_the_tier_and_the_unmeasured_last",
    ),
    "8 openrouter/fusion": ("test_routers_that_are_not_here_are_refused_by_name",),
    "8 openrouter/bodybuilder": ("test_routers_that_are_not_here_are_refused_by_name",),
    "8 #1": ("test_the_next_model_of_the_list_answers_and_is_billed_and_named",),
    "8.3 #1": ("test_a_service_tier_is_tried_only_where_it_is_asked_for",),
    "8.3 #2": (
        "test_a_service_tier_is_tried_only_where_it_is_asked_for",
        "test_flex_where_there_is_none_is_ordinary_routing",
    ),
    "9 #1": ("test_a_slug_or_name_is_every_endpoint_of_a_provider_and_a_tag_exactly_one",),
    # --- 10: conversations
    "10 #1": (
        "test_the_session_counts_first_then_the_cache_key",
        "test_account_and_model_are_part_of_the_key",
        "test_a_conversation_that_goes_on_has_the_same_key",
    ),
    "10 #2": ("test_with_a_session_any_answer_sticks_and_without_one_only_a_used_cache",),
    "10 #3": (
        "test_only_where_a_cached_token_is_cheaper",
        "test_order_takes_no_notice_of_it",
        "test_an_endpoint_that_is_out_is_no_home",
    ),
    "10 #4": (
        "test_a_place_is_forgotten_after_ten_minutes_without_use",
        "test_a_session_stays_with_the_model_a_router_chose_whatever_its_prices",
    ),
    # --- 11: compression
    "11 #1": (
        "test_the_middle_goes_and_system_first_and_last_stay",
        "test_of_more_messages_than_a_provider_takes_the_first_and_last_halves_stay",
        "test_it_is_on_for_small_contexts_and_where_request_or_account_say_so",
        "test_compression_relaxes_the_context_to_half_of_what_is_needed_else_the_largest",
        "test_it_is_skipped_where_only_pictures_are_made_and_for_large_bodies_in_pieces",
    ),
}

REASONS = {
    "8 private models": "there are no accounts that share a gateway without sharing its catalogue",
    "10 #5": "no other calls than those of chat, responses and messages are routed here",
}


def names_of_tests() -> set[str]:
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        found |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return found


def rows(document: str) -> set[str]:
    """Keys of everything that sections 2 to 11 say."""
    found: set[str] = set()
    section, number = "", 0
    for line in document.splitlines():
        heading = re.match(r"#+ (\d+(?:\.\d+)?)\.? ", line)
        if heading:
            section, number = heading[1], 0
            continue
        if not section or not 2 <= float(section.split(".")[0]) <= 11 or line.startswith("#"):
            continue
        if not line.strip() or line == "---" or re.match(r"\|[-| ]+\|$", line):
            continue
        if line.startswith("|"):
            first = line.split("|")[1].strip()
            if first not in ("Field", "Variant", "Model"):
                found.add(f"{section} {first.split(', ')[0].strip('`')}")
        else:
            number += 1
            found.add(f"{section} #{number}")
    return found


def test_every_named_test_is_there() -> None:
    named = {name for names in ROWS.values() for name in names}
    assert named - names_of_tests() == set()


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="the routing document is not beside this checkout")
def test_every_row_of_the_document_has_a_test_or_a_reason() -> None:
    told = rows(DOCUMENT.read_text("utf-8"))
    assert len(told) > 60
    assert told - ROWS.keys() - REASONS.keys() == set(), "rows without a test"
    assert (ROWS.keys() | REASONS.keys()) - told == set(), "tests for rows that are not there"
