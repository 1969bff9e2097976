"""What pydantic says against a value, as a path inside the value and words for what is expected there.

Nothing here quotes the value: of pydantic's messages only those are passed on that speak of the type alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from redstate._codec.pack import step_text

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails, ValidationError

_NOTHING: Any = object()
_SENTENCE = re.compile(r"([A-Z][a-z]+)(?: input)? should (be|have|match) (.+)", re.DOTALL)
_REQUIRED = "a value: the field is required"


def explain(error: ValidationError, value: Any, path: str = "") -> tuple[str, str]:
    """The place of the first problem, and what is expected there; of a union, what any of its members expects.

    Args:
        error: what pydantic raised.
        value: what it judged.
        path: what the value itself is called; "" for a whole state.
    """
    places = [
        (_place(problem, value, path), _expected(problem))
        for problem in error.errors(include_url=False, include_input=False)
    ]
    first = places[0][0]
    return first, " or ".join(dict.fromkeys(words for place, words in places if place == first))


def _place(problem: ErrorDetails, value: Any, path: str) -> str:
    """Pydantic names the members of a union among the steps; only those count that the value really has."""
    steps = problem["loc"]
    for number, step in enumerate(steps):
        inner = _inside(value, step)
        absent = problem["type"] == "missing" and number == len(steps) - 1
        if inner is not _NOTHING or absent:
            value = inner
            path += step_text(step) if path else str(step)
    return path


def _inside(value: Any, step: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(step, _NOTHING)
    if isinstance(value, (list, tuple)):
        return value[step] if type(step) is int and step < len(value) else _NOTHING
    return getattr(value, step, _NOTHING) if type(step) is str and step.isidentifier() else _NOTHING


def _expected(problem: ErrorDetails) -> str:
    if problem["type"] == "missing":
        return _REQUIRED
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return "no such key"
    if problem["type"] == "union_tag_invalid":
        return f"{problem['ctx']['discriminator']} to be one of {problem['ctx']['expected_tags']}"
    sentence = _SENTENCE.fullmatch(problem["msg"])
    if sentence is None or problem["type"] in ("value_error", "assertion_error"):
        return "a value that passes the validators of its class"
    subject, verb, rest = sentence.groups()
    if verb == "be":
        # What follows says why the value was not understood, at times with a piece of it.
        return rest.partition(", ")[0] if rest.startswith("a valid ") else rest
    noun = "value" if subject == "Input" else subject.lower()
    return f"a {noun} {'with' if verb == 'have' else 'that matches'} {rest.partition(' after validation')[0]}"
