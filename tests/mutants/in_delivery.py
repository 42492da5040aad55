"""Bugs between journal and sink: when a position moves, what is written again, and what becomes a dead letter."""

from mutants.planting import Mutant

DELIVERY = "tests/delivery/test_delivery.py"

IN_DELIVERY = (
    Mutant(
        "the position moved before the write",
        "shipper/delivery.py",
        "        self._attempt += 1\n",
        "        await self._lane.ack(stretch.last)\n        self._attempt += 1\n",
        (f"{DELIVERY}::test_fatal_ends_the_program_with_the_position_unmoved",),
    ),
    Mutant(
        "a refused event tried for ever",
        "shipper/delivery.py",
        "            ack = self._plan.refused(why, outcome.reason, own=outcome.own, others=others)\n",
        "            return None, self._later(Unavailable(outcome.reason))\n",
        (f"{DELIVERY}::test_events_said_to_be_refused_leave_and_all_others_go_again",),
    ),
    Mutant(
        "halving drops the second half",
        "shipper/plan.py",
        "self._spans += [(middle + 1, last), (first, middle)]",
        "self._spans += [(first, middle)]",
        (f"{DELIVERY}::test_a_batch_that_is_too_large_goes_in_halves",),
    ),
    Mutant(
        "a write's timeout counted as delivered",
        "shipper/delivery.py",
        '            raise Unavailable("timeout", f"the write took longer than {limit:g} s") from None\n',
        "            return None\n",
        (f"{DELIVERY}::test_a_write_over_its_time_counts_as_a_timeout_and_comes_again",),
    ),
    Mutant(
        "Retry-After ignored",
        "shipper/delivery.py",
        "self._backoff.delay(self._failures, retry_after or 0.0)",
        "self._backoff.delay(self._failures)",
        (f"{DELIVERY}::test_retry_after_is_a_floor_for_the_wait",),
    ),
    Mutant(
        "a stop cancels the write in hand, and its ack",
        "shipper/delivery.py",
        "        if not self._writing:\n            task.cancel()",
        "        task.cancel()",
        (f"{DELIVERY}::test_stop_lets_the_write_in_hand_finish_and_keeps_its_ack",),
    ),
    Mutant(
        "no range recorded before a write that is to be replayed",
        "shipper/delivery.py",
        " and await self._lane.reserve(\n            stretch.first, stretch.last, stretch.left_out\n        )",
        "",
        (f"{DELIVERY}::test_a_sink_that_replays_batches_gets_the_same_ranges_after_a_crash",),
    ),
    Mutant(
        "what a filter leaves out taken for a delivery",
        "shipper/plan.py",
        "return self._close(deliveries=False)",
        "return self._close(deliveries=True)",
        ("tests/delivery/test_filtered.py::test_what_is_left_out_proves_nothing_of_a_destination_that_refuses",),
    ),
    Mutant(
        "refusals until the first delivery settled at once",
        "shipper/plan.py",
        "        if not deliveries and self._in_a_row and not first_in_a_row:\n            return None\n",
        "",
        (f"{DELIVERY}::test_a_destination_that_refuses_everything_does_not_eat_the_log",),
    ),
    Mutant(
        "an ack without room forgotten",
        "shipper/delivery.py",
        "                await self._sleep(self._no_room(error))\n",
        "                await self._sleep(self._no_room(error))\n                return\n",
        (f"{DELIVERY}::test_dead_letters_at_their_limit_hold_the_lane_and_nothing_is_sent_again",),
    ),
    Mutant(
        "what is left of a batch counted from its first event",
        "shipper/delivery.py",
        "self._plan.delivered_but({numbers[index] for index in outcome.only}, numbers)",
        "self._plan.delivered_but({numbers[0] + index for index in outcome.only}, numbers)",
        (f"{DELIVERY}::test_what_the_destination_names_counts_in_what_it_was_sent_last",),
    ),
    Mutant(
        "what is refused of the rest of a batch counted from its first event",
        "shipper/delivery.py",
        "            why = {numbers[index]: words",
        "            why = {numbers[0] + index: words",
        (f"{DELIVERY}::test_what_the_destination_names_counts_in_what_it_was_sent_last",),
    ),
)
