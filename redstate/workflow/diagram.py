"""A workflow as Mermaid text, and the words that all its pictures share."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from redstate.workflow.definition import Step, Workflow

CANCELLED_WORDS = "every step that is not final can be cancelled"

# Names that Mermaid reads as its own words, in capitals too.
_TAKEN = frozenset(
    {"accdescr", "acctitle", "as", "cancelled", "choice", "class", "classdef", "click", "default", "direction", "end"}
    | {"fork", "hide", "href", "join", "linkstyle", "note", "scale", "state", "statediagram", "style", "title"}
)


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one step to another; ``timeout`` for the one that opens when the time is over."""

    source: str
    target: str
    label: str
    timeout: bool


def arrows(workflow: Workflow) -> list[Arrow]:
    """Every way of a workflow, in the order in which it was declared."""
    found = []
    for step in workflow.steps.values():
        for way in step.ways:
            conditions = [guard.name for guard in step.guards if guard.to == way]
            found.append(Arrow(step.name, way, f"if {' and '.join(conditions)}" if conditions else "", timeout=False))
        if step.on_timeout is not None and step.time_limit is not None:
            found.append(Arrow(step.name, step.on_timeout, f"after {duration(step.time_limit)}", timeout=True))
    return found


def notes(step: Step) -> list[str]:
    """What a step demands apart from its fields, a line each."""
    lines = [f"must hold: {guard.name}" for guard in step.guards if guard.to is None]
    if step.time_limit is not None:
        lines.append(f"within {duration(step.time_limit)}")
    if step.requires_login:
        lines.append("login required")
    return lines


def duration(seconds: float) -> str:
    """Seconds in the largest unit that says them exactly: "15 min"."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def mermaid(workflow: Workflow) -> str:
    """The workflow as a Mermaid state diagram, which GitHub and many editors draw."""
    lines = ["---", f"title: {workflow.name}", "---", "stateDiagram-v2"]
    ids = _ids(workflow)
    for step in workflow.steps.values():
        name = ids[step.name]
        lines.append(f'    state "{step.name}" as {name}')
        described = [f"{field}, {workflow.fields[field].short}" for field in step.collects]
        lines += [f"    {name} : {_plain(line)}" for line in (*described, *notes(step))]
    lines.append(f"    [*] --> {ids[workflow.initial]}")
    for arrow in arrows(workflow):
        label = f" : {_plain(arrow.label)}" if arrow.label else ""
        lines.append(f"    {ids[arrow.source]} --> {ids[arrow.target]}{label}")
    lines += [f"    {ids[step.name]} --> [*]" for step in workflow.steps.values() if step.final]
    lines += [
        f"    cancelled : {CANCELLED_WORDS}",
        "    classDef cancelled stroke-dasharray:4",
        "    class cancelled cancelled",
    ]
    return "\n".join(lines) + "\n"


def _ids(workflow: Workflow) -> dict[str, str]:
    """The id of each step, which is its name where Mermaid does not read that as its own word."""
    ids = {name: name for name in workflow.steps if name.lower() not in _TAKEN}
    for name in workflow.steps:
        if name not in ids:
            others = (f"{name}_{number or ''}" for number in itertools.count())
            ids[name] = next(one for one in others if one not in ids.values())
    return ids


def _plain(text: str) -> str:
    """Text without what ends a description in Mermaid."""
    return " ".join(text.translate({ord(":"): ",", ord(";"): ",", ord("#"): " "}).split())
