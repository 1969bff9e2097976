"""The pytest fixtures for users, in pytest runs of their own as a user has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = 'pytest_plugins = ["redstate.testing.fixtures"]\n'


def run(folder: Path, tests: str, *arguments: str, conftest: str = CONFTEST) -> str:
    """What a pytest run says about a user's test file; warnings are errors in it."""
    (folder / "conftest.py").write_text(conftest)
    (folder / "test_shop.py").write_text(tests)
    # No plugins of this environment but those that the run names, and no server of the developer's.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "REDSTATE_URL": "redis://127.0.0.1:1"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return ran.stdout + ran.stderr


BOTH_COLOURS = """
import asyncio

def test_first(redstate_store):
    conversation = redstate_store.conversation("c")
    assert conversation.exists() is False
    conversation.state.set("who", "first")

def test_second(redstate_store, redstate_async_store):
    assert redstate_store.conversation("c").exists() is False
    redstate_store.conversation("c").state.set("who", "second")

    async def scenario():
        async with redstate_async_store as store:
            return await store.conversation("c").state.get("who")

    assert asyncio.run(scenario()) == "second"

def test_an_async_store_that_nobody_opens(redstate_async_store):
    pass
"""


def test_tests_share_a_real_server_and_do_not_see_each_others_data(tmp_path: Path) -> None:
    assert "3 passed" in run(tmp_path, BOTH_COLOURS)


def test_workers_of_one_run_have_a_server_each(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    assert "3 passed" in run(tmp_path, BOTH_COLOURS, "-p", "xdist", "-n", "2")


def test_the_server_of_a_session_is_one_and_ends_with_it(tmp_path: Path) -> None:
    tests = """
from pathlib import Path

def test_first(redstate_url, redstate_key_prefix, redstate_store):
    Path("first").write_text(redstate_url)
    assert redstate_url.endswith(redstate_store.address.removeprefix("unix:"))
    assert redstate_store.conversation("c").key.startswith(redstate_key_prefix)

def test_second(redstate_url):
    assert redstate_url == Path("first").read_text()
"""
    assert "2 passed" in run(tmp_path, tests)
    socket_path = Path((tmp_path / "first").read_text().removeprefix("unix://").partition("?")[0])
    assert not socket_path.exists()
    assert not socket_path.parent.exists()


def test_a_fake_store_is_empty_in_each_test(tmp_path: Path) -> None:
    tests = """
import pytest

@pytest.mark.parametrize("turn", range(3))
def test_counts(redstate_fake_store, turn):
    assert redstate_fake_store.conversation("c").state.increment("n") == 1
"""
    assert "3 passed" in run(tmp_path, tests)


def test_a_server_of_the_users_own_takes_the_place_of_the_embedded_one(tmp_path: Path, url: str) -> None:
    conftest = CONFTEST + (
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def redstate_url():\n"
        f"    return {url!r}\n"
    )  # fmt: skip
    tests = f"""
def test_it(redstate_store, redstate_url):
    assert redstate_url == {url!r}
    redstate_store.conversation("c").state.set("a", 1)
    redstate_store.conversation("c").delete()
"""
    assert "1 passed" in run(tmp_path, tests, conftest=conftest)


def test_the_fixtures_can_be_asked_for_on_the_command_line(tmp_path: Path) -> None:
    tests = "def test_it(redstate_fake_store): assert redstate_fake_store.ping() > 0\n"
    assert "1 passed" in run(tmp_path, tests, "-p", "redstate.testing.fixtures", conftest="")


def test_who_does_not_ask_for_the_fixtures_does_not_import_redstate(tmp_path: Path) -> None:
    tests = "import sys\ndef test_it(): assert 'redstate' not in sys.modules\n"
    assert "1 passed" in run(tmp_path, tests, conftest="")


def test_each_fixture_explains_itself(tmp_path: Path) -> None:
    told = run(tmp_path, "", "--fixtures", "-v")
    for name in (
        "redstate_url",
        "redstate_key_prefix",
        "redstate_store",
        "redstate_async_store",
        "redstate_fake_store",
    ):
        (line,) = [place for place, line in enumerate(told.splitlines()) if line.startswith(name)]
        assert told.splitlines()[line + 1].strip(), name
