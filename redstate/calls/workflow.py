"""Calls on workflows: what was read, what may follow from it, and the change that is compared and set in one script."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from redstate import _keys, _scripts
from redstate._call import RESULT, UNDECIDED, Mutation, Read, Undecided, Word
from redstate._codec import Codec
from redstate.calls.image import Image
from redstate.calls.moments import moment
from redstate.calls.record import version_number
from redstate.errors import CorruptState, InvalidWorkflow, StepRefused
from redstate.workflow.definition import Guard, Step, Workflow

_READ = _scripts.load("workflow_read")
_CHANGE = _scripts.load("workflow_change")

_UNLIMITED = "9" * 16
_HEADER = re.compile(r"(\d{16})(\d{16})(\d{16})(\d{16})([rfc])(\w+)((?:;\d{16}[sabc]\w*>\w*)*)", re.ASCII)
_TRANSITION = re.compile(r";(\d{16})([sabc])(\w*)>(\w*)", re.ASCII)
_KINDS = {"s": "start", "a": "advance", "b": "back", "c": "cancel"}
# How far back() can go back; further steps are forgotten, oldest first.
_LONGEST_TRAIL = 50

OVERDUE = "the time for this step is over"
OVERTAKEN = "another worker moved it meanwhile"
_NOT_RUNNING = {"f": "it is finished", "c": "it was cancelled"}


@dataclass(frozen=True, slots=True)
class Transition:
    """One move of a workflow.

    Attributes:
        kind: "start", "advance", "back" or "cancel".
        from_step: None for a start.
        to_step: None for a cancellation.
        at: when, server time.
    """

    kind: str
    from_step: str | None
    to_step: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class WorkflowStatus:
    """Where a workflow stands, at one moment.

    Attributes:
        workflow: its name.
        step: the present step; the last one where it was cancelled.
        data: what was collected, typed.
        missing: what must be collected before the step can be left: the type in words, by field name.
        allowed: the steps that can follow.
        started_at, entered_at: when it began and when this step was entered, server time; None before any change.
        seconds_left: of the step's time limit, 0.0 when it is over; None without a limit.
        finished, cancelled: whether it ended, and how.
        cancel_reason: as given to ``cancel``.
        history: its last 50 transitions, oldest first.
    """

    workflow: str
    step: str
    data: dict[str, Any]
    missing: dict[str, str]
    allowed: list[str]
    started_at: datetime | None
    entered_at: datetime | None
    seconds_left: float | None
    finished: bool
    cancelled: bool
    cancel_reason: str | None
    history: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A workflow as it was read. ``revision`` is the version of its last change, "" where there was none."""

    workflow: Workflow
    now: int
    revision: str
    started: str
    entered: str
    deadline: str
    state: str
    name: str
    history: str
    data: dict[str, Any]
    trail: list[str]
    reason: str | None

    @property
    def step(self) -> Step | None:
        """The present step; None where the definition lacks it (an older one had it)."""
        return self.workflow.steps.get(self.name)

    @property
    def overdue(self) -> bool:
        return self.deadline < f"{self.now:016d}"

    def same_place(self, other: Seen) -> bool:
        """Whether no transition lies between the two."""
        return self.history == other.history


@dataclass(frozen=True, slots=True)
class Move:
    """A change that was found to be allowed.

    Attributes:
        verb: the letter of the handle's method, which tells repeats apart.
        state: "r" running, "f" finished, "c" cancelled.
        step: where it then stands.
        move: the entry of the history, without its time; "" for none.
        limit_us: time limit of the step that is entered, 0 for none; None where no step is entered.
        timed: whether the present step's time limit is to be judged.
        data, trail, reason: what is stored.
    """

    verb: str
    state: str
    step: str
    move: str
    limit_us: int | None
    timed: bool
    data: dict[str, Any]
    trail: list[str]
    reason: str | None = None


def read(codec: Codec, key: str, workflow: Workflow) -> Read[Seen]:
    """The workflow with the server's time; one that was not started stands at its initial step."""
    header_field, data_field = _keys.workflow_fields(workflow.name)

    def seen(now: int, header: bytes, data: bytes) -> Seen:
        if not header and not data:
            return Seen(workflow, now, "", "", "", _UNLIMITED, "r", workflow.initial, "", {}, [], None)
        parts = _HEADER.fullmatch(header.decode("ascii", "replace"))
        if parts is None:
            raise CorruptState(f"Field {header_field!r} of {key} is no workflow", key=key, field=header_field)
        stored = codec.decode(data, key=key, field=data_field)
        if type(stored) is not list or [type(part) for part in stored[:2]] != [dict, list] or len(stored) != 3:
            raise CorruptState(f"Field {data_field!r} of {key} is no workflow", key=key, field=data_field)
        revision, started, entered, deadline, state, step, history = parts.groups()
        return Seen(workflow, now, revision, started, entered, deadline, state, step, history, *stored)

    def answer(reply: bytes) -> tuple[int, Seen]:
        now, size, rest = reply[16:].split(b" ", 2)
        return version_number(reply[:16]), seen(int(now), rest[: int(size)], rest[int(size) :])

    def of_image(image: Image, now: float) -> Seen | Undecided:
        if not image.tells_time(now):
            return UNDECIDED
        header, data = (image.fields.get(name.encode(), b"") for name in (header_field, data_field))
        # No time is over before the server says so.
        return seen(image.server_time_at_least(now), header, data)

    return Read(key, (*_READ.evalsha, key, header_field, data_field), answer, of_image, header_field, _READ)


def change(codec: Codec, key: str, seen: Seen, move: Move) -> Mutation[str]:
    """Apply a move to what was seen, unless somebody was quicker. Returns the step."""
    name = seen.workflow.name
    stored = codec.encode([move.data, move.trail, move.reason], name, field=_keys.WORKFLOW_DATA + name)
    timing = ("t" if move.timed else "") + ("" if move.limit_us is None else str(move.limit_us))
    return _mutation(codec, key, name, move.verb + move.state + move.step, (seen.revision, move.move, timing, stored))


def repeat(codec: Codec, key: str, workflow: Workflow, verb: str) -> Mutation[str]:
    """Ask the journal for the first result of an operation; one that did not run changes nothing and is refused."""
    return _mutation(codec, key, workflow.name, verb, ("never", "", "", ""))


def _mutation(codec: Codec, key: str, name: str, target: str, words: tuple[Word, ...]) -> Mutation[str]:
    fields = _keys.workflow_fields(name)
    limits = codec.limits
    caps = (str(limits.max_fields), str(limits.max_conversation_bytes))
    args = (*fields, target, *words, *caps)
    return Mutation(_CHANGE, key, args, lambda answer: answer[RESULT].decode("ascii"), fields[0], limits.max_fields)


def start(seen: Seen, values: dict[str, Any]) -> Move:
    """From the beginning; also after the end, with nothing kept but the history."""
    workflow = seen.workflow
    if seen.revision and seen.state == "r":
        raise refused(seen, "it was started already")
    step = workflow.steps[workflow.initial]
    return Move("s", "r", step.name, f"s>{step.name}", _limit_us(step), False, values, [])


def collect(seen: Seen, values: dict[str, Any]) -> Move:
    """Store without moving."""
    step = _running(seen)
    # The first change begins the implicit stay at the initial step.
    limit_us = None if seen.revision else _limit_us(step)
    return Move("k", "r", seen.name, "", limit_us, True, {**seen.data, **values}, seen.trail)


def advance(seen: Seen, to: str | None, values: dict[str, Any]) -> Move:
    """To the next step, storing on the way."""
    step = _running(seen)
    data = {**seen.data, **values}
    if seen.overdue:
        # It stays over, so the script need not judge it again.
        if to is not None and to == step.on_timeout:
            return _entering(seen, to, data, timed=False)
        raise refused(seen, OVERDUE, data)
    missing = seen.workflow.missing(step, data)
    if to is not None and to not in step.ways:
        early = " until its time is over" if to == step.on_timeout else ""
        raise refused(seen, f"{to} cannot follow {step.name}{early}", data)
    if missing:
        raise refused(seen, f"{', '.join(missing)} must be collected first", data)
    if to is None:
        if len(step.ways) > 1:
            raise refused(seen, f"more than one step can follow {step.name}: name one", data)
        to = step.ways[0]
    for passed, guard in _judged(seen, to, data):
        try:
            holds = _holds(seen.workflow, passed, guard, data)
        except Exception as error:
            error.add_note(f"in the guard {guard.name!r} of the step {passed.name!r}, workflow {seen.workflow.name!r}")
            raise
        if not holds:
            raise refused(seen, guard.message, data)
    return _entering(seen, to, data, timed=True)


def back(seen: Seen) -> Move:
    """To the step before, keeping what was collected."""
    _check_running(seen)
    if not seen.trail:
        raise refused(seen, "there is no step to go back to")
    target = seen.trail[-1]
    step = seen.workflow.steps.get(target)
    limit_us = _limit_us(step) if step is not None else 0
    move = f"b{seen.name}>{target}"
    return Move("b", "r", target, move, limit_us, False, seen.data, seen.trail[:-1])


def cancel(seen: Seen, reason: str | None) -> Move:
    """End it where it stands."""
    _check_running(seen)
    return Move("c", "c", seen.name, f"c{seen.name}>", 0, False, seen.data, seen.trail, reason)


def needs_login(seen: Seen, move: Move) -> bool:
    """Whether the present step, or the one that is entered, is only for who is logged in."""
    if move.verb in "bc":
        return False
    names = {move.step} if move.verb == "s" else {seen.name, move.step}
    return any(seen.workflow.steps[name].requires_login for name in names)


def refused(seen: Seen, reason: str, data: Mapping[str, Any] | None = None) -> StepRefused:
    """The refusal of a change, with everything that says what can be done instead."""
    data = seen.data if data is None else data
    name, missing, allowed = seen.workflow.name, _missing(seen, data), _allowed(seen, data)
    return StepRefused(
        f"The workflow {name} at step {seen.name}: {reason}",
        next_step=_advice(seen, missing, allowed),
        workflow=name,
        step=seen.name,
        reason=reason,
        missing=missing,
        allowed=allowed,
    )


def overdue(seen: Seen) -> StepRefused:
    """The refusal of a change that the script found to come too late."""
    return refused(replace(seen, now=int(seen.deadline) + 1), OVERDUE)


def status(seen: Seen) -> WorkflowStatus:
    """What was read, as the caller sees it."""
    timed = seen.deadline != _UNLIMITED and seen.state == "r"
    return WorkflowStatus(
        workflow=seen.workflow.name,
        step=seen.name,
        data=seen.data,
        missing=_missing(seen, seen.data),
        allowed=_allowed(seen, seen.data),
        started_at=moment(int(seen.started)) if seen.revision else None,
        entered_at=moment(int(seen.entered)) if seen.revision else None,
        seconds_left=max(int(seen.deadline) - seen.now, 0) / 1e6 if timed else None,
        finished=seen.state == "f",
        cancelled=seen.state == "c",
        cancel_reason=seen.reason,
        history=tuple(
            Transition(_KINDS[kind], before or None, after or None, moment(int(at)))
            for at, kind, before, after in _TRANSITION.findall(seen.history)
        ),
    )


def _check_running(seen: Seen) -> None:
    if seen.state != "r":
        raise refused(seen, _NOT_RUNNING[seen.state])


def _running(seen: Seen) -> Step:
    """The present step of a workflow that goes on."""
    _check_running(seen)
    step = seen.step
    if step is None:
        raise refused(seen, "its definition has no such step any more")
    return step


def _entering(seen: Seen, to: str, data: dict[str, Any], *, timed: bool) -> Move:
    step = seen.workflow.steps[to]
    trail = [*seen.trail, seen.name][-_LONGEST_TRAIL:]
    return Move("a", "f" if step.final else "r", to, f"a{seen.name}>{to}", _limit_us(step), timed, data, trail)


def _judged(seen: Seen, to: str, data: Mapping[str, Any]) -> Iterable[tuple[Step, Guard]]:
    """The guards of the way on, and those of every way that was taken before: corrected data must fulfil them too."""
    # Each once: a loop can have passed a step many times.
    for name, target in dict.fromkeys(itertools.pairwise([*seen.trail, seen.name, to])):
        passed = seen.workflow.steps.get(name)
        # A definition that grew since may ask for more than was collected then.
        if passed is not None and not seen.workflow.missing(passed, data):
            yield from ((passed, guard) for guard in passed.guards if guard.to in (None, target))


def _holds(workflow: Workflow, step: Step, guard: Guard, data: Mapping[str, Any]) -> bool:
    """The guard's verdict.

    Raises:
        InvalidWorkflow: what it returned is to be awaited. Taken for a verdict it would always be true.
    """
    verdict = guard.check(dict(data))
    if not inspect.isawaitable(verdict):
        return bool(verdict)
    if inspect.iscoroutine(verdict):
        verdict.close()
    problem = f"step {step.name!r} has a guard {guard.name!r} that is async; pass a plain function"
    raise InvalidWorkflow(
        f"The workflow {workflow.name!r} cannot work: {problem}", workflow=workflow.name, problems=[problem]
    )


def _missing(seen: Seen, data: Mapping[str, Any]) -> dict[str, str]:
    step = seen.step
    return {} if step is None or seen.state != "r" else seen.workflow.missing(step, data)


def _allowed(seen: Seen, data: Mapping[str, Any]) -> list[str]:
    """The steps that can follow, without those whose own guards already refuse."""
    step = seen.step
    if step is None or seen.state != "r":
        return []
    if seen.overdue:
        return [step.on_timeout] if step.on_timeout else []
    if seen.workflow.missing(step, data):
        return list(step.ways)
    return [
        way for way in step.ways if all(_opens(seen, step, guard, data) for guard in step.guards if guard.to == way)
    ]


def _opens(seen: Seen, step: Step, guard: Guard, data: Mapping[str, Any]) -> bool:
    """Whether the guard holds, for telling what is allowed: one that raises allows nothing."""
    try:
        return _holds(seen.workflow, step, guard, data)
    except Exception:  # noqa: BLE001 - a guard is anybody's code; the advance that it judges raises it to the caller
        return False


def _advice(seen: Seen, missing: Mapping[str, str], allowed: Sequence[str]) -> str:
    """What can be done where a workflow stands, with the names of the steps that can follow."""
    if seen.state != "r":
        return "Start it anew if it is still wanted"
    ways = f"go to {' or '.join(allowed)}"
    if missing and not seen.overdue:
        return f"Collect what is missing, then {ways}"
    options = [ways] if allowed else []
    if seen.overdue or seen.step is None:
        options += [*(["go back"] if seen.trail else []), "cancel it"]
    else:
        options = ["correct what was collected", *options]
    advice = ", or ".join(options)
    return advice[0].upper() + advice[1:]


def _limit_us(step: Step) -> int:
    return 0 if step.time_limit is None else round(step.time_limit * 1_000_000)
