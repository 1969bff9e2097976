"""A worker process of the tests of the examples. It serves the agent of one example after the other.

A line of stdin is a job, the next line ends it, and the end of stdin ends the worker.
"""

import asyncio
import importlib.util
import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).parent.parent / "examples"
STOPPED = "stopped"


def load(name: str) -> ModuleType:
    """An example as a module."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))  # where Python itself looks when it runs an example
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def example_of(name: str) -> Any:
    """What an example declares; the shop stands by itself and declares nothing."""
    module = load(name)
    serve = importlib.import_module("_serve")
    return module.EXAMPLE if hasattr(module, "EXAMPLE") else serve.Example(module.Shop, script=None)


async def work() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while job := await lines.readline():
        name, environment, *addresses = json.loads(job)
        os.environ.update(environment)
        async with example_of(name).serving(*addresses):
            await lines.readline()
        print(STOPPED, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(work())
