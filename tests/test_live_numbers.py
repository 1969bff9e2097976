"""``+=`` on numbers of the state adds to what is there, and counts once; many writers lose and double nothing."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from redstate import AsyncStore, Store

WORKER = Path(__file__).with_name("live_worker.py")
PROCESSES, THREADS, TURNS = 2, 4, 6


@pytest.fixture
def states(url: str, prefix: str) -> Iterator[list[Any]]:
    """One state, as two stores hold it."""
    with Store.from_url(url, key_prefix=prefix) as one, Store.from_url(url, key_prefix=prefix) as other:
        yield [one.conversation("c").state, other.conversation("c").state]


@pytest.mark.parametrize(
    ("start", "ours", "theirs"),
    [(1, 2, 3), (1, 0.5, 2), (0.5, 1, 0.25), (Decimal("1.10"), Decimal("0.05"), Decimal("2.00")), (Decimal(1), 1, 1),
     (2**63 - 1, 1, 1), (2**64, 2**64, 1), (1, 2**70, 1), (5, True, 1)],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("path", [(), ("d",), ("d", "l", 1)], ids=["root", "dict", "list"])
def test_what_others_added_meanwhile_stays(states: list[Any], path: Any, start: Any, ours: Any, theirs: Any) -> None:
    states[0].update(n=start, d={"n": start, "l": [[], {"n": start}]})

    def at(state: Any) -> Any:
        for step in path:
            state = state[step]
        return state

    number = at(states[0])["n"]
    number += ours
    at(states[1])["n"] += theirs
    at(states[0])["n"] = number
    found, expected = at(states[1]).get("n"), start + theirs + ours
    assert (found, type(found)) == (expected, type(expected))


def test_subtraction_and_the_end_of_a_list(states: list[Any]) -> None:
    states[0]["l"] = [10, 20]
    states[0]["l"][-1] -= 5
    number = states[0]["l"][-1]
    number -= 5
    states[1]["l"].append(100)
    states[0]["l"][-1 - 1] = number
    assert states[1]["l"] == [10, 10, 100]


@pytest.mark.parametrize("nested", [False, True], ids=["root", "nested"])
def test_what_was_added_counts_once(states: list[Any], nested: bool) -> None:
    states[0].update(n=0, d={"n": 0})
    holder = states[0]["d"] if nested else states[0]
    number = holder["n"]
    number += 1
    holder["n"] = number
    holder["n"] = number
    number += 1
    holder["n"] = number
    assert holder["n"] == 2
    saved = holder["n"]
    holder["n"] = 50
    holder["n"] = saved  # put back, not added to
    assert holder["n"] == 2


def test_several_additions_make_the_sum_that_the_caller_saw(states: list[Any]) -> None:
    state, number = states[0], 0.1
    state["f"] = 0.1
    live = state["f"]
    for by in (0.1, 0.2, 0.3, 1e16, -1e16):
        live += by
        number += by
    state["f"] = live
    assert states[1]["f"] == number


def test_other_arithmetic_overwrites_as_with_any_dict(states: list[Any]) -> None:
    state = states[0]
    state.update(n=7, m=Decimal("1.5"), flag=True, s="a")
    state["n"] *= 2
    state["n"] = state["n"] + 1
    state["m"] /= 2
    state["flag"] += 1
    state["s"] += "b"
    state["other"] = state["n"]
    number = state["n"]
    number += 1
    state["sum"] = number
    assert state == {"n": 15, "m": Decimal("0.75"), "flag": 2, "s": "ab", "other": 15, "sum": 16}
    with pytest.raises(TypeError):
        state["n"] += "text"


@pytest.mark.parametrize("value", [7, -0.1, Decimal("1.50"), 2**70], ids=repr)
def test_a_number_that_was_read_is_one_like_any_other(states: list[Any], value: Any) -> None:
    states[0].update(n=value, d={"n": value})
    for number in (states[0]["n"], states[0]["d"]["n"]):
        assert number == value and hash(number) == hash(value) and repr(number) == repr(value)
        assert isinstance(number, type(value)) and f"{number}" == f"{value}" and number + 1 == value + 1
        again = pickle.loads(pickle.dumps(number))
        assert (again, type(again)) == (value, type(value))
        assert json.dumps([number], default=str) == json.dumps([value], default=str)
        assert {number: 1}[value] == 1
    assert type(states[0].get("n")) is type(states[0].copy()["n"]) is type(value)


def start_values() -> dict[str, Any]:
    turns = PROCESSES * THREADS * TURNS
    nested = {"n": 0, "deep": {"m": Decimal(0), "l": []}, "keys": {}, "first": {}, "stock": [*range(turns)]}
    return {"appended": [], "n": 0, "f": 0.0, "m": Decimal(0), "nested": nested, "rows": [{"n": 0}, {"n": 0}],
            "stock": [*range(turns, 2 * turns)], "purse": turns, "safe": 0}  # fmt: skip


@pytest.mark.timeout(120)
def test_threads_of_several_processes_lose_nothing_and_double_nothing(states: list[Any], url: str, prefix: str) -> None:
    states[0].update(start_values())
    shared = [url, prefix]
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), *shared, str(number), str(THREADS), str(TURNS)],
            stdout=subprocess.PIPE, text=True,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    printed = [worker.communicate(timeout=100)[0].split("\n") for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * PROCESSES
    lines = [line for one in printed for line in one if line]

    names = [f"{p}-{t}-{turn}" for p in range(PROCESSES) for t in range(THREADS) for turn in range(TURNS)]
    state, turns = states[1].copy(), len(names)
    coins = [name for name in names if not name.endswith("0")]
    blind = [name for name in names if name.endswith("0")]
    expected = sorted([*names, *(f"coin {name}" for name in coins), *(f"blind {name}" for name in blind)])
    assert sorted(state["appended"]) == expected
    assert (state["n"], state["f"], state["m"]) == (turns, turns * 0.5, turns * Decimal("0.01"))
    assert (state["purse"], state["safe"]) == (turns - len(coins), len(coins))
    nested = state["nested"]
    assert (nested["n"], nested["deep"]["m"]) == (turns, turns * Decimal("0.01"))
    assert state["rows"] == [{"n": turns}, {"n": 0}]
    assert sorted(nested["deep"]["l"]) == sorted(nested["keys"]) == sorted(names)
    items = sorted(int(line.split()[1]) for line in lines if line.startswith("item"))
    assert items == [*range(2 * turns)]
    assert state["stock"] == nested["stock"] == []
    for turn in range(TURNS):
        winners = [line for line in lines if line.startswith("root") and line.endswith(f"-{turn}")]
        assert winners == [f"root {state[f'first-{turn}']}"]
    assert sorted(line for line in lines if line.startswith("nested")) == sorted(
        f"nested {nested['first'][str(turn)]}" for turn in range(TURNS)
    )


def test_tasks_lose_nothing_and_double_nothing(states: list[Any], url: str, prefix: str) -> None:
    tasks, turns = 8, 5
    states[0].update(l=[], d={"l": [], "n": 0, "keys": {}}, stock=[*range(tasks * turns)], rows=[{"l": []}])

    async def work(state: Any, task: int) -> list[int]:
        taken = []
        for turn in range(turns):
            name = f"{task}-{turn}"
            await state["l"].append(name)
            await state["d"]["l"].append(name)
            await state["d"]["keys"].set(name, True)
            await state["rows"][0]["l"].insert(0, name)
            await state.edit("n", lambda now: now + 1, 0)
            taken.append(await state["stock"].pop())
        return taken

    async def race() -> list[list[int]]:
        async with AsyncStore.from_url(url, key_prefix=prefix, timeout=60.0) as store:
            return await asyncio.gather(*(work(store.conversation("c").state, task) for task in range(tasks)))

    taken = sorted(item for items in asyncio.run(race()) for item in items)
    names = sorted(f"{task}-{turn}" for task in range(tasks) for turn in range(turns))
    state = states[1].copy()
    assert taken == [*range(tasks * turns)] and state["stock"] == []
    assert sorted(state["l"]) == sorted(state["d"]["l"]) == sorted(state["d"]["keys"]) == names
    assert sorted(state["rows"][0]["l"]) == names
    assert state["n"] == tasks * turns
