"""The servers under measurement, what they say of themselves, and which core who runs on."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import redis

from redstate import errors
from redstate.embedded import EmbeddedServer, find_binary

BUNDLED = "bundled"


def cores() -> list[int]:
    """The cores that this process may use; empty where processes cannot be pinned."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


ALL_CORES = cores()
SERVER_CORE = ALL_CORES[0] if ALL_CORES else None
# The driver's own core where there are two; else it shares the server's.
CLIENT_CORE = ALL_CORES[1] if len(ALL_CORES) > 1 else SERVER_CORE


def binary_of(server: str) -> str | None:
    """The binary to start; None lets the embedded server choose the bundled one."""
    return None if server == BUNDLED else server


def every_server(chosen: str) -> list[str]:
    """The chosen server, the bundled one and the redis-server on PATH, each once."""
    found = {}
    for name in (chosen, BUNDLED, "redis-server"):
        if name == BUNDLED:
            try:
                path = find_binary()
            except errors.NoServer:
                continue
        else:
            path = shutil.which(name) or ""
        if path:
            found.setdefault(Path(path).resolve(), name)
    return list(found.values())


@contextlib.contextmanager
def running(server: str, config: Mapping[str, str] | None = None) -> Iterator[EmbeddedServer]:
    """A private server on loopback TCP, as all contenders use it, pinned to the server's core."""
    with EmbeddedServer.start(binary=binary_of(server), config=config, tcp=True) as started:
        pin(SERVER_CORE, started.pid)
        yield started


def pin(core: int | None, pid: int = 0) -> None:
    """Keep every thread of a process on one core; 0 stands for this process."""
    if core is not None:
        _set_affinity({core}, pid)


def unpin() -> None:
    """Let this process use every core again."""
    if ALL_CORES:
        _set_affinity(set(ALL_CORES), 0)


def _set_affinity(wanted: set[int], pid: int) -> None:
    for thread in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # a thread that ended meanwhile
            os.sched_setaffinity(int(thread.name), wanted)


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """This process on one core, for a while."""
    pin(core)
    try:
        yield
    finally:
        unpin()


def admin(server: EmbeddedServer) -> redis.Redis:
    """A redis-py client for INFO and the like."""
    return redis.Redis.from_url(url_of(server))


def url_of(server: EmbeddedServer) -> str:
    assert server.tcp_url is not None
    return server.tcp_url


def address_of(server: EmbeddedServer) -> tuple[str, int]:
    host, _, port = url_of(server).rpartition("/")[2].partition(":")
    return host, int(port)


def version_of(server: EmbeddedServer) -> str:
    """What the server is, such as ``Valkey 9.1.0``."""
    with admin(server) as client:
        info = client.info("server")
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}"


def cpu_seconds(client: redis.Redis) -> float:
    """CPU that the server has used so far."""
    info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
