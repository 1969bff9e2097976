"""What a workflow's definition refuses, and what its fields take."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redstate import Guard, Step, Workflow, errors
from redstate.workflow.fields import field_type

END = Step("end", final=True)


class Board(enum.Enum):
    NONE = "none"
    HALF = "half"


class Stars(enum.IntEnum):
    ONE = 1
    TWO = 2


async def waits(data: dict[str, Any]) -> bool:
    return False


class Waits:
    async def __call__(self, data: dict[str, Any]) -> bool:
        return False


def problems(steps: Sequence[Any], name: Any = "flow", **options: Any) -> list[str]:
    with pytest.raises(errors.InvalidWorkflow) as caught:
        Workflow(name, steps, **options)
    assert caught.value.workflow and all(problem in str(caught.value) for problem in caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "it has no steps"),
        ([Step("a", next="end"), Step("lonely", next="end"), END], "step 'lonely' can never be reached"),
        ([Step("a", next=["b", "end"]), Step("b"), END], "step 'b' is a dead end"),
        ([Step("a", next=["b", "end"]), Step("b", next="b"), END], "from step 'b' no final step can be reached"),
        ([Step("a", next="nowhere"), END], "step 'a' leads to 'nowhere', which does not exist"),
        ([Step("a", next="end", time_limit=1, on_timeout="x"), END], "step 'a' leads to 'x', which does not exist"),
        ([Step("a", next="b"), Step("b", next="a")], "no step is final"),
        ([Step("a", next="end"), Step("a", next="end"), END], "two steps are called 'a'"),
        ([END], "the initial step 'end' is final"),
        ([Step("a", next=["end", "end"]), END], "step 'a' names the same step twice"),
        ([Step("a", next="end"), Step("end", next="a", final=True)], "step 'end' is final, so it can have no way on"),
        ([Step("a", next="end", time_limit=0), END], "step 'a' has a time limit that is no number"),
        ([Step("a", next="end", time_limit=math.nan), END], "step 'a' has a time limit that is no number"),
        ([Step("a", next="end", on_timeout="end"), END], "step 'a' has on_timeout but no time limit"),
        ([Step("a", collects={"to": str}, next="end"), END], "step 'a' collects 'to', which cannot name a field"),
        ([Step("a", collects={"x y": str}, next="end"), END], "step 'a' collects 'x y', which cannot name a field"),
        ([Step("a", collects={"x": object}, next="end"), END], "step 'a' collects 'x' as a type"),
        ([Step("a", collects={"x": dict[str, int]}, next="end"), END], "step 'a' collects 'x' as a type"),
        (
            [Step("a", collects={"x": int}, next="b"), Step("b", collects={"x": str}, next="end"), END],
            "'x' is collected as two different types",
        ),
        (
            [Step("a", next="end", guards=[Guard("g", lambda data: True, "no", to="b")]), END],
            "step 'a' guards the way to 'b', where it does not lead",
        ),
        ([Step("a", next="end", guards=[Guard("g", waits, "no")]), END], "step 'a' has a guard 'g' that is async"),
        ([Step("a", next="end", guards=[Guard("g", Waits(), "no")]), END], "step 'a' has a guard 'g' that is async"),
        ([Step("a", next="end", time_limit=1), END], "the initial step 'a' has a time limit but no on_timeout"),
        ([Step("a", next="end", guards=[Guard("g", 7, "no")]), END], "step 'a' has a guard 'g' that cannot be called"),
        ([Step("two words", next="end"), END], "a step's name is no Python name"),
        (["a"], "a step's name is no Python name"),
    ],
)
def test_a_definition_that_cannot_work_is_refused(steps: Sequence[Any], problem: str) -> None:
    assert any(found.startswith(problem) for found in problems(steps)), problems(steps)


def test_all_problems_are_told_at_once() -> None:
    found = problems([Step("a", next=["b", "nowhere"]), Step("b"), Step("c", next="end"), END], name="no name")
    assert len(found) == 6
    for part in ("its name", "nowhere", "'b' is a dead end", "'c' can never be reached", "'end' can never"):
        assert any(part in problem for problem in found)


def test_an_initial_step_can_be_named_and_must_exist() -> None:
    steps = [END, Step("a", next="end")]
    assert Workflow("flow", steps, initial="a").initial == "a"
    assert problems(steps, initial="b") == ["there is no initial step 'b'"]


def test_a_loop_is_no_problem_while_it_can_be_left() -> None:
    assert list(Workflow("flow", [Step("a", next=["a", "b"]), Step("b", next=["a", "end"]), END]).steps) == [
        "a",
        "b",
        "end",
    ]


def test_a_workflow_that_requires_a_login_requires_it_at_each_step() -> None:
    flow = Workflow("flow", [Step("a", next="end"), END], requires_login=True)
    assert all(step.requires_login for step in flow.steps.values())


# Values ---------------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, 0)


@pytest.mark.parametrize(
    ("annotation", "given_value", "stored"),
    [
        (str, "", ""),
        (str, "3", "3"),
        (int, 3, 3),
        (int, " 3 ", 3),
        (int, "-3", -3),
        (int, 3.0, 3),
        (float, "2.5", 2.5),
        (float, 2, 2.0),
        (float, Decimal("0.5"), 0.5),
        (bool, True, True),
        (bool, "No", False),
        (bool, "true", True),
        (Decimal, 19.99, Decimal("19.99")),
        (Decimal, "1.50", Decimal("1.50")),
        (Decimal, 3, Decimal(3)),
        (date, "2026-03-01", date(2026, 3, 1)),
        (date, date(2026, 3, 1), date(2026, 3, 1)),
        (datetime, "2026-03-01T12:00", NOON),
        (datetime, "2026-03-01 12:00:00Z", NOON.replace(tzinfo=UTC)),
        (datetime, NOON, NOON),
        (Literal["business", "leisure"], "Business", "business"),
        (Literal[1, 2], "2", 2),
        (Board, "half", Board.HALF),
        (Board, Board.NONE, Board.NONE),
        (Stars, 2, Stars.TWO),
        (Stars, "1", Stars.ONE),
        (int | None, None, None),
        (Optional[date], "2026-03-01", date(2026, 3, 1)),  # noqa: UP045 - the old spelling must work too
        (list[date], ["2026-03-01"], [date(2026, 3, 1)]),
        (list[int], ("1", 2), [1, 2]),
        (list[str] | None, [], []),
    ],
)
def test_a_value_is_converted_to_its_declared_type(annotation: Any, given_value: Any, stored: Any) -> None:
    kind = field_type(annotation)
    assert kind is not None
    converted = kind.convert(given_value, "x")
    assert converted == stored and type(converted) is type(stored)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (str, 3),
        (str, None),
        (int, True),
        (int, 2.5),
        (int, "2.5"),
        (int, "three"),
        (int, ""),
        (int, "٣"),
        (int, "1_000"),
        (int, math.inf),
        (float, "nan"),
        (float, math.inf),
        (float, 10**400),
        (float, True),
        (bool, 1),
        (bool, "perhaps"),
        (Decimal, "NaN"),
        (Decimal, Decimal("Infinity")),
        (Decimal, Decimal("sNaN")),
        (Decimal, False),
        (date, "2026-02-30"),
        (date, "01.03.2026"),
        (date, "20260301"),
        (date, NOON),
        (date, 1),
        (datetime, "2026-03-01"),
        (datetime, "2026-03-01T99:00"),
        (datetime, date(2026, 3, 1)),
        (Literal["a", "b"], "c"),
        (Literal[1, 2], True),
        (Literal[1, 2], 1.0),
        (Board, "full"),
        (Board, []),
        (int | None, "x"),
        (list[int], "12"),
        (list[int], {"a": 1}),
    ],
)
def test_a_value_of_another_type_is_refused_without_being_quoted(annotation: Any, value: Any) -> None:
    kind = field_type(annotation)
    assert kind is not None
    with pytest.raises(errors.InvalidValue) as caught:
        kind.convert(value, "field")
    assert (caught.value.path, caught.value.expected) == ("field", kind.words)
    assert caught.value.__context__ is None


def test_a_refusal_names_the_place_inside_a_list() -> None:
    kind = field_type(list[list[int]])
    assert kind is not None
    with pytest.raises(errors.InvalidValue) as caught:
        kind.convert([[1], [2, "x"]], "rooms")
    assert (caught.value.path, caught.value.expected) == ("rooms[1][1]", "a whole number")


@given(
    st.sampled_from([str, int, float, bool, Decimal, date, datetime, Literal["a"], Board, list[int], int | None]),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.decimals(), st.dates(), st.datetimes(),
        st.lists(st.integers() | st.text()), st.binary(), st.dictionaries(st.text(), st.integers()),
    ),
)  # fmt: skip
def test_whatever_comes_is_converted_or_refused_and_what_was_converted_stays(annotation: Any, value: Any) -> None:
    kind = field_type(annotation)
    assert kind is not None
    try:
        converted = kind.convert(value, "x")
    except errors.InvalidValue:
        return
    assert kind.convert(converted, "x") == converted


WRONG: Any = lambda data: True  # noqa: E731 - stands where no function belongs


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (None, "its steps are no list of Step objects but None"),
        ("ab", "its steps are no list of Step objects but a str"),
        ([Guard("g", WRONG, "no")], "a step's name"),
        ([Step("a", collects=["x"], next="end"), END], "step 'a' has collects= as a list"),  # type: ignore[arg-type]  # on purpose
        ([Step("a", guards=WRONG, next="end"), END], "step 'a' has guards= as a function"),
        ([Step("a", guards=[WRONG], next="end"), END], "step 'a' has a function among its guards"),
        ([Step("a", next=None), END], "step 'a' has a next= that is neither"),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_parts_of_another_kind_are_named(steps: Any, problem: str) -> None:
    assert problem in problems(steps)[0]
