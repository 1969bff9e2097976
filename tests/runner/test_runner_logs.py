"""How log lines look, and what they never show."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import pytest

from redstate._redaction import Redaction
from redstate.conversimple._binding import Binding, bound
from redstate.conversimple.runner.logs import JsonFormatter, TextFormatter
from redstate.conversimple.runner.reports import EventForwarder, Reports

REDACTION = Redaction("key-0123456789", "key")


def record(message: str, *arguments: object, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("shop").makeRecord("shop", logging.INFO, "f.py", 1, message, arguments, None, extra=extra)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at redis://user:pa:ss@host:1/0", "at redis://***@host:1/0"),
        ("rediss://:p@ss@host and redis://host", "rediss://***@host and redis://host"),
        ("ws://h/p?customer_id=c&auth_token=abc&x=1", "ws://h/p?customer_id=c&auth_token=***&x=1"),
        ("key-0123456789 is the key", "*** is the key"),
        ("mail me@example.com", "mail me@example.com"),
    ],
)
def test_credentials_are_blotted_out(text: str, shown: str) -> None:
    assert REDACTION(text) == shown
    assert json.loads(JsonFormatter(REDACTION, 1).format(record("%s", text)))["message"] == shown
    assert TextFormatter(REDACTION, 1).format(record("%s", text)).endswith(shown)


def test_a_json_line_has_the_traceback_and_the_fields_that_are_json() -> None:
    try:
        raise ValueError("at redis://:secret@host")
    except ValueError:
        entry = record(
            "failed\nbadly", event="lost", seconds=1.5, thing=object(), conversation_id="c9", where=["redis://:x@h"]
        )
        entry.exc_info = sys.exc_info()
    text = JsonFormatter(REDACTION, None).format(entry)
    line = json.loads(text)
    assert "\n" not in text
    assert line["traceback"].endswith("ValueError: at redis://***@host")
    assert (line["message"], line["worker"], line["pid"]) == ("failed\nbadly", None, os.getpid())
    assert (line["event"], line["seconds"], line["conversation_id"]) == ("lost", 1.5, "c9")
    assert line["where"] == ["redis://***@h"]
    assert "thing" not in line and "call_id" not in line


def test_lines_logged_in_a_call_name_it() -> None:
    with bound(Binding(None, "c1", "call-1")):
        line = json.loads(JsonFormatter(REDACTION, 3).format(record("hello")))
        text = TextFormatter(REDACTION, 3).format(record("hello"))
    assert (line["worker"], line["conversation_id"], line["call_id"]) == (3, "c1", "call-1")
    assert text.endswith("INFO     worker 3  hello  conversation_id=c1  call_id=call-1")


def test_events_that_the_parent_does_not_read_are_dropped_and_hold_nobody_up() -> None:
    reading, writing = os.pipe()
    try:
        forwarder = EventForwarder(Reports(writing), REDACTION)
        forwarder.emit(record("too long", event="e", text="x" * 10_000))
        forwarder.emit(record("no event"))
        for _ in range(2_000):
            forwarder.emit(record("redis://:secret@host", event="e"))
        lines = os.read(reading, 1 << 20).splitlines()
        assert 0 < len(lines) < 2_000
        assert all(json.loads(line)["message"] == "redis://***@host" for line in lines)
        os.close(reading)
        forwarder.emit(record("gone", event="e"))
    finally:
        os.close(writing)


def test_more_agents_than_fit_into_a_report_do_not_hide_that_the_worker_is_ready() -> None:
    reading, writing = os.pipe()
    try:
        Reports(writing).agents("ready", [f"agent-{number}" for number in range(1_000)])
        report = json.loads(os.read(reading, 1 << 20))
        assert report["type"] == "ready"
        assert 100 < len(report["agents"]) < 1_000
    finally:
        os.close(reading)
        os.close(writing)
