"""The examples do what they say: each as its own command, and each agent in two worker processes, one of which goes."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from example_worker import EXAMPLES, STOPPED, example_of, load

from redstate import AsyncStore
from redstate.archive import SqlArchive
from redstate.testing import LocalPlatform

# What must be seen, in this order, among the lines of each example.
TOLD: dict[str, list[str]] = {
    "state": [
        "agent-1: I noted: a quiet room.",
        "agent-1: German, gladly.",
        "(agent-1 has left; agent-2 owns the conversation)",
        "agent-2: I noted: a bath tub.",
        "agent-2: I forget: a bath tub.",
        f"agent-2: a quiet room{', tea' * 8}; language German; 8 calls.",
        "came back as a datetime, in UTC",
    ],
    "sessions": [
        "is not live: logged out",
        "Wrong name or password; tries left: 2",
        "Welcome, ada.",
        "You have put 10 euros aside.",
        "(the caller is silent)",
        "is not live: idle",
        "Welcome, ada.",
        "You have put 15 euros aside.",
        "Goodbye.",
        "I do not know who you are.",
        "tries left: 2",
        "tries left: 1",
        "tries left: 0",
        "retry_after: ",
    ],
    "booking": [
        "When would you like to arrive, and to leave?",
        "missing: {'check_in': 'a date such as 2026-03-01', 'check_out':",
        "You would leave first",
        "For how many guests?",
        "guests must be a whole number",
        "Shall I book it?",
        "yes four times at once; 1 of them books. Booked: 2 nights from 10 March for 3.",
        "initial -> collecting_dates -> collecting_guests -> ready_to_confirm -> completed",
    ],
    "cart": [
        "That makes 2 tea, 8.20 euros in all.",
        "That makes 3 tea, 12.30 euros in all.",
        "limit of 2 lines",
        "limit of 5 pieces",
        "No more cup.",
        "52.20 euros in all.",
        "does not have the expected total",
        "there is 1 order. Sold as call-1-1: 3 tea, 1 kettle with 'Ada' for 52.20 euros.",
        "became order 'call-1-1'",
        "Sold as call-1-2: 1 cup for 12.50 euros.",
    ],
    "caching": [
        "agent-1: P1 is a kettle (from the database).",
        "agent-2: P1 is a kettle (from the cache).",
        "Ten ask both for the price of P1 at once: 39.90 euros. Looked up 1 time.",
        "agent-2: The prices have changed.",
        " 39.90 euros.",
        "Looked up 2 times by now.",
    ],
    "customers": [
        "Hello, no favourite yet; conversation number 1.",
        "Hello, no favourite yet; conversation number 2.",
        "by chat: What do I like?",
        "You like: tulips.",
        "5 stems so far.",
        "12 stems so far.",
        "15 stems so far.",
        "Kept of Ada: likes tulips, 15 stems so far, lately 7 roses, 3 tulips.",
        "each merged once: call-1, chat-1.",
    ],
    "persistence": [
        "I note: a cold kettle.",
        "Tried so far: the plug.",
        "Then it was: a cold kettle; tried: the plug.",
        "[There is no such call]",
        "Tried so far: the plug, shaking.",
        "(days pass",
        "Then it was: a cold kettle; tried: the plug, shaking.",
        "Redis keeps call-3 for 24 more hours.",
        "The archive keeps call-1: the plug; opened_at is a datetime.",
        "The archive keeps call-2: the plug, shaking; opened_at is a datetime.",
        "The archive keeps call-3: the plug, shaking; opened_at is a datetime.",
    ],
    "returning": [
        "Welcome, ada.",
        "I note: a kettle, cold.",
        "(call-1 has left Redis for the archive)",
        "Welcome back, ada.",
        "It was about a kettle, cold; it ended.",
        "a kettle is warm now.",
        "[There is no such call]",
        "The archive has call-1, solved, of ada.",
        "The archive has call-2, ended, of ada.",
        "On its way there: 0.",
        "Ada is erased: 2 conversations, and the profile: True.",
    ],
    "minimal_state": [
        "[catalogue has 14985 bytes, the limit is 8000]",
        "Tea number 7, Tea number 300",
        "4,500 characters about childhood.",
        "4,000 characters about youth.",
        "at most 10,000 are allowed]",
        "Tea number 7, Tea number 300",
        "Kept: childhood, liked_ids, youth; of the teas, P7, P300.",
        "of 10,000 bytes",
        "4,512  state      childhood",
        "4,008  state      youth",
    ],
    "typed": [
        "A city bike for 1 days: 15 euros.",
        "A cargo bike for 1 days: 25 euros.",
        "bike must be",
        "days must be",
        "A cargo bike for 3 days: 75 euros.",
        "A cargo bike with a helmet for 3 days: 75 euros.",
        "A tandem bike for 14 days: 350 euros.",
    ],
    "shop": [],
}


def assert_told(output: str, expected: list[str]) -> None:
    lines = iter(output.splitlines())
    for wanted in expected:
        assert any(wanted in line for line in lines), f"{wanted!r} is not where it should be in:\n{output}"


# The commands as they stand


def run(name: str, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / f"{name}.py", *arguments]
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=env)


@pytest.mark.parametrize("name", sorted(TOLD.keys() - {"shop"}))
def test_an_example_runs_by_one_command_in_any_folder(name: str, tmp_path: Path) -> None:
    done = run(name, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert_told(done.stdout, TOLD[name])
    assert list(tmp_path.iterdir()) == []


def test_the_shop_serves_a_conversation_by_one_command(tmp_path: Path) -> None:
    done = run("shop", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("The cart of conv-")
    assert first.endswith(" costs 0.80")
    assert second == "Its state: {'step': 'shopping'}"


def test_the_caps_of_small_state_are_warned_of_before_they_are_met(tmp_path: Path) -> None:
    done = run("minimal_state", tmp_path)
    warnings = [line for line in done.stdout.splitlines() if line.startswith("     log: ")]
    assert [line for line in warnings if "at 10,000 further large values are refused" in line]
    assert len([line for line in warnings if "returned TooLarge as its result" in line]) == 2


def test_an_example_runs_on_a_server_that_is_named(url: str, tmp_path: Path) -> None:
    done = run("state", tmp_path, "--url", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert_told(done.stdout, TOLD["state"])


def test_an_example_without_its_server_says_so_in_a_line(tmp_path: Path) -> None:
    done = run("state", tmp_path, "--url", f"unix://{tmp_path}/no.sock")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("state", "conversimple", "conversimple"),
        ("persistence", "sqlalchemy", "archive"),
        ("returning", "sqlalchemy", "archive"),
    ],
)
def test_an_example_without_what_it_needs_says_so_in_a_line(name: str, module: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{module!r}] = None")
    done = run(name, tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f'pip install "redstate[{extra}]"' in line


def test_ctrl_c_ends_an_example_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-u", EXAMPLES / "sessions.py"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        last_words = process.communicate(timeout=20)[1]
    assert (process.returncode, last_words) == (130, "")


def test_the_unit_tests_of_the_examples_pass(tmp_path: Path) -> None:
    done = run("unit_test", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 passed" in done.stdout


def test_every_example_is_tested() -> None:
    there = {path.stem for path in EXAMPLES.glob("*.py")}
    assert there == TOLD.keys() | {"unit_test", "_serve"}


# In two processes


class Worker:
    """A process that serves the examples' agents, one job after the other."""

    def __init__(self) -> None:
        self.serving = False
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "example_worker.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def serve(self, *job: Any) -> None:
        self._tell(json.dumps(job))
        self.serving = True

    def stop_serving(self) -> None:
        self.serving = False
        self._tell("")
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != STOPPED:
            pytest.fail(f"a worker died:\n{self._process.communicate(timeout=20)[1]}")

    def end(self) -> None:
        last_words = self._process.communicate(timeout=20)[1]
        assert (self._process.returncode, last_words) == (0, "")

    def kill(self) -> None:
        self.serving = False
        self._process.kill()
        self._process.wait()
        self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    both = [Worker(), Worker()]
    try:
        yield both
        for worker in both:
            worker.end()
    finally:
        for worker in both:
            worker.kill()


class Switchboard(LocalPlatform):
    """A platform that awaits ``go(unchanged)`` beside its call of a number.

    ``unchanged()`` tells whether that call, and those made at once with it, have changed nothing yet.
    """

    def __init__(
        self, store: AsyncStore, at: int, go: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    ) -> None:
        super().__init__()
        self._store, self._at, self._go = store, at, go
        self._number = self._version = 0

    async def call(self, conversation_id: str, *arguments: Any, **options: Any) -> Any:
        async def unchanged() -> bool:
            return await self._store.conversation(conversation_id).version() == self._version

        self._number += 1
        number, call = self._number, super().call(conversation_id, *arguments, **options)
        if number == self._at:
            return (await asyncio.gather(call, self._go(unchanged)))[0]
        answer = await call
        if number == self._at - 1:
            self._version = await self._store.conversation(conversation_id).version()
        return answer


@asynccontextmanager
async def served(workers: list[Worker], platform: LocalPlatform, name: str, *job: Any) -> Any:
    for number, worker in enumerate(workers, 1):
        worker.serve(name, *job, platform.url)
        await platform.wait_for_agents(number, timeout=30)
    try:
        yield
    finally:
        await asyncio.gather(*[asyncio.to_thread(worker.stop_serving) for worker in workers if worker.serving])


async def shop_script(phone: Any) -> None:
    line = await phone.call()
    tea = {"sku": "tea", "quantity": 1, "price": "0.10"}
    await line.use("add_to_cart", **tea)
    await asyncio.gather(*[line.use("add_to_cart", **tea) for _ in range(7)])
    assert await line.use("cart_total") == {"total": "0.80"}
    await line.hang_up()


async def check_state(store: AsyncStore) -> None:
    state = await store.conversation("call-1").state.all()
    assert [wish["wish"] for wish in state["wishes"]] == ["a quiet room", *["tea"] * 8]
    assert (state["calls"], state["preferences"]) == (8, {"language": "German"})


async def check_sessions(store: AsyncStore) -> None:
    conversation = store.conversation("call-1")
    assert await conversation.state.all() == {"saved": 15}
    assert not await conversation.session.authenticated()


async def check_booking(store: AsyncStore) -> None:
    conversation, booking = store.conversation("call-1"), load("booking").BOOKING
    status = await conversation.workflow(booking).status()
    assert (status.step, status.finished, status.data["guests"]) == ("completed", True, 3)
    assert await conversation.state.all() == {"bookings": 1}


async def check_cart(store: AsyncStore) -> None:
    cart = store.conversation("call-1").cart
    assert list(await cart.orders()) == ["call-1-1", "call-1-2"]
    order = await cart.order("call-1-1")
    assert order is not None
    assert (order.total, order.count, order.lines["kettle"].attributes) == (Decimal("52.20"), 4, {"engraving": "Ada"})


async def check_caching(store: AsyncStore) -> None:
    look_ups = [(await store.conversation(call).state.all()).get("look_ups", 0) for call in ("call-1", "call-2")]
    assert sum(look_ups) == 2
    assert await store.cache.get("product:P1") == {"name": "kettle", "price": "39.90"}


async def check_customers(store: AsyncStore) -> None:
    profile = await store.customer("ada").all()
    assert (profile["stems"], len(profile["last_orders"])) == (15, 2)
    assert profile["last_conversation"] in {"call-1", "chat-1"}
    assert all(one.ended_at for one in await store.customer("ada").conversations())


async def check_persistence(store: AsyncStore) -> None:
    assert (await store.load_state("call-1"))["tried"] == ["the plug"]
    assert await store.load_state("call-2") == {}
    assert (await store.load_state("call-3"))["tried"] == ["the plug", "shaking"]


async def check_returning(store: AsyncStore) -> None:
    assert await store.archive.list() == []
    assert await store.customer("ada").all() == {}


async def check_minimal_state(store: AsyncStore) -> None:
    state = await store.conversation("call-1").state.all()
    assert set(state) == {"childhood", "liked_ids", "youth"}
    assert state["liked_ids"] == ["P7", "P300"]


async def check_typed(store: AsyncStore) -> None:
    assert await store.conversation("call-1").state.all() == {"bike": "cargo", "days": 3, "extras": ["a helmet"]}
    assert await store.conversation("call-2").state.all() == {"bike": "tandem", "weeks": 2}


async def check_shop(store: AsyncStore) -> None:
    cart = store.conversation("call-1").cart
    assert (await cart.count(), await cart.total()) == (8, Decimal("0.80"))


CHECKS: dict[str, Callable[[AsyncStore], Awaitable[None]]] = {name: globals()[f"check_{name}"] for name in TOLD}


# Beside which call the first process goes: the first of several at once, where an example has such.
GOES_AT = {
    # Not the last ones, four at once: all of them may be answered before the process goes.
    "booking": 4,
    "caching": 2,
    "cart": 9,
    "customers": 5,
    "minimal_state": 4,
    "persistence": 3,
    "returning": 3,
    "sessions": 5,
    "shop": 2,
    "state": 3,
    "typed": 5,
}
KILLED = ("booking", "cart", "shop", "state")


@pytest.mark.parametrize(
    ("name", "goes"), [(name, "stops") for name in sorted(TOLD)] + [(name, "is killed") for name in KILLED]
)
def test_an_example_is_served_by_two_processes_of_which_one_goes(
    name: str,
    goes: str,
    workers: list[Worker],
    url: str,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    database = tmp_path / "conversations.db"
    monkeypatch.setenv("CONVERSATIONS_DB", str(database))
    example = example_of(name)
    serve = importlib.import_module("_serve")

    async def scenario() -> None:
        gone = asyncio.Event()

        async def go(unchanged: Callable[[], Awaitable[bool]]) -> None:
            if goes == "stops":
                await asyncio.to_thread(workers[0].stop_serving)
            else:
                async with asyncio.timeout(30):
                    while await unchanged():
                        pass
                workers[0].kill()
                workers[0] = Worker()  # for the next test
            gone.set()

        async with AsyncStore.from_url(url, key_prefix=prefix, **example.options) as store:
            async with Switchboard(store, GOES_AT[name], go) as platform:
                phone = serve.Phone(platform, store, relieve=gone.wait)
                async with served(workers, platform, name, {"CONVERSATIONS_DB": str(database)}, url, prefix):
                    await (example.script or shop_script)(phone)
                    assert [agent.id for agent in platform.agents] == ["agent-2"]
                assert (platform.misrouted, platform.unanswered()) == ((), ())
            assert set(phone.answers) == {"agent-1", "agent-2"}
            await example.afterwards(store)
            await CHECKS[name](store)

    asyncio.run(scenario())
    assert_told(capsys.readouterr().out, TOLD[name])
    if name == "persistence":
        with SqlArchive(database) as archive:
            assert len(archive.conversations_of("ada")) == 3
