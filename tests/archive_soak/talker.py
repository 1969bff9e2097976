"""The agents' side: conversations that begin, are written to, end or are just left, and come back; one by one."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from pathlib import Path

from archive_soak.ledger import Ledger
from archive_soak.plan import IDLE, PREFIX, TIMEOUT, TOMBSTONE, Plan, merge

from redstate import AsyncConversation, AsyncStore
from redstate.errors import ConversationEnded, RedstateError

_PAUSE = 0.03  # seconds between two changes, at most
_RETURNS, _LATE, _HANGS_UP = 0.3, 0.25, 0.3  # shares


class _Blind(logging.Handler):
    """Notes when a conversation began without a look into the archive: another life of it may begin then."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        if "without a look" in record.getMessage():
            self._ledger.note("blind", time.time())


class _Talker:
    def __init__(self, store: AsyncStore, ledger: Ledger, plan: Plan, name: str) -> None:
        self._store = store
        self._ledger = ledger
        self._plan = plan
        self._name = name
        self._chance = random.Random(f"{plan.seed} {name}")
        self._number = 0

    async def talk(self, until: float) -> None:
        """One conversation after another."""
        while time.time() < until:
            self._number += 1
            number = self._number
            conversation_id = f"c{self._name}-{number}"
            customer_id = f"p{self._name.partition('.')[0]}-{number % self._plan.customers}"
            await self._converse(conversation_id, customer_id)

    async def _converse(self, conversation_id: str, customer_id: str) -> None:
        conversation = self._store.conversation(conversation_id, customer_id=customer_id)
        written = 0
        while True:
            for _ in range(self._chance.randint(2, 7)):
                written += 1
                if not await self._write(conversation, customer_id, written):
                    break
            ended = self._chance.random() >= _HANGS_UP and await self._end(conversation)
            if ended and self._chance.random() < _LATE:
                await self._write_late(conversation_id)
            if self._chance.random() >= _RETURNS:
                return
            # Before it has left for the archive, just then, or when nothing of it is in the store any more.
            await asyncio.sleep(self._chance.choice((0.0, 0.1, IDLE, IDLE + TOMBSTONE + 1.0)) * self._chance.random())
            if not await self._resume(conversation):
                return

    async def _write(self, conversation: AsyncConversation, customer_id: str, number: int) -> bool:
        """Two changes. Returns whether the conversation goes on."""
        self._ledger.note("try", conversation.id, number, customer_id)
        try:
            await conversation.cart.add("sku", 1, "19.99")
            version = await conversation.state.update({"n": number, f"f{number % 5}": number})
        except ConversationEnded:
            self._ledger.note("closed", conversation.id)
            return False
        except RedstateError as error:
            self._ledger.note("doubt", conversation.id, type(error).__name__)
        else:
            self._ledger.note("ack", conversation.id, number, version)
        await asyncio.sleep(_PAUSE * self._chance.random())
        return True

    async def _end(self, conversation: AsyncConversation) -> bool:
        self._ledger.note("end?", conversation.id)
        try:
            ended = await conversation.end()
        except RedstateError as error:
            self._ledger.note("doubt", conversation.id, type(error).__name__)
            return False
        # Not where it never began, as the server was away, or where it was ended as abandoned before.
        if ended:
            self._ledger.note("end", conversation.id)
        return ended

    async def _resume(self, conversation: AsyncConversation) -> bool:
        for _ in range(20):
            self._ledger.note("resume?", conversation.id)
            try:
                found = await conversation.resume()
                version = await conversation.version() if found else 0
            except RedstateError as error:
                self._ledger.note("doubt", conversation.id, type(error).__name__)
                await asyncio.sleep(0.3)
                continue
            self._ledger.note("resume", conversation.id, found, version)
            return found
        return False

    async def _write_late(self, conversation_id: str) -> None:
        """As a process that has not heard of the end. It must be refused, by whatever is left of the conversation."""
        wait = self._chance.choice((0.0, 0.2, TOMBSTONE, TOMBSTONE * 2 + 1.0))
        await asyncio.sleep(wait * self._chance.random())
        self._ledger.note("late?", conversation_id)
        verdict = "accepted"
        try:
            await self._store.conversation(conversation_id).state.update({"late": 1})
        except ConversationEnded:
            verdict = "refused"
        except RedstateError as error:
            verdict = type(error).__name__
        self._ledger.note("late", conversation_id, verdict)


async def main(url: str, archive: str, plan: Plan, name: str, folder: Path, until: float) -> None:
    """Talk until that time (of ``time.time``)."""
    ledger = Ledger(folder / f"talker-{name}-{os.getpid()}.ledger")
    logging.getLogger("redstate").addHandler(_Blind(ledger))
    store = AsyncStore.from_url(
        url, archive=archive, key_prefix=PREFIX, idle=IDLE, tombstone_ttl=TOMBSTONE, timeout=TIMEOUT, merge=merge
    )
    async with store, asyncio.TaskGroup() as group:
        talker = _Talker(store, ledger, plan, name)
        for _ in range(plan.conversations):
            group.create_task(talker.talk(until))
