"""The agents of one worker: made, started, counted and drained together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from redstate.conversimple import StatefulAgent
from redstate.conversimple.runner.settings import WorkerSettings

logger = logging.getLogger("redstate.conversimple.runner")


class PlatformUnreachable(Exception):
    """The platform did not accept a connection."""


class Serving:
    """One instance of each agent class.

    Args:
        classes: the classes by their agents' names.
        settings: what their constructors are given.
    """

    def __init__(self, classes: dict[str, type[StatefulAgent]], settings: WorkerSettings) -> None:
        self._grace = settings.grace
        self.agents: dict[str, StatefulAgent] = {
            name: cls(
                api_key=settings.api_key,
                customer_id=settings.customer_id,
                platform_url=settings.platform_url,
                **settings.options,
            )
            for name, cls in classes.items()
        }
        for agent in self.agents.values():
            # Each connection hears of the conversations of all kinds.
            agent._serving.only_addressed = len(self.agents) > 1

    async def start(self) -> None:
        """Connect all agents to the platform.

        Raises:
            PlatformUnreachable: it did not accept one at the first try. What else an agent's start raises passes.
        """
        for name, agent in self.agents.items():
            with _one_try(name, agent):
                await agent.start()

    async def drain(self) -> None:
        """Let all agents finish the calls in flight, for the grace period at most, and stop."""
        results = await asyncio.gather(
            *(agent.drain(self._grace) for agent in self.agents.values()), return_exceptions=True
        )
        for name, result in zip(self.agents, results, strict=True):
            if isinstance(result, BaseException):
                logger.error("agent %s did not stop in order", name, exc_info=result)

    def given_up(self) -> str | None:
        """Return the name of an agent for which the SDK will not connect again; None if there is none."""
        return next((name for name, agent in self.agents.items() if agent.connection.circuit_breaker_open), None)

    def figures(self) -> dict[str, Any]:
        """Return the sum of the agents' statistics, and how many are connected."""
        totals: dict[str, float] = {}
        for agent in self.agents.values():
            for name, value in asdict(agent.statistics()).items():
                if isinstance(value, (int, float)):
                    totals[name] = totals.get(name, 0) + value
        connected = sum(bool(agent.connection.connected) for agent in self.agents.values())
        return {"statistics": totals, "connected": connected}


@contextlib.contextmanager
def _one_try(name: str, agent: StatefulAgent) -> Iterator[None]:
    # By itself the SDK tries for ever to make its first connection, and start() would not return to say why.
    connection: Any = agent.connection
    connect = partial(connection.connect, recover=False)

    # The SDK passes recover=False itself when it connects again, as it may while the agent still starts.
    async def once(recover: bool = False) -> None:
        try:
            await connect()
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise PlatformUnreachable(
                f"agent {name} cannot connect to the platform at {agent.platform_url}: {reason}"
            ) from error

    vars(connection)["connect"] = once
    try:
        yield
    finally:
        vars(connection).pop("connect", None)
