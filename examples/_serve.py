"""What the examples share: a server, a platform on this machine, two agents, and somebody who calls them.

    python examples/state.py                                  # on a server that starts and ends with it
    python examples/state.py --url redis://localhost:6379     # on a server of yours, under keys of its own

Each agent has a store of its own, as two worker processes have. A conversation is served by one of them, its owner;
when that one leaves, the other takes it over. So whatever one of them remembers, the other one must know. The tests run
the same agents and scripts in two processes, and stop or kill one of them half-way.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from redstate import AsyncConversation, AsyncStore, RedstateError, Store, StoreOptions
from redstate.embedded import EmbeddedServer
from redstate.errors import MissingExtra

try:
    from redstate.conversimple import StatefulAgent
    from redstate.testing import LocalPlatform
except MissingExtra as missing:
    sys.exit(str(missing))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds that only time, or another process, brings about; half a minute at most."""
    async with asyncio.timeout(30):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


class Phone:
    """What callers call by.

    Attributes:
        store: the store that the agents work on.
        relieve: has agent-1 finish its tool calls and leave, as a worker does that is replaced.
        answers: how many answers each agent gave.
    """

    def __init__(self, platform: LocalPlatform, store: AsyncStore, relieve: Callable[[], Awaitable[None]]) -> None:
        self._platform = platform
        self._calls = 0
        self.store = store
        self.relieve = relieve
        self.answers: dict[str, int] = {}

    async def call(self, conversation_id: str = "call-1", *, caller: str = "caller") -> Line:
        """Begin a conversation, which all agents are told of.

        The first that hears of it will own it: agent-1 for the first conversation, agent-2 for the second.
        """
        agents = self._platform.agents
        first = self._calls % len(agents)
        self._calls += 1
        for agent in agents[first:] + agents[:first]:
            await self._platform.start_conversation(conversation_id, to=[agent])
        return Line(self, self._platform, conversation_id, caller)


class Line:
    """One conversation with the agents.

    Attributes:
        id: of the conversation.
        record: its handle in the store.
    """

    def __init__(self, phone: Phone, platform: LocalPlatform, conversation_id: str, caller: str) -> None:
        self._phone = phone
        self._platform = platform
        self._caller = caller
        self.id = conversation_id
        self.record: AsyncConversation = phone.store.conversation(conversation_id)

    async def say(self, words: str, tool: str, /, **arguments: Any) -> Any:
        """Say something for which a language model would call ``tool``, and show the answer."""
        print(f"{self._caller:>8}: {words}")
        return await self.use(tool, shown=True, **arguments)

    async def use(self, tool: str, /, *, shown: bool = False, **arguments: Any) -> Any:
        """Have a tool called. Returns what it returned."""
        answer = await self._platform.call(self.id, tool, arguments)
        self._phone.answers[answer.agent] = self._phone.answers.get(answer.agent, 0) + 1
        if shown:
            print(f"{answer.agent:>8}: {_heard(answer.result)}")
        return answer.result

    async def hang_up(self) -> None:
        """End the conversation."""
        await self._platform.end_conversation(self.id)


def _heard(result: dict[str, Any]) -> str:
    """What a caller would hear; in brackets what only the language model is told."""
    if "error" not in result:
        return str(result["message"])
    facts = [f"{name}: {result[name]}" for name in ("missing", "allowed", "retry_after") if result.get(name)]
    return "[" + "; ".join([result["error"], *facts]) + "]"


async def _nothing_more(store: AsyncStore) -> None:
    """Most examples are over when the agents have stopped."""


@dataclass(frozen=True)
class Example:
    """An agent and the calls that show what it can do.

    Attributes:
        agent: the class.
        script: the calls.
        afterwards: shows what is left when the calls have ended and the agents have stopped.
        options: of the store.
    """

    agent: Callable[..., StatefulAgent]
    script: Callable[[Phone], Awaitable[None]]
    afterwards: Callable[[AsyncStore], Awaitable[None]] = _nothing_more
    options: StoreOptions = field(default_factory=StoreOptions)

    def run(self, *, log_level: int = logging.ERROR) -> None:
        """Be the command of the example; returns when it is over."""
        parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
        parser.add_argument("--url", help="a running Redis or Valkey; by default one is started for the example")
        url = parser.parse_args().url
        logging.basicConfig(level=log_level, stream=sys.stdout, format=f"{'log':>8}: %(message)s")
        try:
            with ExitStack() as stack:
                asyncio.run(self._perform(url or stack.enter_context(EmbeddedServer.start()).url))
        except KeyboardInterrupt:
            sys.exit(130)
        except RedstateError as error:  # no server, or a part of redstate that is not installed
            sys.exit(str(error))

    async def _perform(self, url: str) -> None:
        prefix = f"example-{uuid4().hex[:8]}"
        async with AsyncStore.from_url(url, key_prefix=prefix, **self.options) as store:
            await store.ping()
            async with LocalPlatform() as platform, AsyncExitStack() as agents:
                first, _ = [await agents.enter_async_context(self.serving(url, prefix, platform.url)) for _ in "12"]
                await self.script(Phone(platform, store, first.drain))
            await self.afterwards(store)

    @asynccontextmanager
    async def serving(self, url: str, key_prefix: str, platform_url: str) -> AsyncIterator[StatefulAgent]:
        """An agent at work, with stores of its own. In production a process has one of each and ``REDSTATE_URL``."""
        with Store.from_url(url, key_prefix=key_prefix, **self.options) as store:
            async with AsyncStore.from_url(url, key_prefix=key_prefix, **self.options) as async_store:
                agent = self.agent(api_key="any", platform_url=platform_url, store=store, async_store=async_store)
                await agent.start()
                try:
                    yield agent
                finally:
                    await agent.stop()
