"""Real servers for tests: plain ones of each kind, and ones in every awkward condition. All of them die with pytest."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from redstate import errors
from redstate.embedded import EmbeddedServer

PASSWORD = "correct horse#battery"
VALKEY = "valkey"
REDIS = "redis"
FAKE = "fake"  # no server, but an imitation for users' unit tests; see redstate.testing.fake
LOADED_KEYS = 10_000  # what a loading server holds in the end


@dataclass
class RunningServer:
    """A server under test.

    ``url`` goes through the unix socket unless the server has none for the purpose; ``tcp_url`` through 127.0.0.1.
    ``embedded`` is the process behind it.
    """

    embedded: EmbeddedServer
    url: str
    tcp_url: str
    admin: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def pid(self) -> int:
        return self.embedded.pid

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        return port_of(self.tcp_url)

    def command(self, *arguments: str | bytes | int) -> Any:
        """Run one command as an administrator and return redis-py's reading of the reply."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        client = redis.Redis(unix_socket_path=self.embedded.socket_path, retry=Retry(NoBackoff(), 0), **self.admin)
        try:
            return client.execute_command(*arguments)
        finally:
            client.close()


def port_of(url: str) -> int:
    return int(url.partition("://")[2].partition("?")[0].rpartition(":")[2].partition("/")[0])


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_until(condition: Any, what: str, timeout: float = 10.0) -> None:
    """Wait until ``condition()`` is true; fail the test with ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout:g} s: {what}")
        time.sleep(0.002)


def require_redis_server() -> str:
    """The path of redis-server. Without one the test is skipped on a laptop and fails in CI."""
    binary = shutil.which("redis-server")
    if binary is None:
        reason = "redis-server is not on PATH"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return binary


def server_kinds() -> list[str]:
    """The kinds of server that can be started here; the bundled one always is among them."""
    return [VALKEY, REDIS] if shutil.which("redis-server") or os.environ.get("CI") else [VALKEY]


@contextmanager
def server(kind: str = VALKEY, **config: str) -> Iterator[RunningServer]:
    """A server of one of the :func:`server_kinds`; ``config`` takes directives with ``_`` in place of ``-``."""
    binary = require_redis_server() if kind == REDIS else None
    with EmbeddedServer.start(binary=binary, config=_directives(config), tcp=True) as embedded:
        assert embedded.tcp_url is not None
        yield RunningServer(embedded, embedded.url, embedded.tcp_url)


@contextmanager
def debian_redis(**config: str) -> Iterator[RunningServer]:
    """The system's redis-server."""
    with server(REDIS, **config) as running:
        yield running


@contextmanager
def with_password(kind: str = VALKEY, password: str = PASSWORD) -> Iterator[RunningServer]:
    """A server that asks for a password. ``command`` knows it; ``url`` and ``tcp_url`` do not."""
    with server(kind, requirepass=f'"{password}"') as running:
        running.admin = {"password": password}
        yield running


@contextmanager
def with_user(*rules: str, name: str = "app", kind: str = VALKEY, password: str = PASSWORD) -> Iterator[RunningServer]:
    """A server with a second user that may do what the ACL ``rules`` say, such as ``"~*", "&*", "+@all", "-evalsha"``.

    ``command`` runs as the default user; ``url`` and ``tcp_url`` name no user.
    """
    with server(kind) as running:
        running.command("ACL", "SETUSER", name, "reset", "on", f">{password}", *rules)
        yield running


@contextmanager
def replica_of(primary: RunningServer, kind: str = VALKEY) -> Iterator[RunningServer]:
    """A read-only replica of ``primary`` that has caught up with it."""
    primary.command("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    with server(kind, replicaof=f"127.0.0.1 {primary.port}") as replica:
        wait_until(
            lambda: replica.command("INFO", "replication")["master_link_status"] == "up", "the replica is in sync"
        )
        yield replica


@contextmanager
def full_server(kind: str = VALKEY) -> Iterator[RunningServer]:
    """A server that refuses to store more. Use :func:`fill` to fill one later."""
    with server(kind) as running:
        fill(running)
        yield running


def fill(running: RunningServer) -> None:
    """Make a server refuse whatever needs memory: its cap of 1 MB is used up by a key of our own."""
    running.command("SET", "filler", b"x" * 1_100_000)
    running.command("CONFIG", "SET", "maxmemory", "1mb")


@contextmanager
def loading_server(kind: str = VALKEY) -> Iterator[RunningServer]:
    """A server that reads its data set, and does so until the end of the test or :func:`finish_loading`."""
    # Each of the keys takes 0.01 s to load, so all would take minutes; the server answers after each of them.
    config = {"enable_debug_command": "yes", "loading_process_events_interval_bytes": "1024", "rdbcompression": "no"}
    with server(kind, **config) as running:
        running.command("DEBUG", "POPULATE", LOADED_KEYS, "key", 1100)
        running.command("CONFIG", "SET", "key-load-delay", 10_000)
        with socket.socket(socket.AF_UNIX) as reloading:
            reloading.connect(running.embedded.socket_path)
            reloading.sendall(b"DEBUG RELOAD\r\n")
            wait_until(lambda: is_loading(running), "the server loads")
            yield running


def is_loading(running: RunningServer) -> bool:
    import redis

    try:
        running.command("PING")
    except redis.BusyLoadingError:
        return True
    return False


def finish_loading(running: RunningServer) -> None:
    """Let a loading server come to its end at once."""
    running.command("CONFIG", "SET", "key-load-delay", 0)
    wait_until(lambda: not is_loading(running), "the server has loaded")


@dataclass(frozen=True)
class Certificates:
    authority: Path
    certificate: Path
    key: Path


@contextmanager
def tls_server(folder: Path, *, mutual: bool = False) -> Iterator[tuple[RunningServer, Certificates]]:
    """A server with TLS for ``localhost`` and 127.0.0.1; ``tcp_url`` names its authority.

    The bundled server has no TLS, so this is the system's redis-server. With ``mutual`` it accepts only clients that
    show a certificate of the same authority; the server's own will do.
    """
    made = make_certificates(folder)
    config = {
        "tls-cert-file": str(made.certificate),
        "tls-key-file": str(made.key),
        "tls-ca-cert-file": str(made.authority),
        "tls-auth-clients": "yes" if mutual else "no",
    }
    with _on_a_free_port("tls-port", config, require_redis_server()) as (embedded, port):
        options = urlencode({"ssl_ca_certs": made.authority})
        yield RunningServer(embedded, embedded.url, f"rediss://localhost:{port}/0?{options}"), made


@contextmanager
def _on_a_free_port(directive: str, config: Mapping[str, str], binary: str) -> Iterator[tuple[EmbeddedServer, int]]:
    for _ in range(10):
        port = free_port()
        try:
            embedded = EmbeddedServer.start(binary=binary, config={**config, directive: str(port)})
        except errors.ConfigurationError as error:
            if "Address already in use" not in error.message:
                raise
            continue
        with embedded:
            yield embedded, port
        return
    pytest.fail("no free port in 10 attempts")


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and a certificate for localhost that it signed, with openssl."""
    made = Certificates(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    authority_key = folder / "authority.key"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    request, extensions = folder / "server.csr", folder / "server.ext"
    # Python 3.13 verifies strictly: key identifiers and an authority's key usage must be there.
    extensions.write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    _openssl(
        "req", "-x509", *new_key, "-days", "2", "-subj", "/CN=test authority",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", authority_key, "-out", made.authority,
    )  # fmt: skip
    _openssl("req", *new_key, "-subj", "/CN=localhost", "-keyout", made.key, "-out", request)
    _openssl(
        "x509", "-req", "-days", "2", "-in", request, "-CA", made.authority, "-CAkey", authority_key,
        "-CAcreateserial", "-extfile", extensions, "-out", made.certificate,
    )  # fmt: skip
    return made


def _openssl(*arguments: str | Path) -> None:
    if shutil.which("openssl") is None:
        pytest.fail("openssl is not on PATH") if os.environ.get("CI") else pytest.skip("openssl is not on PATH")
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _directives(config: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in config.items()}
