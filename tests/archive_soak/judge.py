"""Says from the server and the database alone, and the talkers' ledgers, what became of every conversation."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from archive_soak.ledger import lines
from archive_soak.plan import PREFIX

from redstate import Store, _keys
from redstate.archive import SqlArchive
from redstate.archive.conversation import EndedConversation

LOST, TWICE, STALE, WRONG = "conversations lost", "lives too many", "versions wrong", "states wrong"
ROSE, MERGES, LEFT = "late writes accepted", "merges not exactly once", "keys left over"
UNKNOWN, UNFOUND = "rows of nobody", "returns refused"
KINDS = (LOST, TWICE, STALE, WRONG, ROSE, MERGES, LEFT, UNKNOWN, UNFOUND)
_MOST_TOLD = 5
# A process that could not ask the archive does not ask again for so many seconds, and begins other lives.
_BLIND_FOR = 11.0


@dataclass
class Spoken:
    """What the ledgers say of a conversation.

    Attributes:
        acked, version: the last acknowledged change's number, and the version that it, or a return, made.
        tried: the number of the last change that was attempted.
        added: how many changes were acknowledged.
        exact: whether nothing is open after the last acknowledged step.
        ended: whether an end was acknowledged.
        late: verdicts of late writes.
    """

    customer: str = ""
    acked: int = 0
    version: int = 0
    tried: int = 0
    added: int = 0
    exact: bool = True
    ended: bool = False
    refused_return: bool = False
    late: list[str] = field(default_factory=list)
    events: list[list[Any]] = field(default_factory=list)


@dataclass
class Verdict:
    """What is wrong, by kind, in words; and what took place.

    Attributes:
        counts: of conversations, writes and the like.
    """

    violations: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, what: str) -> None:
        """One more violation."""
        self.violations[kind].append(what)

    def told(self) -> list[str]:
        """The first violations of each kind."""
        return [f"{len(found)} {kind}: {found[:_MOST_TOLD]}" for kind, found in self.violations.items() if found]


def judge(url: str, archive_url: str, folder: Path) -> Verdict:
    """Judge a run.

    Args:
        url, archive_url: where the conversations have gone; nothing is running any more.
        folder: that has the ledgers.
    """
    verdict = Verdict()
    spoken, blind = _spoken(folder)
    rows = _rows(url, archive_url)
    for conversation_id in rows.keys() - spoken.keys():
        verdict.add(UNKNOWN, conversation_id)
    for conversation_id, said in spoken.items():
        _judge_one(verdict, conversation_id, said, rows.get(conversation_id, []), blind)
    _judge_customers(verdict, url, spoken, rows)
    _judge_keys(verdict, url, {said.customer for said in spoken.values()})
    _count(verdict, spoken, rows)
    return verdict


def _spoken(folder: Path) -> tuple[dict[str, Spoken], list[float]]:
    found: dict[str, Spoken] = defaultdict(Spoken)
    blind: list[float] = []
    for path in folder.glob("talker-*.ledger"):
        for event, *words in lines(path):
            if event == "blind":
                blind.append(words[0])
            else:
                said = found[words[0]]
                said.events.append([event, *words[1:]])
                _understand(said, event, words[1:])
    return dict(found), blind


def _understand(said: Spoken, event: str, words: list[Any]) -> None:
    if event == "try":
        said.tried, said.customer = words
        said.exact = False
    elif event == "ack":
        said.acked, said.version = words
        said.added += 1
        said.exact = True
    elif event in ("end?", "resume?"):
        said.exact = said.exact and event == "end?"
        said.ended = False
    elif event == "end":
        said.ended = True
    elif event == "resume":
        said.exact = bool(said.exact or words[0])
        said.version = max(said.version, words[1])
        said.refused_return = said.refused_return or not words[0]
    elif event == "closed":
        # A sweeper took it for abandoned, between the two changes of a step perhaps.
        said.exact = False
    elif event == "late":
        said.late.append(words[0])


def _rows(url: str, archive_url: str) -> dict[str, list[EndedConversation]]:
    from redstate.archive.conversation import ended_conversation

    found: dict[str, list[EndedConversation]] = defaultdict(list)
    with SqlArchive(archive_url) as archive, Store.from_url(url, key_prefix=PREFIX) as store:
        for row in archive.rows():
            key = _keys.conversation_key(PREFIX, row.conversation_id)
            found[row.conversation_id].append(ended_conversation(store._codec, key, row))
    return dict(found)


def _judge_one(
    verdict: Verdict, conversation_id: str, said: Spoken, rows: list[EndedConversation], blind: list[float]
) -> None:
    def wrong(kind: str, what: str) -> None:
        verdict.add(kind, f"{conversation_id}: {what}; {said.events[-12:]}")

    if not rows and said.acked:
        wrong(LOST, "no row")
    for row in rows[1:]:
        # Another life, which may begin where the archive could not be asked.
        began = row.created_at.timestamp()
        if not any(at - 1 <= began <= at + _BLIND_FOR for at in blind):
            wrong(TWICE, f"{len(rows)} rows")
        verdict.counts["lives begun anew"] += 1
    # One of unknown outcome may come to the server when the conversation goes on again.
    if rows and "late" in rows[0].state and set(said.late) <= {"refused", "accepted"}:
        wrong(ROSE, f"{rows[0].state}")
    if len(rows) == 1:
        _judge_row(wrong, said, rows[0])
    elif rows:
        _judge_lives(wrong, said, rows)
    if said.refused_return and said.acked:
        wrong(UNFOUND, "it was not found")


def _judge_row(wrong: Any, said: Spoken, row: EndedConversation) -> None:
    number, line = row.state.get("n", 0), (row.cart or {}).get("lines", {}).get("sku", {"quantity": 0})
    if not said.acked <= number <= said.tried or (said.exact and number != said.acked):
        wrong(WRONG, f"n is {number}, not {said.acked} to {said.tried}")
    if not said.added <= line["quantity"] <= said.tried:
        wrong(WRONG, f"quantity is {line['quantity']}, not {said.added} to {said.tried}")
    if row.version < said.version or (said.exact and row.version != said.version):
        wrong(STALE, f"version is {row.version}, not {said.version}")
    if row.ended_at is None or row.reason not in ("ended", "abandoned"):
        wrong(WRONG, f"reason is {row.reason}")
    if said.ended and row.reason != "ended":
        wrong(WRONG, f"it was ended, but the reason is {row.reason}")


def _judge_lives(wrong: Any, said: Spoken, rows: list[EndedConversation]) -> None:
    """Lives of one conversation: what was acknowledged is in one of them, in their order.

    A late write that began one has no number; where the conversation then was taken up again, it went on in that life.
    """
    numbers = [row.state["n"] for row in rows if "n" in row.state] or [0]
    if numbers != sorted(numbers) or not said.acked <= numbers[-1] <= said.tried:
        wrong(WRONG, f"n is {numbers} in its lives, not {said.acked} to {said.tried}")
    quantities = [(row.cart or {}).get("lines", {}).get("sku", {"quantity": 0})["quantity"] for row in rows]
    if not said.added <= sum(quantities) <= said.tried:
        wrong(WRONG, f"quantity is {quantities} in its lives, not {said.added} to {said.tried}")


def _judge_customers(
    verdict: Verdict, url: str, spoken: dict[str, Spoken], rows: dict[str, list[EndedConversation]]
) -> None:
    """Each end of a conversation is merged once, the first of them as the first, and the last one is the archive's."""
    merged: dict[str, list[list[str]]] = {}
    with Store.from_url(url, key_prefix=PREFIX, max_staleness=0) as store:
        for customer_id in {said.customer for said in spoken.values() if said.customer}:
            profile = store.customer(customer_id).all()
            merged[customer_id] = [one.split(" ") for one in profile.get("merged", [])]
            last = merged[customer_id][-1][0] if merged[customer_id] else None
            if profile.get("last_conversation") != last:
                verdict.add(
                    MERGES, f"{customer_id}: last_conversation is {profile.get('last_conversation')}, not {last}"
                )
    for conversation_id, said in spoken.items():
        ends = [(at, which) for one, at, which in merged.get(said.customer, []) if one == conversation_id]
        # A conversation that was begun and never written to has a row, and is merged as any other.
        found = rows.get(conversation_id, [])
        # A life that a late write began while the archive was away is nobody's.
        ours = [row for row in found if row.customer_id == said.customer]
        wanted = [row.ended_at.isoformat() for row in ours if row.ended_at is not None]
        times, kinds = [at for at, _ in ends], [which for _, which in ends]
        good = times == sorted(set(times)) and set(wanted) <= set(times) and times[-1:] == sorted(wanted)[-1:]
        if not good or kinds != ["first", *["again"] * (len(ends) - 1)][: len(ends)]:
            verdict.add(MERGES, f"{conversation_id} is {ends} in {said.customer}, not {wanted}; {said.events[-12:]}")
        verdict.counts["merges"] += len(ends)


def _judge_keys(verdict: Verdict, url: str, customers: set[str]) -> None:
    wanted = {_keys.customer_key(PREFIX, one) for one in customers if one}
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            if key.decode() not in wanted:
                verdict.add(LEFT, key.decode())
            elif client.pttl(key) < 0:
                verdict.add(LEFT, f"{key.decode()} never expires")


def _count(verdict: Verdict, spoken: dict[str, Spoken], rows: dict[str, list[EndedConversation]]) -> None:
    counts = verdict.counts
    counts["conversations"] = len(spoken)
    counts["acknowledged writes"] = sum(said.added for said in spoken.values())
    counts["returns"] = sum(event[0] == "resume" for said in spoken.values() for event in said.events)
    counts["writes of unknown outcome"] = sum(event[0] == "doubt" for said in spoken.values() for event in said.events)
    late = Counter(verdict_ for said in spoken.values() for verdict_ in said.late)
    counts["late writes refused"] = late["refused"]
    counts["late writes that began another life"] = late["accepted"]
    counts["rows"] = sum(map(len, rows.values()))
    counts["abandoned"] = sum(row.reason == "abandoned" for lives in rows.values() for row in lives)
