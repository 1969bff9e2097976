"""Workflows: the booking of the guide to its end, and everything that a step can refuse."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest
from contract.records import Record
from contract.test_contract_refusals import refused

from redstate import Guard, Limits, Step, Store, Workflow, errors

BOOKING = Workflow(
    "booking",
    [
        Step("initial", next="collecting_dates"),
        Step(
            "collecting_dates",
            collects={"check_in": date, "check_out": date},
            next="collecting_guests",
            guards=[
                Guard(
                    "dates in order",
                    lambda data: data["check_out"] > data["check_in"],
                    "The check-out must be after the check-in",
                )
            ],
        ),
        Step("collecting_guests", collects={"guests": int, "wishes": list[str] | None}, next="ready_to_confirm"),
        Step("ready_to_confirm", next="completed"),
        Step("completed", final=True),
    ],
)
HURRIED = Workflow(
    "hurried",
    [
        Step("begin", collects={"n": int | None, "m": int | None}, next="offer"),
        Step("offer", collects={"answer": bool}, next="done", time_limit=0.05, on_timeout="lapsed"),
        Step("lapsed", next=["offer", "done"]),
        Step("done", final=True),
    ],
)
BRANCHING = Workflow(
    "branching",
    [
        Step(
            "size",
            collects={"guests": int, "kind": Literal["business", "leisure"] | None, "rate": Decimal | None},
            next=["express", "desk"],
            guards=[Guard("small", lambda data: data["guests"] <= 2, "Only two fit", to="express")],
        ),
        Step("express", next="done"),
        Step("desk", next="done"),
        Step("done", final=True),
    ],
)


@pytest.fixture
def booking(conversation: Any) -> Any:
    return conversation.workflow(BOOKING)


def overdue(run: Any) -> None:
    """Wait until the present step's time is over, by the server's own word."""
    while run.status().seconds_left:
        pass


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


def test_a_refused_step_says_what_is_missing_and_what_is_allowed(booking: Any, record: Record) -> None:
    booking.advance()
    error = refused(lambda: booking.advance(check_in="2026-03-01"), record, errors.StepRefused)
    assert (error.workflow, error.step, error.allowed) == ("booking", "collecting_dates", ["collecting_guests"])
    assert error.missing == {"check_out": "a date such as 2026-03-01"}
    result = error.as_result()
    assert result["step"] == "collecting_dates" and result["missing"] == error.missing
    assert result["allowed"] == ["collecting_guests"] and isinstance(result["error"], str)
    assert booking.status().data == {}


def test_a_step_that_cannot_follow_is_refused(booking: Any, record: Record) -> None:
    booking.start()
    for step in ("completed", "initial", "no_such_step"):
        error = refused(lambda step=step: booking.advance(step), record, errors.StepRefused)
        assert error.allowed == ["collecting_dates"]


def test_a_guard_refuses_with_its_message(booking: Any, record: Record) -> None:
    booking.advance()
    error = refused(lambda: booking.advance(check_in="2026-03-04", check_out="2026-03-01"), record, errors.StepRefused)
    assert error.reason == "The check-out must be after the check-in"
    assert "2026" not in str(error)


def test_data_corrected_later_must_still_fulfil_the_guards_of_steps_passed(booking: Any, record: Record) -> None:
    booking.advance()
    booking.advance(check_in="2026-03-01", check_out="2026-03-04")
    booking.collect(check_out="2026-02-01")
    error = refused(lambda: booking.advance(guests=2), record, errors.StepRefused)
    assert error.reason == "The check-out must be after the check-in"
    assert booking.advance(guests=2, check_out="2026-03-02") == "ready_to_confirm"


def test_a_guarded_way_is_only_allowed_while_its_guard_holds(conversation: Any, record: Record) -> None:
    run = conversation.workflow(BRANCHING)
    run.collect(guests=4, kind="Business", rate=99.5)
    assert run.status().data == {"guests": 4, "kind": "business", "rate": Decimal("99.5")}
    assert run.status().allowed == ["desk"]
    assert refused(lambda: run.advance("express"), record, errors.StepRefused).reason == "Only two fit"
    assert "name one" in refused(run.advance, record, errors.StepRefused).reason
    assert run.advance("express", guests=2) == "express"


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"check_in": "tomorrow"}, "check_in"),
        ({"check_in": 20260301}, "check_in"),
        ({"guests": 2.5}, "guests"),
        ({"guests": True}, "guests"),
        ({"guests": None}, "guests"),
        ({"wishes": ["quiet", 7]}, "wishes[1]"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_value_of_another_type_is_refused_before_it_is_sent(
    booking: Any, record: Record, values: dict[str, Any], path: str
) -> None:
    booking.start()
    for change in (booking.collect, booking.advance):
        error = refused(lambda change=change: change(**values), record, errors.InvalidValue)
        assert error.path == path and error.expected


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


def test_after_its_time_a_step_can_only_be_left_backwards_or_by_its_timeout(conversation: Any, record: Record) -> None:
    run = conversation.workflow(HURRIED)
    run.advance()
    assert "until its time is over" in refused(lambda: run.advance("lapsed"), record, errors.StepRefused).reason
    overdue(run)
    for change in (lambda: run.advance(answer=True), lambda: run.collect(answer=True)):
        error = refused(change, record, errors.StepRefused)
        assert (error.reason, error.allowed) == ("the time for this step is over", ["lapsed"])
    status = run.status()
    assert (status.seconds_left, status.allowed) == (0.0, ["lapsed"])
    assert run.advance("lapsed") == "lapsed"
    assert run.status().seconds_left is None
    run.advance("offer")
    overdue(run)
    assert run.back() == "lapsed"
    run.advance("offer")
    overdue(run)
    assert run.cancel() == "offer"


def test_the_time_of_a_step_is_judged_where_the_change_is_made(
    conversation: Any, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that read in time and was then held up is refused all the same."""
    from redstate.calls import workflow as calls

    run = conversation.workflow(HURRIED)
    run.advance()
    decide = calls.advance

    def held_up(*arguments: Any) -> Any:
        move = decide(*arguments)
        while record.raw.time() < entered:
            pass
        return move

    seconds, micros = record.raw.time()
    entered = (seconds, micros + 60_000) if micros < 940_000 else (seconds + 1, micros - 940_000)
    monkeypatch.setattr(calls, "advance", held_up)
    error = refused(lambda: run.advance(answer=True), record, errors.StepRefused)
    assert (error.step, error.reason, error.allowed) == ("offer", "the time for this step is over", ["lapsed"])


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


# Logins ---------------------------------------------------------------------------------------------------------------

MEMBERS = Workflow(
    "members",
    [
        Step("open", collects={"n": int | None}, next="closed"),
        Step("closed", collects={"m": int | None}, next="done", requires_login=True),
        Step("done", final=True),
    ],
)
ALL_MEMBERS = Workflow("all", [Step("a", next="b"), Step("b", final=True)], requires_login=True)


def test_a_step_that_requires_a_login_is_refused_without_one(conversation: Any, record: Record) -> None:
    run = conversation.workflow(MEMBERS)
    run.collect(n=1)
    refused(run.advance, record, errors.NotAuthenticated)
    refused(conversation.workflow(ALL_MEMBERS).start, record, errors.NotAuthenticated)
    conversation.session.login("user-7")
    assert run.advance() == "closed"
    conversation.session.logout()
    for change in (run.advance, lambda: run.collect(m=1)):
        refused(change, record, errors.NotAuthenticated)
    assert run.back() == "open"
    assert run.cancel() == "open"


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
