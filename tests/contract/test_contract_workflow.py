"""Workflows: the booking of the guide to its end, and every way that a workflow can take."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from contract.records import Record
from contract.test_contract_refusals import refused
from contract.workflows import BOOKING, BRANCHING

from redstate import Guard, Limits, Step, Store, Workflow, errors


@pytest.fixture
def booking(conversation: Any) -> Any:
    return conversation.workflow(BOOKING)


def test_the_booking_of_the_guide_reaches_its_end(booking: Any) -> None:
    assert booking.status().step == "initial"
    assert booking.advance("collecting_dates") == "collecting_dates"
    assert (
        booking.advance("collecting_guests", check_in="2026-03-01", check_out=date(2026, 3, 4)) == "collecting_guests"
    )
    assert booking.status().missing == {"guests": "a whole number"}
    assert booking.advance(guests="2") == "ready_to_confirm"
    assert booking.advance("completed") == "completed"
    status = booking.status()
    assert status.finished and not status.cancelled and status.allowed == []
    assert status.data == {"check_in": date(2026, 3, 1), "check_out": date(2026, 3, 4), "guests": 2}
    assert [(one.from_step, one.to_step, one.kind) for one in status.history] == [
        ("initial", "collecting_dates", "advance"),
        ("collecting_dates", "collecting_guests", "advance"),
        ("collecting_guests", "ready_to_confirm", "advance"),
        ("ready_to_confirm", "completed", "advance"),
    ]


def test_times_are_those_of_the_server(booking: Any) -> None:
    booking.start()
    booking.advance()
    status = booking.status()
    start, advance = status.history
    assert start.at == status.started_at < advance.at == status.entered_at
    assert abs(datetime.now(UTC) - status.entered_at) < timedelta(seconds=60)
    assert status.seconds_left is None


def test_a_workflow_that_nothing_moved_stands_at_its_initial_step(conversation: Any, booking: Any) -> None:
    status = booking.status()
    assert (status.step, status.data, status.allowed, status.history) == ("initial", {}, ["collecting_dates"], ())
    assert status.started_at is None and status.entered_at is None
    assert not conversation.exists()


def test_what_was_collected_early_counts_later(booking: Any) -> None:
    booking.start(guests=3)
    booking.collect(check_in="2026-03-01")
    booking.advance()
    booking.advance(check_out="2026-03-02")
    assert booking.advance() == "ready_to_confirm"


def test_going_back_keeps_what_was_collected(booking: Any, record: Record) -> None:
    booking.advance()
    booking.advance(check_in="2026-03-01", check_out="2026-03-04")
    assert booking.back() == "collecting_dates"
    assert booking.back() == "initial"
    assert "go back" in refused(booking.back, record, errors.StepRefused).reason
    assert booking.advance() == "collecting_dates"
    assert booking.advance() == "collecting_guests"
    assert [one.kind for one in booking.status().history] == [
        "advance",
        "advance",
        "back",
        "back",
        "advance",
        "advance",
    ]


def test_a_cancelled_workflow_takes_nothing_until_it_is_started_again(booking: Any, record: Record) -> None:
    booking.advance()
    booking.collect(guests=2)
    assert booking.cancel("changed her mind") == "collecting_dates"
    status = booking.status()
    assert status.cancelled and not status.finished and status.cancel_reason == "changed her mind"
    assert (status.step, status.allowed, status.missing) == ("collecting_dates", [], {})
    assert (status.history[-1].from_step, status.history[-1].to_step) == ("collecting_dates", None)
    for change in (booking.advance, lambda: booking.collect(guests=3), booking.back, booking.cancel):
        assert "cancelled" in refused(change, record, errors.StepRefused).reason
    assert booking.start() == "initial"
    again = booking.status()
    assert (again.data, again.cancelled, again.cancel_reason, len(again.history)) == ({}, False, None, 3)


def test_a_running_workflow_cannot_be_started_and_a_finished_one_can(conversation: Any, record: Record) -> None:
    run = conversation.workflow(BRANCHING)
    run.start(guests=1)
    assert refused(run.start, record, errors.StepRefused).step == "size"
    run.advance("desk")
    run.advance()
    assert "finished" in refused(run.back, record, errors.StepRefused).reason
    assert run.start() == "size"
    assert run.status().data == {}


def test_the_last_fifty_transitions_are_kept(conversation: Any, record: Record) -> None:
    run = conversation.workflow(BRANCHING)
    run.start(guests=1)
    for _ in range(40):
        run.advance("desk")
        run.back()
    history = run.status().history
    assert len(history) == 50
    assert [one.kind for one in history[-2:]] == ["advance", "back"]
    assert all(before.at < after.at for before, after in itertools.pairwise(history))


def test_a_repeated_operation_answers_as_it_did_first(booking: Any, record: Record) -> None:
    assert booking.advance("collecting_dates", op_id="one") == "collecting_dates"
    booking.advance(check_in="2026-03-01", check_out="2026-03-04")
    image = record.image()
    # Refused as a new operation, since the workflow has moved on; as a repeat it tells its first result.
    assert booking.advance("collecting_dates", op_id="one") == "collecting_dates"
    assert record.image() == image
    refused(lambda: booking.advance("collecting_dates", op_id="two"), record, errors.StepRefused)
    refused(lambda: booking.collect(guests=1, op_id="one"), record, errors.OperationMismatch)
    booking.cancel()
    assert booking.start(op_id="three") == "initial"
    assert booking.start(op_id="three") == "initial"


def test_a_change_can_be_made_conditional_on_the_conversations_version(conversation: Any, record: Record) -> None:
    run = conversation.workflow(BOOKING)
    run.advance(expected_version=0)
    version = conversation.version()
    conversation.state.set("other", 1)
    error = refused(lambda: run.collect(guests=1, expected_version=version), record, errors.ConflictError)
    assert error.expected_version == version
    run.collect(guests=1, expected_version=conversation.version())


def test_workflows_of_one_conversation_are_apart_and_count_towards_its_cap(open_store: Any, record: Record) -> None:
    conversation = open_store(limits=Limits(max_fields=12)).conversation("conv_123")
    conversation.state.set("a", 1)
    made = 0
    with pytest.raises(errors.TooLarge) as caught:
        for made in range(50):
            conversation.workflow(Workflow(f"w{made}", [Step("a", next="b"), Step("b", final=True)])).start()
    assert (caught.value.limit, caught.value.unit) == (12, "fields")
    assert made == 11
    assert conversation.workflow(Workflow("w0", [Step("a", next="b"), Step("b", final=True)])).advance() == "b"
    refused(lambda: conversation.workflow(BOOKING).start(), record, errors.TooLarge)


def test_what_a_workflow_collects_is_bounded(open_store: Any, record: Record) -> None:
    run = open_store(limits=Limits(max_value_bytes=100)).conversation("conv_123").workflow(BOOKING)
    run.start()
    assert refused(lambda: run.collect(wishes=["x" * 100]), record, errors.TooLarge).path == "booking"


def test_a_conversation_that_is_deleted_takes_its_workflows_along(conversation: Any, booking: Any) -> None:
    booking.advance()
    conversation.delete()
    assert booking.status().step == "initial"
    assert booking.advance() == "collecting_dates"


def test_a_step_of_an_older_definition_can_be_left_backwards_or_cancelled(conversation: Any, record: Record) -> None:
    conversation.workflow(BOOKING).advance()
    newer = conversation.workflow(
        Workflow("booking", [Step("initial", next="completed"), Step("completed", final=True)])
    )
    status = newer.status()
    assert (status.step, status.allowed, status.missing) == ("collecting_dates", [], {})
    assert "no such step" in refused(newer.advance, record, errors.StepRefused).reason
    assert newer.back() == "initial"
    assert newer.advance() == "completed"


@pytest.mark.parametrize("header", ["", "x", "1" * 64, "1" * 64 + "r", "1" * 63 + "rstep", "1" * 65 + "rstep", b"\xff"])
def test_a_header_that_is_none_is_corrupt_and_stays(booking: Any, record: Record, header: str | bytes) -> None:
    booking.start()
    record.poke("wbooking", header)
    for call in (booking.status, booking.advance, lambda: booking.collect(guests=1), booking.cancel):
        assert refused(call, record, errors.CorruptState).field == "wbooking"


@pytest.mark.parametrize("data", ["", "x", "{}", "[]", "[{},[]]", "[[],{},null]", b"\xff"])
def test_data_that_is_none_is_corrupt_and_stays(booking: Any, record: Record, data: str | bytes) -> None:
    booking.start()
    record.poke("Wbooking", data)
    for call in (booking.status, booking.advance, lambda: booking.collect(guests=1), booking.cancel):
        assert refused(call, record, errors.CorruptState).field == "Wbooking"


# Races ----------------------------------------------------------------------------------------------------------------


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    start = threading.Barrier(count)

    def begin(number: int) -> Any:
        start.wait(10)
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(begin, range(count)))


class TestRaces:
    @pytest.fixture
    def colour(self) -> str:
        return "sync"  # threads

    def test_of_many_that_advance_one_wins_and_the_others_learn_where_to(self, store: Store) -> None:
        for number in range(10):
            run = store.conversation(f"c{number}").workflow(BOOKING)
            run.start()

            def move(_: int, run: Any = run) -> str:
                try:
                    run.advance("collecting_dates")
                except errors.StepRefused as error:
                    assert error.step == "collecting_dates"
                    return "lost"
                return "won"

            assert sorted(at_once(6, move)) == ["lost"] * 5 + ["won"]
            assert len(run.status().history) == 2

    def test_fields_collected_at_once_all_land(self, store: Store) -> None:
        for number in range(10):
            run = store.conversation(f"c{number}").workflow(BOOKING)
            values = [{"guests": 2}, {"check_in": "2026-03-01"}, {"check_out": "2026-03-04"}, {"wishes": ["quiet"]}]
            at_once(4, lambda place, run=run, values=values: run.collect(**values[place]))
            assert len(run.status().data) == 4

    def test_fields_land_although_the_workflow_moves_meanwhile(self, store: Store) -> None:
        for number in range(10):
            run = store.conversation(f"c{number}").workflow(BOOKING)
            at_once(2, lambda place, run=run: run.collect(guests=2) if place else run.advance())
            status = run.status()
            assert (status.step, status.data) == ("collecting_dates", {"guests": 2})

    def test_one_operation_from_many_threads_moves_once(self, store: Store) -> None:
        run = store.conversation("c").workflow(BOOKING)
        assert set(at_once(8, lambda _: run.advance(op_id="go"))) == {"collecting_dates"}
        assert len(run.status().history) == 1

    def test_a_guard_holds_for_the_data_that_is_stored(self, store: Store) -> None:
        """Each of two corrections is fine with what it reads; a guard judged on stale data would let both through."""
        together = Workflow(
            "together",
            [
                Step(
                    "a",
                    collects={"x": int, "y": int},
                    next="b",
                    guards=[Guard("one only", lambda data: data["x"] + data["y"] <= 1, "Only one of the two")],
                ),
                Step("b", next="c"),
                Step("c", final=True),
            ],
        )
        for number in range(10):
            run = store.conversation(f"c{number}").workflow(together)
            run.start(x=0, y=0)

            def move(place: int, run: Any = run) -> None:
                with contextlib.suppress(errors.StepRefused):
                    run.advance("b", **{"xy"[place]: 1})

            at_once(2, move)
            status = run.status()
            assert status.step == "b" and status.data["x"] + status.data["y"] == 1


@pytest.mark.parametrize("definition", ["flow", Workflow, None], ids=repr)
def test_what_is_no_workflow_is_refused(conversation: Any, definition: Any) -> None:
    with pytest.raises(errors.InvalidInput, match="takes a Workflow"):
        conversation.workflow(definition)
