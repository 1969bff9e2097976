"""What a step of a workflow refuses: what is missing, what its guards say, what comes too late or without a login."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from contract.records import Record
from contract.test_contract_refusals import refused
from contract.workflows import BOOKING, BRANCHING, HURRIED, overdue

from redstate import Guard, Step, Store, Workflow, errors


@pytest.fixture
def booking(conversation: Any) -> Any:
    return conversation.workflow(BOOKING)


def test_a_refused_step_says_what_is_missing_and_what_is_allowed(booking: Any, record: Record) -> None:
    booking.advance()
    error = refused(lambda: booking.advance(check_in="2026-03-01"), record, errors.StepRefused)
    assert (error.workflow, error.step, error.allowed) == ("booking", "collecting_dates", ["collecting_guests"])
    assert str(error).endswith("Collect what is missing, then go to collecting_guests")
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
    error = refused(lambda: run.advance(guests=2), record, errors.StepRefused)
    assert "name one" in error.reason and str(error).endswith("go to express or desk")
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


@pytest.mark.parametrize("timeout", [True, False])
@pytest.mark.parametrize("earlier", [True, False])
def test_what_is_told_of_a_late_step_is_what_can_be_done(
    conversation: Any, record: Record, timeout: bool, earlier: bool
) -> None:
    late = Step("late", next="done", time_limit=0.05, on_timeout="done" if timeout else None)
    run = conversation.workflow(Workflow("w", [Step("begin", next="late"), late, Step("done", final=True)]))
    run.advance()
    if not earlier:  # as after fifty times back
        record.poke("Ww", record.fields("Ww")[b"Ww"].replace(b'["begin"]', b"[]"))
    overdue(run)
    error = refused(run.advance, record, errors.StepRefused)
    said = error.next_step.lower()
    assert ("go to done" in said, "go back" in said, "cancel" in said) == (timeout, earlier, True)


def test_time_limits_go_by_the_clock_although_the_version_is_ahead_of_it(conversation: Any, record: Record) -> None:
    conversation.state.set("a", 1)
    record.poke("v", "4000000000000000")
    run = conversation.workflow(HURRIED)
    run.advance()
    status = run.status()
    for at in (status.started_at, status.entered_at, status.history[-1].at):
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert status.seconds_left <= 0.05
    overdue(run)
    assert refused(lambda: run.advance(answer=True), record, errors.StepRefused).allowed == ["lapsed"]
    patient = conversation.workflow(
        Workflow("patient", [Step("a", next="b", time_limit=60, on_timeout="b"), Step("b", final=True)])
    )
    patient.start()
    assert patient.advance() == "b"


# Guards that fail -----------------------------------------------------------------------------------------------------


def guarded(check: Callable[[dict[str, Any]], Any], to: str | None = None) -> Workflow:
    guards = [Guard("weather", check, "It rains", to=to)]
    return Workflow(
        "trip", [Step("a", next=["out", "in"], guards=guards), Step("out", next="in"), Step("in", final=True)]
    )


async def waits(data: dict[str, Any]) -> bool:
    return False


@pytest.mark.parametrize("to", ["out", None])
def test_a_guard_that_turns_out_to_be_async_is_refused(conversation: Any, record: Record, to: str | None) -> None:
    made = []

    def check(data: dict[str, Any]) -> Any:
        made.append(waits(data))
        return made[-1]

    run = conversation.workflow(guarded(check, to))
    run.start()
    error = refused(lambda: run.advance("out"), record, errors.InvalidWorkflow)
    assert error.problems == ["step 'a' has a guard 'weather' that is async; pass a plain function"]
    assert run.status().allowed == (["in"] if to else ["out", "in"])
    assert {inspect.getcoroutinestate(one) for one in made} == {inspect.CORO_CLOSED}


def test_a_guard_that_raises_allows_nothing_and_raises_where_it_is_judged(conversation: Any, record: Record) -> None:
    run = conversation.workflow(guarded(lambda data: data["absent"], "out"))
    run.start()
    assert run.status().allowed == ["in"]
    assert refused(run.start, record, errors.StepRefused).allowed == ["in"]
    image = record.image()
    with pytest.raises(KeyError) as caught:
        run.advance("out")
    assert caught.value.__notes__ == ["in the guard 'weather' of the step 'a', workflow 'trip'"]
    assert record.image() == image
    assert run.advance("in") == "in"


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


# Contention -----------------------------------------------------------------------------------------------------------


def test_a_change_that_others_keep_beating_ends_with_the_timeout(
    open_store: Any, record: Record, contract_url: str, prefix: str
) -> None:
    with Store.from_url(contract_url, key_prefix=prefix) as others:

        def beaten(data: dict[str, Any]) -> bool:
            others.conversation("conv_123").workflow(flow).collect(n=data.get("n", 0) + 1)
            return True

        flow = Workflow(
            "flow",
            [
                Step("a", collects={"n": int | None}, next="b", guards=[Guard("busy", beaten, "")]),
                Step("b", final=True),
            ],
        )
        run = open_store(timeout=0.3).conversation("conv_123").workflow(flow)
        with pytest.raises(errors.ConflictError, match="came first"):
            run.advance()
        assert run.status().step == "a"
