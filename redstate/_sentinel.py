"""Asking the Sentinels of an injected client, redis-py's or valkey-py's, which server is the primary."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from redstate import errors
from redstate._tls import TLS_OPTIONS, speaks_tls

_OPTIONS = TLS_OPTIONS | {"username", "password", "socket_timeout", "socket_connect_timeout"}


def is_async(sentinel_pool: Any) -> bool:
    """Whether it is an asyncio client's."""
    return inspect.iscoroutinefunction(sentinel_pool.sentinel_manager.discover_master)


def nodes(sentinel_pool: Any) -> list[tuple[object, object]]:
    """Where the Sentinels are."""
    options = [client.connection_pool.connection_kwargs for client in sentinel_pool.sentinel_manager.sentinels]
    return [(option.get("host"), option.get("port")) for option in options]


def blocking_pool(sentinel_pool: Any) -> Any:
    """What a blocking Sentinel client makes of the settings of an asyncio one."""
    import redis.sentinel

    sentinel: Any = redis.sentinel.Sentinel
    manager = sentinel_pool.sentinel_manager
    options = manager.sentinels[0].connection_pool.connection_kwargs
    kept = {name: value for name, value in options.items() if name in _OPTIONS}
    kept["ssl"] = speaks_tls(manager.sentinels[0].connection_pool.connection_class)
    return sentinel(nodes(sentinel_pool), sentinel_kwargs=kept).master_for(sentinel_pool.service_name).connection_pool


def ask(sentinel_pool: Any, address: str) -> tuple[str, int]:
    """Host and port of the present primary.

    Args:
        sentinel_pool: a blocking client's.
        address: what errors say is not there.

    Raises:
        ServerUnavailable: no Sentinel answered, or none knows a primary.
    """
    try:
        host, port = sentinel_pool.sentinel_manager.discover_master(sentinel_pool.service_name)
    except _client_errors() as error:
        raise _no_primary(address) from error
    return host, port


async def ask_async(sentinel_pool: Any, address: str) -> tuple[str, int]:
    """As ``ask``, of an asyncio client."""
    try:
        host, port = await sentinel_pool.sentinel_manager.discover_master(sentinel_pool.service_name)
    except _client_errors() as error:
        raise _no_primary(address) from error
    return host, port


def _client_errors() -> tuple[type[Exception], ...]:
    """The base errors of the client libraries in use; valkey-py is none of redstate's dependencies."""
    bases = (("redis.exceptions", "RedisError"), ("valkey.exceptions", "ValkeyError"))
    return tuple(getattr(sys.modules[module], name) for module, name in bases if module in sys.modules)


def _no_primary(address: str) -> errors.ServerUnavailable:
    return errors.ServerUnavailable(
        "No Sentinel that answered knows a primary",
        next_step="Check the addresses of the Sentinels and the name of the service",
        address=address,
    )
