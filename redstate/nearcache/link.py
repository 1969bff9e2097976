"""One connection that subscribes: RESP3, so that what was published and the replies to commands come in one stream."""

from __future__ import annotations

import select
import ssl
from typing import Any

import hiredis

from redstate._call import Word
from redstate._discovery import Endpoint
from redstate.nearcache.clock import clock
from redstate.transport import base
from redstate.transport.base import ConnectionBroken, ReplyLost, pack_words
from redstate.transport.sync import open_socket

# Channels in one command: what a server takes in one go without keeping others waiting.
_MOST_CHANNELS = 500


class Link:
    """A blocking connection in RESP3. It belongs to one thread.

    Args:
        endpoint: how to reach the server.
        timeout: seconds for connecting, and for a send that the server does not take in.

    Raises:
        StoreError: there is no such connection to be had, and why.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._reader = base.parser()
        self._timeout = timeout
        try:
            username, password = endpoint.credentials()
            self._socket = open_socket(endpoint, timeout)
        except (OSError, UnicodeError) as error:
            raise base.no_connection(endpoint.address, error) from None
        try:
            self._socket.settimeout(timeout)
            self._shake_hands(username, password, endpoint)
        except (OSError, ConnectionBroken, ReplyLost):
            self.close()
            raise base.no_handshake(endpoint.address, ConnectionBroken(), timeout, was_connected=True) from None
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def wake_by(self, descriptor: int) -> None:
        """Let ``wait`` also end when there is something to read on a descriptor."""
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> list[int]:
        """Wait for something to read. Returns the descriptors that have it."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return [self._socket.fileno()]
        return [descriptor for descriptor, _ in self._poll.poll(max(0, int(seconds * 1000) + 1))]

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._socket.fileno()

    def send(self, *words: Word) -> None:
        """Send one command.

        Raises:
            OSError: the connection broke, or the server takes nothing in.
        """
        self._socket.sendall(pack_words(words))

    def send_to_channels(self, verb: str, channels: list[str]) -> None:
        """Send a command that takes any number of channels."""
        for at in range(0, len(channels), _MOST_CHANNELS):
            self.send(verb, *channels[at : at + _MOST_CHANNELS])

    def receive(self) -> list[Any]:
        """What has come: pushes as ``hiredis.PushNotification``, replies as they are. Reads once.

        Raises:
            ConnectionBroken: the other side closed, or spoke something else.
            OSError: the connection broke.
        """
        try:
            data = self._socket.recv(base.READ_BYTES)
        except (ssl.SSLWantReadError, TimeoutError):
            return []  # a part of a TLS record
        if not data:
            raise ConnectionBroken
        self._reader.feed(data)
        items = []
        # gets() answers False for an incomplete reply, and RESP3's false is no answer to anything that is asked here.
        while (item := self._reader.gets()) is not False:
            items.append(item)
        return items

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _shake_hands(self, username: str | None, password: str | None, endpoint: Endpoint) -> None:
        authentication = () if password is None else ("AUTH", username or "default", password)
        self._ask("HELLO", "3", *authentication)
        # A server that loads its data answers no reads, so there is nothing to listen to yet. (Valkey 9.1.2 does not
        # survive it where it loads by DEBUG RELOAD: a message in RESP3 is then counted to the wrong client.)
        self._ask("PING")
        if endpoint.db:
            self._ask("SELECT", str(endpoint.db))

    def _ask(self, *words: Word) -> Any:
        self.send(*words)
        until = clock() + self._timeout
        while not (items := self.receive()):
            if clock() > until:
                raise TimeoutError("no answer in time")
        refusal = base.handshake_error(items[0])
        if refusal is not None:
            raise refusal
        return items[0]


def is_push(item: Any) -> bool:
    """Whether it came unasked for."""
    return type(item) is hiredis.PushNotification
