"""What agents log, and what they say when a part of the installation is missing."""

import os
import subprocess
import sys

import pytest


def run_python(source: str, **environment: str) -> str:
    """Run ``source`` in a fresh interpreter and return all that it printed."""
    inherited = {name: value for name, value in os.environ.items() if name != "CONVERSIMPLE_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


TALKATIVE = """
import asyncio, logging
from conversimple import tool
from redstate.conversimple import StatefulAgent
from redstate.testing import LocalPlatform, ToolCallFailed

class Shop(StatefulAgent):
    @tool("fails")
    def fail(self, name: str) -> str:
        raise LookupError(name)

    @tool("echoes")
    def echo(self, name: str) -> str:
        return name

async def main():
    async with LocalPlatform() as platform:
        agent = Shop(api_key="the-API-key", platform_url=platform.url)
        await agent.start()
        await platform.send("config_update", {"note": "the-VALUE"})
        conv = await platform.start_conversation()
        await platform.call(conv.id, "echo", {"name": "the-VALUE"})
        try:
            await platform.call(conv.id, "fail", {"name": "the-VALUE"})
        except ToolCallFailed:
            pass
        await agent.connection._handle_message('"the-VALUE"')
        await agent.stop()
    lost = Shop(api_key="the-API-key", platform_url="http://127.0.0.1:1/x", max_reconnect_attempts=0)
    try:
        await lost.start()
    except RuntimeError:
        print("did not start")
    print("root", logging.getLogger().handlers, logging.getLogger().level)

asyncio.run(main())
"""


def test_neither_values_nor_the_api_key_are_logged_and_the_root_logger_is_left_alone() -> None:
    printed = run_python(TALKATIVE)
    assert "the-VALUE" not in printed
    assert "the-API-key" not in printed
    assert "did not start" in printed
    assert "tool 'fail' failed with LookupError at <string>:10 (call " in printed
    assert "auth_token=***" in printed
    assert "root [] 30" in printed


def test_a_program_that_logs_at_info_logs_no_values_either() -> None:
    printed = run_python("import logging; logging.basicConfig(level=logging.INFO)" + TALKATIVE)
    assert "tool 'fail' failed with LookupError" in printed
    assert "the-VALUE" not in printed
    assert "the-API-key" not in printed


def test_who_asks_for_the_sdks_log_gets_it_without_the_key() -> None:
    printed = run_python(TALKATIVE, CONVERSIMPLE_LOG_LEVEL="INFO")
    assert "Received platform message" in printed
    assert "the-API-key" not in printed


@pytest.mark.parametrize(
    ("absent", "imported"), [("conversimple", "redstate.conversimple"), ("websockets", "redstate.testing.platform")]
)
def test_a_missing_extra_is_named(absent: str, imported: str) -> None:
    printed = run_python(f"""
import sys
from redstate.errors import MissingExtra
sys.modules[{absent!r}] = None
try:
    import {imported}
except MissingExtra as error:
    print(error, error.extra)
""")
    assert 'pip install "redstate[conversimple]"' in printed
    assert printed.strip().endswith(" conversimple")
