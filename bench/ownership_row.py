"""What it costs a write to be its owner's, a tool call to be journalled, and a worker to own 10,000 conversations."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable

import redstate
from bench.measure import Line, Plan, Samples, figures, interleave, ratios, wall_times
from bench.servers import SERVER_CORE, pinned, running, url_of
from redstate._keys import call_pen
from redstate._scope import CallPen, Phase, Scope, current
from redstate.calls import ownership, toolcalls
from redstate.calls.toolcalls import CallName

WRITE = "sync cart add of an owner, one core"
CALL = "tool call of 5 cart adds, one core"
KEPT = "10,000 owned conversations, idle"
_OPS, _SLICES = 250, 30
_CHANGES, _CALLS = 5, 40
_OWNED, _SECONDS = 10_000, 10
_FAR_US = 4_000_000_000_000_000


def measure(plan: Plan) -> list[Line]:
    plan.say(WRITE)
    with running(plan.server) as server:
        with pinned(SERVER_CORE), redstate.Store.from_url(url_of(server)) as store:
            owned, free = _Owned(store, "owned"), store.conversation("free").cart
            writers = {"owned": lambda: owned.adds(_OPS), "free": lambda: _adds(free, _OPS)}
            for warm_up in writers.values():
                warm_up()
            samples = interleave(writers, plan.rounds * plan.scaled(_SLICES))
            plan.say(CALL)
            calls = _calls(owned, _Owned(store, "plain"), plan)
        plan.say(KEPT)
        share = _renewing(url_of(server), plan)
    by_fence, spread = ratios(wall_times(samples["owned"]), wall_times(samples["free"]))
    by_call, call_spread = ratios(wall_times(calls["journalled"]), wall_times(calls["plain"]))
    shown = [figures(samples[name]) for name in ("owned", "free")]
    told = [figures(calls[name]) for name in ("journalled", "plain")]
    return [
        Line(WRITE, "the same without an owner", by_fence, 1.10, False, *shown, spread=spread),
        Line(CALL, "the same adds alone", by_call, None, False, *told, spread=call_spread),
        Line(KEPT, "share of a core", share, 2.0, unit=" %"),
    ]


class _Owned:
    """A conversation with an owner, whose writes show its token."""

    def __init__(self, store: redstate.Store, conversation_id: str) -> None:
        conversation = store.conversation(conversation_id)
        self.id, self.key = conversation_id, conversation.key
        self.cart, self.record = conversation.cart, conversation._record
        self.token = self.record.ask(ownership.claim(self.key, 86_400_000, "bench")).token

    def adds(self, count: int) -> int:
        before = current.set(Scope(self.key, self.token))
        try:
            return _adds(self.cart, count)
        finally:
            current.reset(before)

    def call(self) -> None:
        """A tool call as an agent serves it: begun, its changes named after it, and finished."""
        call_id, attempt = uuid.uuid4().hex, uuid.uuid4().hex
        name = CallName(self.key, call_pen(self.id, call_id))
        self.record.ask(toolcalls.begin(name, 86_400_000, self.token, attempt, b'{"tool_name":"add","arguments":{}}'))
        pen = CallPen(self.key, name.pen, _FAR_US)
        before = current.set(Scope(self.key, self.token, pen))
        try:
            _adds(self.cart, _CHANGES)
        finally:
            current.reset(before)
        pen.phase = Phase.ANSWERED
        self.record.ask(toolcalls.finish(name, 86_400_000, self.token, attempt, b'["tool_call_response",{"result":1}]'))


def _adds(cart: redstate.Cart, count: int) -> int:
    add = cart.add
    for _ in range(count):
        add("sku", 1, "19.99")
    return count


def _calls(owned: _Owned, plain: _Owned, plan: Plan) -> Samples:
    def journalled() -> int:
        for _ in range(_CALLS):
            owned.call()
        return _CALLS

    def alone() -> int:
        for _ in range(_CALLS):
            _adds(plain.cart, _CHANGES)
        return _CALLS

    contenders: dict[str, Callable[[], int]] = {"journalled": journalled, "plain": alone}
    return interleave(contenders, plan.rounds * plan.scaled(_SLICES) // 3)


def _renewing(url: str, plan: Plan) -> float:
    """Percent of a core that a process takes to keep its conversations, beyond one that owns none."""
    seconds = max(3, plan.scaled(_SECONDS))
    took = {}
    for owned in (0, _OWNED):
        command = [sys.executable, "-m", "bench.owner_worker", url, str(owned), str(seconds)]
        took[owned] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return max(0.0, took[_OWNED]) / seconds * 100
