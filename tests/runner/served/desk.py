"""The agent that the runner's tests serve."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import Any

from conversimple import tool_async

from redstate.conversimple import StatefulAgent

logger = logging.getLogger("desk")
events = logging.getLogger("redstate.conversimple")


class Desk(StatefulAgent):
    """Tells where it runs, and breaks on demand."""

    agent_id = "desk"

    def __init__(self, greeting: str = "hello", **options: Any) -> None:
        super().__init__(**options)
        self.greeting = greeting

    @tool_async("tells which worker it is")
    async def who(self) -> dict:
        logger.info("asked with %s", self.api_key)
        events.info("it was asked", extra={"event": "asked", "seconds": 0.25, "thing": object()})
        return {"pid": os.getpid(), "worker": os.environ["REDSTATE_WORKER"], "greeting": self.greeting}

    @tool_async("blocks the event loop for good")
    async def wedge(self) -> None:
        events.info("wedged", extra={"event": "wedged"})
        time.sleep(600)  # noqa: ASYNC251 - it is the fault that is tested

    @tool_async("connects to a port, and answers when that connection is closed")
    async def hold(self, port: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.read()
        writer.close()
        return "held"

    @tool_async("ends the process")
    async def crash(self) -> None:
        os._exit(3)
