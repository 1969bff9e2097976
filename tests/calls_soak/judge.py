"""Says from the server alone, past the proxy, what became of every call: each effect once, where it belongs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from calls_soak.ledger import Call
from calls_soak.plan import CUSTOMER_EFFECTS, FAILING, OWN_EFFECTS
from calls_soak.world import World

from redstate import Conversation, Store
from redstate.testing.platform_calls import Response

_MOST_TOLD, _MOST_LINES = 5, 8

DUPLICATE, LOST, MISPLACED = "effects made twice", "effects lost", "effects misplaced"
UNANSWERED, WRONG, UNEQUAL = "calls unanswered", "answers wrong", "calls with unequal answers"
COUNTERS, MISROUTED = "counters wrong", "answers misrouted"
KINDS = (DUPLICATE, LOST, MISPLACED, UNANSWERED, WRONG, UNEQUAL, COUNTERS, MISROUTED)


@dataclass
class Verdict:
    """What is wrong, by kind; each with the call's mark, or the record, first."""

    violations: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, kind: str, mark: str, what: str) -> None:
        """One more violation."""
        self.violations[kind].append((mark, what))

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {kind: len(found) for kind, found in self.violations.items()}

    def told(self, world: World) -> str:
        """The first violations in words, with what the workers logged of their calls and conversations; "" without."""
        lines = []
        for kind, found in self.violations.items():
            if found:
                lines.append(f"{len(found)} {kind}:")
            for mark, what in found[:_MOST_TOLD]:
                lines += [f"  {mark}: {what}", *(f"    log: {line}" for line in _logged(world, mark))]
        return "\n".join(lines)


def _logged(world: World, mark: str) -> list[str]:
    """What the workers logged of a call, and of the comings and goings of its conversation."""
    conversation_id, _, call_id = mark.partition(".")
    lines = [line for line in world.logged(f"'{conversation_id}'") if '"event"' in line or f"'{call_id}'" in line]
    return lines[:_MOST_LINES]


def judge(url: str, prefix: str, calls: list[Call], responses: Callable[[str], Iterable[Response]]) -> Verdict:
    """Judge all calls of a run.

    Args:
        url, prefix: where they have left their effects; the server itself, and its workers have stopped.
        calls: all of them.
        responses: every answer to the calls of one id.
    """
    verdict = Verdict()
    with Store.from_url(url, key_prefix=prefix, max_staleness=0) as store:
        for conversation_id, of_conversation in _by(calls, "conversation_id").items():
            _judge_conversation(verdict, store.conversation(conversation_id), of_conversation)
        for customer_id, of_customer in _by(calls, "customer").items():
            _judge_customer(verdict, customer_id, store.customer(customer_id).all(), of_customer)
    for call_id, of_id in _by(calls, "call_id").items():
        answers = defaultdict(list)
        for response in responses(call_id):
            answers[response.conversation_id].append(response)
        for call in of_id:
            _judge_answers(verdict, call, answers.pop(call.conversation_id, []))
        for conversation_id, stray in answers.items():
            verdict.add(MISROUTED, f"{conversation_id}.{call_id}", f"nobody asked: {stray[:2]}")
    return verdict


def _judge_conversation(verdict: Verdict, conversation: Conversation, calls: list[Call]) -> None:
    state = conversation.state.all()
    found = _effects(state)
    found.update({sku: line.quantity for sku, line in conversation.cart.lines().items()})
    _compare(verdict, conversation.id, _wanted(calls, OWN_EFFECTS), found)
    _count(verdict, conversation.id, state, "stops", 3 * sum(call.tool == "trip" for call in calls))


def _judge_customer(verdict: Verdict, customer_id: str, profile: dict[str, Any], calls: list[Call]) -> None:
    _compare(verdict, customer_id, _wanted(calls, CUSTOMER_EFFECTS), _effects(profile))
    for counter, tool in (("points", "points"), ("trips", "trip")):
        _count(verdict, customer_id, profile, counter, sum(call.tool == tool for call in calls))


def _count(verdict: Verdict, record: str, state: Mapping[str, Any], counter: str, right: int) -> None:
    if state.get(counter, 0) != right:
        verdict.add(COUNTERS, record, f"{counter} is {state.get(counter)}, not {right}")


def _by(calls: list[Call], attribute: str) -> dict[str, list[Call]]:
    groups: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        groups[getattr(call, attribute)].append(call)
    return groups


def _effects(value: Any) -> Counter[str]:
    """Every effect in a record's state, however deep; effects are named by two words, all else by one."""
    found: Counter[str] = Counter()
    if isinstance(value, Mapping):
        for name, one in value.items():
            if " " in name:
                found[name] += one
            else:
                found += _effects(one)
    elif isinstance(value, list):
        found.update(value)
    return found


def _wanted(calls: Iterable[Call], effects: Mapping[str, tuple[str, ...]]) -> set[str]:
    return {f"{effect} {call.mark}" for call in calls for effect in effects.get(call.tool, ())}


def _compare(verdict: Verdict, record: str, wanted: set[str], found: Counter[str]) -> None:
    for effect, times in found.items():
        mark = effect.split(" ")[1]
        if effect not in wanted:
            verdict.add(MISPLACED, mark, f"{effect!r} is in {record}, {times} times")
        elif times != 1:
            verdict.add(DUPLICATE, mark, f"{effect!r} was made {times} times in {record}")
    for effect in wanted - found.keys():
        verdict.add(LOST, effect.split(" ")[1], f"{effect!r} is not in {record}")


def _judge_answers(verdict: Verdict, call: Call, answers: list[Response]) -> None:
    if not answers or (call.seconds is None and call.tool != FAILING):
        verdict.add(UNANSWERED, call.mark, f"{call.tool}: {call.failure}; answers: {answers[:3]}")
        return
    # Every run answers something of its own, so equal answers are answers of one run.
    if len({repr((one.error, one.result)) for one in answers}) > 1:
        verdict.add(UNEQUAL, call.mark, f"{call.tool}: {answers[:3]}")
    for one in answers:
        if not _is_right(call, one):
            verdict.add(WRONG, call.mark, f"{call.tool}: {one}")
            return


def _is_right(call: Call, answer: Response) -> bool:
    own = (call.mark, call.conversation_id, call.call_id)
    if call.tool == FAILING:
        return answer.error is not None and tuple(answer.error.split(" ")[:3]) == own
    result = answer.result if isinstance(answer.result, dict) else {}
    return answer.error is None and tuple(result.get(name) for name in ("mark", "conversation_id", "call_id")) == own
