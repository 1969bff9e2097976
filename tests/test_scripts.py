"""The Lua scripts: headers that tell the truth, includes that resolve, and a wheel that carries them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis

from redstate import CartLimits, Limits, Step, Workflow, _keys, _scripts, errors
from redstate._call import Mutation, Query
from redstate._codec import Codec
from redstate._replies import SCRIPT_CODES
from redstate.calls import (
    cache,
    cart,
    cart_order,
    customer,
    due,
    hooks,
    image,
    lifetime,
    ownership,
    record,
    session,
    state,
    toolcalls,
    workflow,
)
from redstate.calls.commit import Commit
from redstate.calls.toolcalls import CallName

REPOSITORY = Path(__file__).resolve().parent.parent
NAMES = _scripts.names()
KEY = "rs:{conv:c}"
# What a script's header calls its key, and the key that the calls below have for it.
KEYS = {"record": KEY, "owners": "rs:{owners}", "holdings": "rs:{owner:o}", "index": "rs:{due:00}"}
IN_PART_0 = next(str(one) for one in range(1000) if _keys.due_key("rs", str(one)) == KEYS["index"])
TOOL_CALL = CallName(KEY, "p" * 16)
FLOW = Workflow("flow", [Step("a", next="b"), Step("b", final=True)])
SHARED = ("writer", "op", "ttl_ms", "guards")
# What an application user is granted, as far as scripts may need it.
ALLOWED = {
    "HGET",
    "HMGET",
    "HGETALL",
    "HEXISTS",
    "HLEN",
    "HSCAN",
    "HSET",
    "HDEL",
    "HINCRBY",
    "HSTRLEN",
    "HKEYS",
    "EXISTS",
    "DEL",
    "UNLINK",
    "TYPE",
    "PEXPIRE",
    "PERSIST",
    "PTTL",
    "TIME",
    "ZADD",
    "ZREM",
    "ZRANGEBYSCORE",
    "ZREMRANGEBYSCORE",
    "ZSCORE",
    "ZCARD",
    "PUBLISH",
    "SPUBLISH",
}


def every_call() -> list[Mutation[Any] | Query[Any]]:
    """One call, at least, of each script, made by the builders that users reach."""
    codec = Codec(Limits())
    return [
        state.assign(codec, KEY, {"a": 1}),
        state.assign(codec, KEY, {"a": 1, "b": 2}),
        state.delete(codec, KEY, ("a", "b")),
        state.increment(codec, KEY, "n", 1),
        state.extend(codec, KEY, "list", ("x",)),
        hooks.claim(KEY, 1000, "hshop:started", "0" * 32, 15.0),
        hooks.done(KEY, 1000, "hshop:started", "0" * 32),
        ownership.claim(KEY, 1000, "o"),
        ownership.release(KEY, "o"),
        ownership.beat("rs", 3.0, ("o",), ("p",)),
        ownership.leave("rs", "o"),
        ownership.alive("rs", "o"),
        ownership.hold("rs", "o", 1000, "c", "shop"),
        toolcalls.begin(TOOL_CALL, 1000, 1, "a" * 32, b"{}"),
        toolcalls.post(TOOL_CALL, 1000, b"{}"),
        toolcalls.finish(TOOL_CALL, 1000, 1, "a" * 32, b"[]"),
        toolcalls.unanswered(KEY),
        toolcalls.sent(TOOL_CALL),
        Commit().expect("sa", b"1").set("sa", b"2").delete("sb").stamp("t").call(codec.limits, KEY),
        cart.add(codec.limits, KEY, "sku", 1, Decimal("1.5")),
        cart.add(codec.limits, KEY, "sku", 1, None),
        cart.set_quantity(KEY, "sku", 1),
        cart.add(codec.limits, KEY, "sku", 1, None, cart.attribute_options(codec, "sku", {"size": "L"})),
        cart.set_quantity(KEY, "sku", 1, CartLimits(max_pieces=9).words),
        cart.set_attributes(codec, KEY, "sku", {"size": "L"}),
        cart.remove(KEY, "sku"),
        cart.clear(KEY),
        cart.start_over(KEY),
        cart_order.checkout(KEY, "order-1"),
        customer.note(codec, KEY, "bought", {"sku": "sku"}),
        record.delete(KEY),
        lifetime.begin(KEY, 1, "cust"),
        lifetime.end(KEY, "ended", "cust"),
        lifetime.merged(KEY, 1),
        lifetime.collect(KEY, 60.0),
        lifetime.archived(KEY, 1, 60.0),
        lifetime.erase(KEY, 1, "cust", 1),
        lifetime.forgotten(KEY, 1, 1000),
        customer.erase(KEY),
        lifetime.reopen(KEY, 1000),
        lifetime.restore(KEY, 1000, 1, 1, {b"sa": b"1"}),
        due.register("rs", IN_PART_0, 60.0, 30.0),
        due.at_once("rs", IN_PART_0, 1),
        due.claim("rs", 0, 60.0, 10),
        due.settle("rs", due.Claimed(0, 1, ("c",)), [(due.DONE, "c")]),
        record.settle(KEY),
        record.touch(KEY, 1000),
        cache.get(KEY),
        cache.claim(KEY, "0" * 32, 1000, ""),
        cache.store(codec, KEY, "0" * 32, "value", 1000, 0, {"rs:{tag:t}": "1" * 32}),
        cache.assign(codec, KEY, "0" * 32, "value", 1000, {}),
        cache.release(KEY, "0" * 32),
        cache.new_mark(KEY, "0" * 32, 1000),
        record.remaining(KEY),
        image.read(KEY, 0.0),
        cache.delete(KEY),
        workflow.read(codec, KEY, FLOW),
        workflow.repeat(codec, KEY, FLOW, "a"),
        session.login(codec, KEY, "user-7", "ada", 900, 60, {}),
        session.logout(KEY),
        session.read(codec, KEY),
        session.touch(KEY, 1000),
        session.attempt(KEY, "user", "abcdefgh", 5, 300, None),
    ]


CALLS = [call for call in every_call() if call.script is not None]


def as_text(word: str | bytes | int) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def code_of(name: str) -> str:
    """A script's source without comments."""
    return re.sub(r"--[^\n]*", "", _scripts.load(name).source)


def test_every_script_is_built_by_some_call() -> None:
    assert {call.script.name for call in CALLS if call.script} == set(NAMES)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.script.name)
def test_a_call_sends_the_arguments_that_the_header_names(call: Mutation[Any] | Query[Any]) -> None:
    assert call.script is not None
    header = call.script.header
    if isinstance(call, Mutation):
        assert header.argv[:4] in {SHARED, ("writer", "op", "window_ms", "guards")}
        sent, named = len(call.args), header.argv[4:]
    else:
        assert [as_text(word) for word in call.words[:4]] == ["EVALSHA", call.script.sha, "1", KEYS[header.keys[0]]]
        sent, named = len(call.words) - 4, header.argv
    if named and "..." in named[-1]:
        group = named[-1].removesuffix("...").count(",") + 1
        least = 0 if named[-1].startswith("option,") else group
        assert sent >= len(named) - 1 + least and (sent - len(named) + 1) % group == 0
    else:
        assert sent == len(named)


@pytest.mark.parametrize("name", NAMES)
def test_the_header_names_every_argument_that_the_script_reads(name: str) -> None:
    header, code = _scripts.load(name).header, code_of(name)
    read = {int(number) for number in re.findall(r"\b(?:args|ARGV)\[(\d+)\]", code)}
    read |= {int(number) for number in re.findall(r"unpack\((?:args|ARGV), (\d+)\)", code)}
    assert max(read, default=0) <= len(header.argv)
    assert len(header.keys) == 1 and header.keys[0] in KEYS and "KEYS[2]" not in code


@pytest.mark.parametrize("name", NAMES)
def test_the_header_names_exactly_the_errors_that_occur(name: str) -> None:
    script = _scripts.load(name)
    assert set(re.findall(r"\bRS[A-Z]+\b", code_of(name))) == set(script.header.errors)
    assert set(script.header.errors) <= SCRIPT_CODES


def test_every_known_code_can_occur() -> None:
    assert {code for name in NAMES for code in _scripts.load(name).header.errors} == SCRIPT_CODES


@pytest.mark.parametrize("name", NAMES)
def test_error_replies_are_fixed_codes_with_at_most_a_number(name: str) -> None:
    for reply in re.findall(r"error_reply\(([^\n]*?)\)(?: end|\s)", code_of(name)):
        assert re.fullmatch(
            r"'RS[A-Z]+ \w+'|\"NOPERM [a-z' ]+\"|'RS[A-Z]+ ' \.\. (rec\[2\]|#list|current|verdict|hex|weight|place)",
            reply,
        ), reply


def test_tags_tell_the_scripts_apart() -> None:
    tags = [tag for name in NAMES for tag in re.findall(r"\bargs, tag = [^\n]*?'(\w+)'", code_of(name))]
    assert len(set(tags)) == len(tags) >= 8
    assert all(re.fullmatch("[a-z]{1,2}", tag) for tag in tags)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_uses_only_commands_that_an_application_user_is_granted(name: str) -> None:
    code = code_of(name)
    commands = set(re.findall(r"\b(?:call|pcall)\('([^']+)'", code))
    assert commands and commands <= ALLOWED
    assert not re.search(r"\b(cjson|cmsgpack|loadstring|KEYS \*)\b|\b(?:call|pcall)\([^']", code)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_returns_text_so_that_no_number_is_bent(name: str) -> None:
    for value in re.findall(r"\breturn ([^\n]+?)(?: end)?$", code_of(name), re.MULTILINE):
        assert re.fullmatch(
            r"'-?[\drd ]+'|answer|value|answer \.\. '\w+'|redis\.error_reply\(.*\)|tostring\(.*\)|'' \.\. .*", value
        ), value


@pytest.mark.parametrize("name", NAMES)
def test_a_header_says_what_a_script_is_for_and_what_it_costs(name: str) -> None:
    header = _scripts.load(name).header
    assert len(header.purpose) > 20
    assert header.cost.startswith("O(")
    assert header.returns


def test_the_server_knows_each_script_by_our_sha(server: Any) -> None:
    client = redis.Redis.from_url(server.url)
    for name in NAMES:
        script = _scripts.load(name)
        assert client.script_load(script.source) == script.sha == hashlib.sha1(script.source.encode()).hexdigest()
    client.close()


# Includes -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "include").mkdir()
    return tmp_path


def write(folder: Path, source: str, **includes: str) -> Path:
    for name, text in includes.items():
        (folder / "include" / f"{name}.lua").write_text(text)
    path = folder / "script.lua"
    path.write_text(source)
    return path


def test_includes_are_put_in_place_also_inside_one_another(folder: Path) -> None:
    path = write(folder, "a\n-- @include one\nd\n", one="b\n  -- @include two\n", two="c\n")
    assert _scripts.assemble(path) == "a\nb\nc\nd\n"


@pytest.mark.parametrize(
    ("source", "includes", "problem"),
    [
        ("-- @include one\n", {"one": "-- @include one\n"}, "cycle"),
        ("-- @include one\n", {"one": "-- @include two\n", "two": "-- @include one\n"}, "cycle"),
        ("-- @include one\n-- @include one\n", {"one": "x\n"}, "twice"),
        ("-- @include one\n-- @include two\n", {"one": "-- @include two\n", "two": "x\n"}, "twice"),
        ("-- @include nothing\n", {}, "nothing"),
    ],
)
def test_bad_includes_are_refused(folder: Path, source: str, includes: dict[str, str], problem: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=problem):
        _scripts.assemble(write(folder, source, **includes))


@pytest.mark.parametrize("name", NAMES)
def test_no_include_is_left_in_an_assembled_script(name: str) -> None:
    assert "@include" not in _scripts.load(name).source


@pytest.mark.parametrize("missing", ["KEYS", "ARGV", "RETURNS", "ERRORS", "COST"])
def test_a_header_without_one_of_its_parts_is_refused(missing: str) -> None:
    lines = [
        "-- name: does something",
        "-- KEYS    1 record",
        "-- ARGV    1 a",
        "-- RETURNS x",
        "-- ERRORS",
        "-- COST    O(1)",
    ]
    source = "\n".join(line for line in lines if not line.startswith(f"-- {missing}"))
    with pytest.raises(errors.ConfigurationError, match=missing):
        _scripts.parse_header("name", source)


def test_a_header_that_miscounts_its_arguments_is_refused() -> None:
    source = "-- name: x\n-- KEYS    1 record\n-- ARGV    1 a  3 b\n-- RETURNS x\n-- ERRORS\n-- COST    O(1)\n"
    with pytest.raises(errors.ConfigurationError):
        _scripts.parse_header("name", source)


def test_an_unknown_script_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError):
        _scripts.load("no_such_script")


# Installations --------------------------------------------------------------------------------------------------------

USE = """
import sys, redstate
from redstate import _scripts
with redstate.Store.from_url(sys.argv[1], key_prefix=sys.argv[2]) as store:
    cart = store.conversation("c").cart
    print(cart.add("sku", 2, "9.99"), cart.total(), _scripts.directory())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=110)
    (built,) = folder.glob("*.whl")
    yield built


def outside(folder: Path, python: Path | str, server: Any, prefix: str) -> list[str]:
    """Use redstate from a folder that has no repository around it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        [str(python), "-c", USE, server.url, prefix],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.split(maxsplit=2)


@pytest.mark.timeout(240)
def test_an_installed_wheel_runs_its_own_scripts(wheel: Path, tmp_path: Path, server: Any, prefix: str) -> None:
    home = tmp_path / "empty"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, timeout=110)
    quantity, total, scripts = outside(tmp_path, python, server, prefix)
    assert (quantity, total) == ("2", "19.98")
    assert Path(scripts.strip()).is_relative_to(home)
    assert sorted(path.name for path in Path(scripts.strip()).glob("*.lua")) == [f"{name}.lua" for name in NAMES]


def test_a_checkout_runs_the_scripts_of_the_repository(tmp_path: Path, server: Any, prefix: str) -> None:
    assert Path(outside(tmp_path, sys.executable, server, prefix)[2].strip()) == REPOSITORY / "lua"
