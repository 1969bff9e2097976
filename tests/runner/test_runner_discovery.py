"""Which classes ``redstate run`` finds, which it skips, and what it refuses before any worker is started."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from runner_harness import COMMAND, KEY, SERVED

from redstate.conversimple.runner import RunnerSettings
from redstate.conversimple.runner.check import check_agents
from redstate.errors import ConfigurationError

AGENT = "from redstate.conversimple import StatefulAgent\nclass {name}(StatefulAgent):\n    {attribute} = {id!r}\n"
PLAIN = "from conversimple import ConversimpleAgent\nclass Plain(ConversimpleAgent):\n    agent_id = 'plain'\n"


def write(folder: Path, **files: str) -> Path:
    """Write modules; ``a__b`` is b in the package a."""
    for name, text in files.items():
        path = folder / f"{name.replace('__init', '/__init').replace('__in_', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def agent(name: str, agent_id: str | None = None, attribute: str = "agent_id") -> str:
    return AGENT.format(name=name, attribute=attribute, id=agent_id or name.lower())


@dataclass
class Found:
    agents: set[str]
    written: str
    warnings: list[str]


@pytest.fixture
def find(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[[], Found]:
    def found() -> Found:
        with tempfile.TemporaryFile() as output:
            settings = RunnerSettings(path=tmp_path, api_key="key", log_format="text", output=output.fileno())
            agents = asyncio.run(check_agents(settings))
            output.seek(0)
            return Found(set(agents), output.read().decode(), caplog.messages)

    return found


def test_agents_are_found_in_files_and_packages_as_the_dispatcher_does(
    tmp_path: Path, find: Callable[[], Found]
) -> None:
    write(
        tmp_path,
        shop=agent("Shop"),
        desk=agent("Desk", attribute="AGENT_ID"),
        base="from redstate.conversimple import StatefulAgent\nclass Base(StatefulAgent):\n    pass\n",
        hotel__init__="from .rooms import Rooms",
        hotel__in_rooms=agent("Rooms"),
    )
    (tmp_path / "notes").mkdir()
    write(tmp_path / "notes", hidden=agent("Hidden"))
    found = find()
    assert found.agents == {"shop", "desk", "rooms"}
    assert (found.written, found.warnings) == ("", [])


def test_a_class_that_several_files_import_is_one_agent(tmp_path: Path, find: Callable[[], Found]) -> None:
    write(
        tmp_path,
        a_main="from shop import Shop\nAlias = Shop\nassert Shop.__module__ == 'shop'",
        shop=agent("Shop"),
        z_main="from shop import Shop",
    )
    found = find()
    assert found.agents == {"shop"}
    assert (found.written, found.warnings) == ("", [])


def test_two_agents_of_one_id_are_warned_of(tmp_path: Path, find: Callable[[], Found]) -> None:
    write(tmp_path, one=agent("One", "shop"), two=agent("Two", "shop"))
    found = find()
    assert found.agents == {"shop"}
    assert "Duplicate agent_id shop" in found.written


def test_a_module_may_have_the_name_of_one_that_is_loaded_already(tmp_path: Path, find: Callable[[], Found]) -> None:
    write(tmp_path, logging=agent("Shop"))
    assert find().agents == {"shop"}


def test_agents_of_another_base_class_are_skipped_with_the_way_out(tmp_path: Path, find: Callable[[], Found]) -> None:
    write(tmp_path, shop=agent("Shop"), plain=PLAIN, other="from plain import Plain")
    found = find()
    assert found.agents == {"shop"}
    assert len(found.warnings) == 1
    assert "Plain in " in found.warnings[0]
    assert "make redstate.conversimple.StatefulAgent its base class" in found.warnings[0]


def test_importing_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    write(tmp_path, shop="import time\ntime.sleep(600)")
    settings = RunnerSettings(path=tmp_path, api_key="key", start_timeout=1.0)
    with pytest.raises(ConfigurationError, match=r"was not through after 1 seconds\. .*__main__"):
        asyncio.run(check_agents(settings))
    with pytest.raises(ConfigurationError, match="ended the process with status 4"):
        write(tmp_path, shop="import os\nos._exit(4)")
        asyncio.run(check_agents(replace(settings, start_timeout=30.0)))


def refused(path: Path, *options: str, **environment: str) -> str:
    """The one line on stderr."""
    done = subprocess.run(
        [*COMMAND, str(path), "--workers", "2", "--log-level", "DEBUG", *options],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "there is no agent in "),
        ({"shop": "import nothing_of_that_name"}, "shop.py cannot be imported (line 1): ModuleNotFoundError: No mod"),
        ({"shop": "x = (1"}, "shop.py cannot be imported: SyntaxError: "),
        ({"good": agent("Shop"), "script": "raise SystemExit"}, "script.py cannot be imported (line 1): SystemExit."),
        ({"plain": PLAIN}, "Plain in "),
    ],
    ids=["no agents", "missing import", "syntax", "script", "only plain agents"],
)
def test_a_folder_that_cannot_be_served_is_refused_in_one_line(
    files: dict[str, str], told: str, tmp_path: Path, url: str
) -> None:
    assert told in refused(write(tmp_path, **files), "--url", url, CONVERSIMPLE_API_KEY=KEY)


@pytest.mark.parametrize(
    ("path", "options", "environment", "told"),
    [
        (SERVED.with_name("nowhere"), ("--url", "redis://h"), {}, "nowhere does not exist. Pass the folder"),
        (SERVED / "desk.py", ("--url", "redis://h"), {}, "desk.py is no folder"),
        (SERVED, (), {}, "no server is named that the workers could share. Set REDSTATE_URL or pass --url"),
        (SERVED, ("--url", "localhost:1"), {}, "The URL has no scheme"),
        (SERVED, ("--url", "redis://h"), {"CONVERSIMPLE_API_KEY": ""}, "Set CONVERSIMPLE_API_KEY"),
        (SERVED, ("--url", "redis://h", "--embedded"), {}, "--url does not go with --embedded"),
        (SERVED, (), {"REDSTATE_RUN_GRACE": "soon"}, "--grace"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(
    path: Path, options: tuple[str, ...], environment: dict[str, str], told: str
) -> None:
    assert told in refused(path, *options, **{"CONVERSIMPLE_API_KEY": KEY, **environment})


def test_the_parent_imports_no_module_of_the_user(tmp_path: Path) -> None:
    write(tmp_path, shop=agent("Shop"))
    code = (
        "import asyncio, sys; from pathlib import Path; "
        "from redstate.conversimple.runner import RunnerSettings; "
        "from redstate.conversimple.runner.check import check_agents; "
        f"print(asyncio.run(check_agents(RunnerSettings(path=Path({str(tmp_path)!r}), api_key='k'))), "
        "'shop' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("('shop',) False\n", "")
