"""Which server to use, and how to reach it: redis-py reads URLs and clients, and what our transports need comes out.

redis-py takes a tenth of a second to import, so it is imported where it is used.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from redstate import _sentinel, errors
from redstate._tls import TLS_OPTIONS, context_of, listed, speaks_tls
from redstate.embedded import EmbeddedServer, find_binary

logger = logging.getLogger("redstate")

_SCHEMES = ("redis", "rediss", "unix")
_ENCODE_HINT = (
    'Percent-encode the characters / ? # @ : % of a user name or password (urllib.parse.quote(text, safe=""))'
)
_CLUSTER = "Redis Cluster is not supported yet"
_CLUSTER_STEP = "Pass the URL of a single server or a Sentinel client to redstate"


@dataclass(frozen=True)
class Endpoint:
    """How to reach one server.

    Attributes:
        host: name or address; unused with ``path``, and not known before :meth:`resolve` with a Sentinel.
        port: TCP port.
        path: the unix socket, or None for TCP.
        db: number of the database.
        username: ACL user, or None for the default one. See :meth:`credentials`.
        password: its password, or None.
        ssl_context: wraps the connection; None for a plain one.
        server_hostname: the name that the server's certificate is held against; None without TLS, and with a
            Sentinel, where it is the host that :meth:`resolve` returned.
        connect_timeout: seconds that the injected client or the URL allows for connecting; None if they don't say.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl_context: ssl.SSLContext | None = None
    server_hostname: str | None = None
    connect_timeout: float | None = None
    credential_provider: Any = field(default=None, repr=False)
    sentinel_pool: Any = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Where the server is, without credentials: safe to log."""
        if self.sentinel_pool is not None:
            return f"sentinel:{self.sentinel_pool.service_name}"
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells this server, as this user sees it, from others."""
        where: tuple[object, ...] = (self.address,)
        if self.sentinel_pool is not None:
            where += tuple(_sentinel.nodes(self.sentinel_pool))
        return (*where, self.db, self.username, self.ssl_context is not None)

    def for_threads(self) -> Endpoint:
        """The same, for a thread that blocks: with a Sentinel client of its own where there is an asyncio one."""
        if self.sentinel_pool is None or not _sentinel.is_async(self.sentinel_pool):
            return self
        return replace(self, sentinel_pool=_sentinel.blocking_pool(self.sentinel_pool))

    def credentials(self) -> tuple[str | None, str | None]:
        """User name and password for a connection that is being made; a credential provider is asked each time.

        Whatever a credential provider raises passes through.
        """
        if self.credential_provider is None:
            return self.username, self.password
        return _user_and_password(self.credential_provider.get_credentials())

    async def credentials_async(self) -> tuple[str | None, str | None]:
        """As :meth:`credentials`, without blocking the event loop."""
        if self.credential_provider is None:
            return self.username, self.password
        if hasattr(self.credential_provider, "get_credentials_async"):
            return _user_and_password(await self.credential_provider.get_credentials_async())
        return _user_and_password(await asyncio.to_thread(self.credential_provider.get_credentials))

    def resolve(self) -> tuple[str, int]:
        """Host and port to connect to now; with a Sentinel, those of the present primary.

        Raises:
            ServerUnavailable: no Sentinel answered, or none knows a primary.
            ConfigurationError: the Sentinel client is an asyncio one and can only serve an AsyncStore.
        """
        if self.sentinel_pool is None:
            return self.host, self.port
        if _sentinel.is_async(self.sentinel_pool):
            raise errors.ConfigurationError(
                "The injected Sentinel client is an asyncio one", next_step="Use AsyncStore, or inject a sync client"
            )
        return _sentinel.ask(self.sentinel_pool, self.address)

    async def resolve_async(self) -> tuple[str, int]:
        """As :meth:`resolve`, for Sentinel clients of both kinds, without blocking the event loop."""
        if self.sentinel_pool is None:
            return self.host, self.port
        if _sentinel.is_async(self.sentinel_pool):
            return await _sentinel.ask_async(self.sentinel_pool, self.address)
        return await asyncio.to_thread(_sentinel.ask, self.sentinel_pool, self.address)


def open_server(url: str | None = None) -> tuple[Endpoint, EmbeddedServer | None]:
    """Decide which server to use: the argument, else REDSTATE_URL, else REDIS_URL, else a new embedded server.

    The last is said by a warning on the logger "redstate".

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``; None to look further.

    Returns:
        How to reach the server, and the embedded server if one was started; the caller closes that.

    Raises:
        NoServer: nothing was named and there is no server to start.
        ConfigurationError: the URL cannot work, or the embedded server did not start.
    """
    if url is not None:
        return endpoint_from_url(url), None
    for variable in ("REDSTATE_URL", "REDIS_URL"):
        if os.environ.get(variable):
            return _endpoint_from_variable(variable), None
    server = EmbeddedServer.start(binary=find_binary())
    # Whoever forgets the variable in production would otherwise learn of it by lost conversations.
    logger.warning(
        "REDSTATE_URL is not set: the data is in a private server of this process, which ends with the process "
        "and is shared with no other one"
    )
    return endpoint_from_url(server.url), server


def _endpoint_from_variable(variable: str) -> Endpoint:
    try:
        return endpoint_from_url(os.environ[variable])
    except errors.ConfigurationError as error:
        raise errors.ConfigurationError(f"{variable}: {error.message}", next_step=error.next_step) from None


def endpoint_from_url(url: str) -> Endpoint:
    """Read a URL as redis-py does, but refuse what redis-py would ignore or guess.

    Args:
        url: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS with redis-py's ``ssl_`` options in
            the query, or ``unix://[user:password@]/path/to.sock[?db=0]``.

    Raises:
        ConfigurationError: names what is wrong with the URL, without its credentials.
    """
    scheme = _scheme(url)
    _check_location(url, scheme)
    options = _parsed(url)
    tls_options = {name for name in options if name.startswith("ssl_")}
    if tls_options and scheme != "rediss":
        raise errors.ConfigurationError(f"The URL has {listed(tls_options)} but no TLS", next_step="Use rediss://")
    if tls_options - TLS_OPTIONS:
        raise errors.ConfigurationError(f"The URL has TLS options that redstate does not know: "
                                        f"{listed(tls_options - TLS_OPTIONS)}")  # fmt: skip
    return _endpoint(options, tls=scheme == "rediss")


def endpoint_from_client(client: Any) -> Endpoint:
    """Read how an injected client reaches its server. The client itself is neither used for calls nor closed.

    Args:
        client: a ``redis.Redis``, ``redis.asyncio.Redis``, ``valkey.Valkey`` or ``valkey.asyncio.Valkey``, also one
            that a Sentinel's ``master_for`` made. Its host, credentials, TLS settings and ``socket_connect_timeout``
            count; its other timeouts, its retries and ``decode_responses`` do not.

    Raises:
        ConfigurationError: it is no such client, a cluster client, or a Sentinel client for replicas.
    """
    kind = f"{type(client).__module__}.{type(client).__qualname__}"
    if hasattr(client, "nodes_manager"):
        raise errors.ConfigurationError(f"{_CLUSTER}, and the client is a {kind}", next_step=_CLUSTER_STEP)
    pool = getattr(client, "connection_pool", None)
    options = getattr(pool, "connection_kwargs", None)
    if pool is None or not isinstance(options, dict):
        raise errors.ConfigurationError(f"{kind} is no client of redis-py", next_step="Pass a redis.Redis or a URL")
    sentinel_pool = pool if hasattr(pool, "sentinel_manager") else None
    if sentinel_pool is not None and not sentinel_pool.is_master:
        raise errors.ConfigurationError(
            "The Sentinel client is one for replicas, which take no writes", next_step="Make it with master_for()"
        )
    return _endpoint(options, tls=speaks_tls(pool.connection_class), sentinel_pool=sentinel_pool)


def _scheme(url: str) -> str:
    if not isinstance(url, str):
        raise errors.ConfigurationError(f"The URL must be a str, not {type(url).__name__}")
    scheme, separator, _ = url.partition("://")
    # What is not shaped like a scheme is not repeated: it may be part of a password.
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise errors.ConfigurationError("The URL has no scheme", next_step=_use_one_of_the_schemes())
    if "cluster" in scheme.lower():
        raise errors.ConfigurationError(f"{_CLUSTER}, and the URL is a {scheme}:// one", next_step=_CLUSTER_STEP)
    if "sentinel" in scheme.lower():
        raise errors.ConfigurationError(
            f"A {scheme}:// URL cannot be read",
            next_step="Pass the client that redis.sentinel.Sentinel(...).master_for(...) makes to from_client",
        )
    if scheme not in _SCHEMES:
        raise errors.ConfigurationError(
            f"The URL has the unknown scheme {scheme}://", next_step=_use_one_of_the_schemes()
        )
    return scheme


def _use_one_of_the_schemes() -> str:
    return "Start it with redis://, rediss:// (TLS) or unix:// (a socket)"


def _check_location(url: str, scheme: str) -> None:
    """Refuse a host, port, path or database that redis-py would replace by a default or misread."""
    from urllib.parse import parse_qsl, unquote, urlsplit

    # No cause is kept below: the messages of the standard library quote the text, and it may be part of a password.
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        what = "The URL's host or port is malformed (the port must be a number from 1 to 65535)"
        raise errors.ConfigurationError(what, next_step=_ENCODE_HINT) from None
    try:
        parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise errors.ConfigurationError(
            "What follows ? in the URL must be name=value", next_step=_ENCODE_HINT
        ) from None
    if parts.fragment:
        raise errors.ConfigurationError("The URL has a # in it, which ends it there", next_step=_ENCODE_HINT)
    path = unquote(parts.path)
    if scheme == "unix":
        if host or port or len(path) < 2:
            raise errors.ConfigurationError(
                "The URL names no socket", next_step="Write the full path after three slashes: unix:///path/to.sock"
            )
    elif port == 0:
        raise errors.ConfigurationError("The URL's port must be a number from 1 to 65535")
    elif not re.fullmatch(r"/?[0-9]*/?", path, re.ASCII):
        raise errors.ConfigurationError("The URL's database must be a number, such as /0", next_step=_ENCODE_HINT)


def _parsed(url: str) -> dict[str, Any]:
    from redis.connection import parse_url

    parse: Callable[[str], dict[str, Any]] = parse_url
    try:
        return parse(url)
    except ValueError as error:
        # redis-py names the option here, never its value; the cause would quote the value.
        raise errors.ConfigurationError(f"The URL cannot be read: {str(error).rstrip('.')}") from None


def _endpoint(options: Mapping[str, Any], *, tls: bool, sentinel_pool: Any = None) -> Endpoint:
    host = _text(options.get("host")) or "localhost"
    timeout = options.get("socket_connect_timeout")
    return Endpoint(
        host=host,
        port=_number(options, "port", 6379, 65535),
        path=_text(options.get("path")),
        db=_number(options, "db", 0, 2**31 - 1),
        username=_text(options.get("username")),
        password=_text(options.get("password")),
        ssl_context=context_of(options) if tls else None,
        server_hostname=host if tls and sentinel_pool is None else None,
        connect_timeout=None if timeout is None else float(timeout),
        credential_provider=options.get("credential_provider"),
        sentinel_pool=sentinel_pool,
    )


def _text(value: Any) -> str | None:
    """A setting as text; redis-py also takes bytes and numbers, and reads an empty one as none."""
    return value.decode() if isinstance(value, bytes) else str(value) if value not in (None, "") else None


def _number(options: Mapping[str, Any], name: str, default: int, highest: int) -> int:
    value = options.get(name)
    if value is None:
        return default
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number <= highest:
        raise errors.ConfigurationError(f"The {name} must be a number from 0 to {highest}")
    return number


def _user_and_password(given: tuple[str, ...]) -> tuple[str | None, str | None]:
    """A provider returns (password,) or (user name, password)."""
    username, password = given if len(given) == 2 else (None, given[0])
    return _text(username), _text(password)
