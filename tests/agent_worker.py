"""A process that serves one agent class until its input ends.

Usage: agent_worker.py MODULE:CLASS PLATFORM_URL, with the state in the server that the environment names.
"""

from __future__ import annotations

import asyncio
import importlib
import sys


async def main() -> None:
    target, platform_url = sys.argv[1:]
    module, name = target.split(":")
    agent = getattr(importlib.import_module(module), name)(api_key="key", platform_url=platform_url)
    await agent.start()
    await asyncio.to_thread(sys.stdin.read)
    await agent.stop()


if __name__ == "__main__":
    asyncio.run(main())
