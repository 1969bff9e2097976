"""Live values while replies are lost, scripts are forgotten and the server goes away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import servers

from redstate import Store, errors
from redstate.embedded import EmbeddedServer
from redstate.testing.proxy import FaultProxy

WORKER = Path(__file__).with_name("live_worker.py")


@pytest.fixture
def conversation(proxy: FaultProxy, prefix: str) -> Iterator[Any]:
    with Store.from_url(proxy.url, key_prefix=prefix, timeout=20.0) as store:
        conversation = store.conversation("c")
        conversation.state.update(l=[1], d={"l": [1], "n": 0, "k": 1}, n=0, m=Decimal("0.5"))
        yield conversation


def block(conversation: Any) -> None:
    with conversation.transaction():
        conversation.state["n"] += 1
        conversation.state["d"]["l"].append(2)
        del conversation.state["m"]


CHANGES: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "append": (lambda one: one.state["l"].append(2), {"l": [1, 2]}),
    "nested append": (lambda one: one.state["d"]["l"].append(2), {"d": {"l": [1, 2], "n": 0, "k": 1}}),
    "nested pop": (lambda one: one.state["d"].pop("k"), {"d": {"l": [1], "n": 0}}),
    "whole number": (lambda one: one.state.__setitem__("n", one.state["n"].__iadd__(1)), {"n": 1}),
    "nested number": (lambda one: one.state["d"].__setitem__("n", one.state["d"]["n"].__iadd__(1)),
                      {"d": {"l": [1], "n": 1, "k": 1}}),
    "decimal": (lambda one: one.state.__setitem__("m", one.state["m"].__iadd__(1)), {"m": Decimal("1.5")}),
    "popitem": (lambda one: one.state.popitem(), {"m": None}),
    "clear": (lambda one: one.state.clear(), {"l": None, "d": None, "n": None, "m": None}),
    "transaction": (block, {"n": 1, "d": {"l": [1, 2], "n": 0, "k": 1}, "m": None}),
}  # fmt: skip


def expected(changed: dict[str, Any]) -> dict[str, Any]:
    state = {"l": [1], "d": {"l": [1], "n": 0, "k": 1}, "n": 0, "m": Decimal("0.5"), **changed}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize("way", CHANGES)
@pytest.mark.parametrize("lost", ["reply", "replies", "request"])
def test_a_change_runs_once_whatever_is_lost(proxy: FaultProxy, conversation: Any, way: str, lost: str) -> None:
    change, changed = CHANGES[way]
    if lost == "request":
        proxy.swallow_requests(1, command="EVALSHA")
    else:
        proxy.swallow_replies(1 if lost == "reply" else 2, command="EVALSHA")
    before = conversation.version()
    change(conversation)
    assert conversation.state.copy() == expected(changed)
    assert conversation.version() > before


@pytest.mark.parametrize("way", ["nested append", "transaction"])
def test_a_server_that_forgot_the_scripts_gets_them_again(own_server: Any, prefix: str, way: str) -> None:
    with Store.from_url(own_server.url, key_prefix=prefix, timeout=20.0) as store:
        conversation = store.conversation("c")
        conversation.state.update(l=[1], d={"l": [1], "n": 0, "k": 1}, n=0, m=Decimal("0.5"))
        own_server.command("SCRIPT", "FLUSH")
        change, changed = CHANGES[way]
        change(conversation)
        assert conversation.state.copy() == expected(changed)


def test_an_unknown_outcome_leaves_a_live_value_that_learns_the_truth(proxy: FaultProxy, prefix: str) -> None:
    with Store.from_url(proxy.url, key_prefix=prefix, timeout=20.0) as store:
        patient, hurried = store.conversation("c"), store.conversation("c", timeout=0.3)
        patient.state["d"] = {"l": [1]}
        kept = hurried.state["d"]["l"]
        proxy.blackhole()
        with pytest.raises(errors.OutcomeUnknown):
            kept.append(2)
        with pytest.raises((errors.CallTimeout, errors.StoreError)):
            len(kept)
        proxy.heal()
        patient.version()
        assert kept == patient.state["d"]["l"]
        kept.append("after")
        assert patient.state["d"]["l"] == kept and kept[-1] == "after" and kept.count(2) <= 1


def persistent(port: int, folder: Path) -> EmbeddedServer:
    """A server on a fixed port that writes everything to disk before it answers."""
    config = {"port": str(port), "dir": str(folder), "appendonly": "yes", "appendfsync": "always"}
    return EmbeddedServer.start(config=config)


def test_live_changes_of_another_process_go_on_over_a_restart(prefix: str, tmp_path: Path) -> None:
    turns, port = 40, servers.free_port()
    url = f"redis://127.0.0.1:{port}"
    server = persistent(port, tmp_path)
    try:
        with Store.from_url(url, key_prefix=prefix) as store:
            state = store.conversation("c").state
            state.update(turns=[], nested={"n": 0})
            worker = subprocess.Popen(
                [sys.executable, str(WORKER), url, prefix, str(turns)], stdout=subprocess.PIPE, text=True
            )
            assert worker.stdout is not None
            for number, line in enumerate(worker.stdout):
                assert int(line) == number
                if number == turns // 2:
                    server.close()
                    server = persistent(port, tmp_path)
            assert worker.wait(60) == 0
            assert state == {"turns": [*range(turns)], "nested": {"n": turns}}
    finally:
        server.close()


def test_an_unknown_outcome_of_a_nested_change_can_be_told_and_is_final(url: str, prefix: str) -> None:
    with Store.from_url(url, key_prefix=prefix) as store:
        conversation = store.conversation("c")
        conversation.state.increment("n", op_id="ran")
        before = conversation.version()
        assert conversation.applied("ran") is True
        assert conversation.applied("never") is conversation.applied("never") is False
        assert conversation.version() == before
        with pytest.raises(errors.OperationMismatch):
            conversation.state.increment("n", op_id="never")
        assert conversation.state == {"n": 1}
        assert store.conversation("absent").applied("never") is False
        assert not store.conversation("absent").exists()
