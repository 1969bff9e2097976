"""What can be wrong with a definition: everything is found at once, so that it can be mended at once."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from redstate.workflow.fields import field_type

if TYPE_CHECKING:
    from redstate.workflow.definition import Step

LONGEST_TIME_LIMIT = 315_360_000.0
"""Ten years, in seconds."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# The keyword arguments of the handle's methods: a field of that name could not be told from them.
_RESERVED = frozenset({"self", "to", "op_id", "expected_version"})


def problems_of(name: object, steps: Sequence[Step], initial: str | None) -> list[str]:
    """Everything that keeps a definition from working, each in words; empty where nothing does."""
    problems = [] if _is_name(name) else ["its name is no Python name of at most 64 characters"]
    if isinstance(steps, (str, bytes)) or not isinstance(steps, Sequence):
        return [*problems, f"its steps are no list of Step objects but {_kind(steps)}"]
    bad = [step for step in steps if not (_is_name(getattr(step, "name", None)) and hasattr(step, "collects"))]
    if bad or not steps:
        return [*problems, "a step's name is no Python name of at most 64 characters" if bad else "it has no steps"]
    misshapen = [f"step {step.name!r} {problem}" for step in steps for problem in _shape(step)]
    if misshapen:
        return [*problems, *misshapen]  # what else is wrong could not be told
    known: dict[str, Step] = {}
    for step in steps:
        if step.name in known:
            problems.append(f"two steps are called {step.name!r}")
        known[step.name] = step
    for step in known.values():
        problems += [f"step {step.name!r} {problem}" for problem in _alone(step, known)]
    problems.extend(_clashes(known.values()))
    start = steps[0].name if initial is None else initial
    if start not in known:
        return [*problems, f"there is no initial step {start!r}"]
    if known[start].final:
        problems.append(f"the initial step {start!r} is final")
    elif known[start].time_limit is not None and known[start].on_timeout is None:
        # There is nothing to go back to: once overdue, it could only be cancelled.
        problems.append(f"the initial step {start!r} has a time limit but no on_timeout")
    return [*problems, *_paths(known, start)]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _kind(thing: object) -> str:
    return "None" if thing is None else f"a {type(thing).__name__}"


def _is_list(thing: object) -> bool:
    return isinstance(thing, Sequence) and not isinstance(thing, (str, bytes))


def _shape(step: Step) -> Iterable[str]:
    """Which parts of a step are of another kind than declared."""
    if not isinstance(step.collects, Mapping):
        yield f"has collects= as {_kind(step.collects)}; pass a dict of types by field name"
    if not isinstance(step.next, str) and not (_is_list(step.next) and all(isinstance(way, str) for way in step.next)):
        yield "has a next= that is neither a step's name nor a list of such"
    if not _is_list(step.guards):
        yield f"has guards= as {_kind(step.guards)}; pass a list of Guard objects"
        return
    for guard in step.guards:
        if not all(hasattr(guard, part) for part in ("name", "check", "message", "to")):
            yield f"has {_kind(guard)} among its guards; pass Guard(name, check, message)"


def _alone(step: Step, known: dict[str, Step]) -> Iterable[str]:
    """What is wrong with one step."""
    targets = [*step.ways, *([] if step.on_timeout is None else [step.on_timeout])]
    yield from (f"leads to {target!r}, which does not exist" for target in targets if target not in known)
    if len(set(step.ways)) < len(step.ways):
        yield "names the same step twice as a way on"
    if step.final and (targets or step.collects or step.guards or step.time_limit is not None):
        yield "is final, so it can have no way on, fields, guards or time limit"
    if not step.final and not step.ways:
        yield "is a dead end: it is not final and nothing can follow"
    limit = step.time_limit
    if limit is None:
        if step.on_timeout is not None:
            yield "has on_timeout but no time limit"
    elif isinstance(limit, bool) or not isinstance(limit, (int, float)) or not _in_range(limit):
        yield "has a time limit that is no number of seconds from 0.001 to 315,360,000 (ten years)"
    yield from _guards(step)
    for name, annotation in step.collects.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
            yield f"collects {name!r}, which cannot name a field"
        if field_type(annotation) is None:
            yield f"collects {name!r} as a type that a workflow does not know"


def _guards(step: Step) -> Iterable[str]:
    """What is wrong with the guards of a step."""
    for guard in step.guards:
        if guard.to is not None and guard.to not in step.ways:
            yield f"guards the way to {guard.to!r}, where it does not lead"
        if not callable(guard.check):
            yield f"has a guard {guard.name!r} that cannot be called"
        elif inspect.iscoroutinefunction(guard.check) or inspect.iscoroutinefunction(type(guard.check).__call__):
            # What it returns is always true: the guard would never refuse.
            yield f"has a guard {guard.name!r} that is async; pass a plain function"


def _in_range(seconds: float) -> bool:
    return math.isfinite(seconds) and 0.001 <= seconds <= LONGEST_TIME_LIMIT


def _clashes(steps: Iterable[Step]) -> Iterable[str]:
    """Fields that two steps collect as different types."""
    declared: dict[str, object] = {}
    for step in steps:
        for name, annotation in step.collects.items():
            if declared.setdefault(name, annotation) != annotation:
                yield f"{name!r} is collected as two different types"


def _paths(known: dict[str, Step], start: str) -> Iterable[str]:
    """Steps that are never reached, and steps from which the workflow never ends."""
    leads = {
        name: {way for way in (*step.ways, step.on_timeout) if way in known and way is not None}
        for name, step in known.items()
    }
    reached = _closure({start}, leads)
    yield from (f"step {name!r} can never be reached" for name in known if name not in reached)
    finals = {name for name, step in known.items() if step.final}
    if not finals:
        yield "no step is final"
        return
    comes: dict[str, set[str]] = {name: {other for other in known if name in leads[other]} for name in known}
    ending = _closure(finals, comes)
    for name, step in known.items():
        if name not in ending and step.ways:
            yield f"from step {name!r} no final step can be reached"


def _closure(begin: set[str], leads: dict[str, set[str]]) -> set[str]:
    found, waiting = set(begin), list(begin)
    while waiting:
        new = leads[waiting.pop()] - found
        found |= new
        waiting += new
    return found
