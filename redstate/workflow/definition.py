"""What a workflow is: steps, what each collects, where each leads. Declared once, checked when it is declared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redstate.errors import InvalidValue, InvalidWorkflow
from redstate.workflow.checks import problems_of
from redstate.workflow.fields import FieldType, field_type


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on the collected data that must hold for its step to be left forwards.

    It is judged again with each further advance, so that data corrected later must still fulfil it.

    Args:
        name: a few words that name it, such as "dates in order".
        check: takes the data collected so far (a dict of its own), returns whether it holds. It must not change
            anything outside, as it can run several times; what it raises reaches the caller. Optional fields can be
            absent.
        message: what to say when it does not hold.
        to: guards only the way to this step; every way on by default.
    """

    name: str
    check: Callable[[dict[str, Any]], Any]
    message: str
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow.

    Args:
        name: a Python name.
        collects: the type of each field that the step collects: str, int, float, bool, Decimal, date, datetime, a
            Literal, an Enum, a list of these. ``date | None`` makes a field optional.
        next: the step, or the steps, that can follow.
        final: whether the workflow is finished here.
        guards: what must hold for the step to be left forwards.
        time_limit: seconds, by the server's clock, from entering the step; after them only ``back``, ``cancel`` and the
            way to ``on_timeout`` remain.
        on_timeout: the step that can follow once the time is over; an initial step with a time limit must name one.
        requires_login: whether entering it, and changes in it, need somebody to be logged in. Going back and cancelling
            never do.
    """

    name: str
    collects: Mapping[str, Any] = field(default_factory=dict)
    next: str | Sequence[str] = ()
    final: bool = False
    guards: Sequence[Guard] = ()
    time_limit: float | None = None
    on_timeout: str | None = None
    requires_login: bool = False

    @property
    def ways(self) -> tuple[str, ...]:
        """The names of the steps that can follow, in the order in which they were declared."""
        return (self.next,) if isinstance(self.next, str) else tuple(self.next)


class Workflow:
    """A checked definition. Make one where it is imported from, and use it with ``conversation.workflow(definition)``.

    Args:
        name: a Python name; the same name is the same workflow of a conversation in every process.
        steps: in the order in which a reader should meet them.
        initial: the name of the step that it begins at; the first step by default.
        requires_login: whether every step requires it.

    Raises:
        InvalidWorkflow: it contradicts itself; ``problems`` lists everything that is wrong with it.

    Attributes:
        name, initial: as given.
        steps: the steps by name.
        fields: what all steps collect, by field name.
    """

    __slots__ = ("fields", "initial", "name", "steps")

    def __init__(
        self, name: str, steps: Sequence[Step], *, initial: str | None = None, requires_login: bool = False
    ) -> None:
        problems = problems_of(name, steps, initial)
        if problems:
            shown = name if isinstance(name, str) else type(name).__name__
            told = "; ".join(problems)
            raise InvalidWorkflow(f"The workflow {shown!r} cannot work: {told}", workflow=shown, problems=problems)
        self.name = name
        self.initial = steps[0].name if initial is None else initial
        self.steps = {step.name: _with_login(step) if requires_login else step for step in steps}
        self.fields: dict[str, FieldType] = {}
        for step in steps:
            for field_name, annotation in step.collects.items():
                kind = field_type(annotation)
                assert kind is not None  # or it were among the problems
                self.fields[field_name] = kind

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r}: {', '.join(self.steps)}>"

    def convert(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as their declared types.

        Raises:
            InvalidValue: a field that no step collects, or a value that its type does not take.
        """
        for name in values:
            if name not in self.fields:
                expected = f"one of: {', '.join(self.fields) or 'no field'}"
                raise InvalidValue(
                    f"The workflow {self.name} collects no {name!r}",
                    next_step=f"Pass {expected}",
                    path=name,
                    expected=expected,
                )
        return {name: self.fields[name].convert(value, name) for name, value in values.items()}

    def missing(self, step: Step, data: Mapping[str, Any]) -> dict[str, str]:
        """What must still be collected before the step can be left: the type in words, by field name."""
        return {
            name: self.fields[name].words for name in step.collects if self.fields[name].required and name not in data
        }


def _with_login(step: Step) -> Step:
    return Step(
        step.name, step.collects, step.next, step.final, step.guards, step.time_limit, step.on_timeout,
        requires_login=True,
    )  # fmt: skip
