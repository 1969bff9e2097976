"""The part of the fault proxy that lives on its own event loop: the listener and its links."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from redstate.errors import ConfigurationError
from redstate.testing._proxy_faults import Board, Faults, HoldRule
from redstate.testing._proxy_link import Link

_HOST = "127.0.0.1"
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the server is: a unix socket's path, or a host and a port. `suffix` and `userinfo` go into client URLs."""

    path: str | None
    host: str
    port: int
    userinfo: str
    database: int

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Reads redis://[user:password@]host[:port][/db] or unix://[user:password@]/path[?db=n].

        Raises:
            ConfigurationError: the URL is neither; TLS cannot be proxied, as its frames cannot be told apart.
        """
        parts = urlsplit(url)
        userinfo = parts.netloc.rpartition("@")[0]
        if parts.scheme == "unix" and parts.path:
            database = parse_qs(parts.query).get("db", ["0"])[-1]
            return cls(unquote(parts.path), "", 0, userinfo, _database(database))
        if parts.scheme == "redis" and parts.hostname:
            return cls(None, parts.hostname, parts.port or 6379, userinfo, _database(parts.path.strip("/") or "0"))
        raise ConfigurationError(
            "The proxy cannot use this upstream URL", next_step="Pass redis://host:port or unix:///path"
        )

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> None:
        """Opens a connection; raises OSError."""
        loop = asyncio.get_running_loop()
        if self.path is not None:
            await loop.create_unix_connection(factory, self.path)
        else:
            await loop.create_connection(factory, self.host, self.port)

    def client_url(self, port: int) -> str:
        """Returns the URL by which a client reaches this server through a port of this machine."""
        login = f"{self.userinfo}@" if self.userinfo else ""
        return f"redis://{login}{_HOST}:{port}/{self.database}"


def _database(text: str) -> int:
    if not text.isdecimal():
        raise ConfigurationError("The database in the upstream URL is no number", next_step="Pass a number from 0")
    return int(text)


class Listener:
    """Accepts connections on one port, which stays bound while it refuses them.

    asyncio's own server loses connections that were accepted but not yet set up when it closes.
    """

    def __init__(self, factory: Callable[[], asyncio.Protocol]) -> None:
        self.port = 0
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._sock = self._bind()
        self._listening = False
        self._accepting: set[asyncio.Task[object]] = set()

    def listen(self) -> None:
        """Accepts connections from now on."""
        if not self._listening:
            self._sock.listen(_BACKLOG)
            self._loop.add_reader(self._sock, self._accept)
            self._listening = True

    def refuse(self) -> None:
        """Lets the kernel refuse connections from now on."""
        if self._listening:
            self.close()
            self._sock = self._bind()

    def close(self) -> None:
        """Gives the port back."""
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self._listening = False

    def _bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((_HOST, self.port))
        self.port = sock.getsockname()[1]
        return sock

    def _accept(self) -> None:
        try:
            client, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # The client left before it was accepted.
        client.setblocking(False)
        task: asyncio.Task[object] = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, client))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)


class Core:
    """Listens, makes links, and changes the faults. Every method runs on the proxy's own loop."""

    def __init__(self, upstream: Upstream) -> None:
        self.faults = Faults()
        self.board = Board()
        self.failures: list[BaseException] = []
        self._upstream = upstream
        self._links: set[Link] = set()
        self._listener: Listener | None = None

    @property
    def port(self) -> int:
        """The port that clients connect to; 0 before listen()."""
        return self._listener.port if self._listener is not None else 0

    def listen(self) -> None:
        """Accepts connections (again), always on the same port."""
        if self._listener is None:
            self._listener = Listener(self._new_client)
        self._listener.listen()

    def refuse(self) -> None:
        """Refuses new connections until listen()."""
        if self._listener is not None:
            self._listener.refuse()

    def blackhole(self, carrying: bytes | None) -> None:
        """Freezes the links that carried the command, now and from now on (None: all links, and new ones)."""
        self.faults.blackhole = True
        self.faults.blackhole_carrying = carrying
        for link in self._links:
            if link.has_carried(carrying):
                link.freeze()

    async def cut(self, reset: bool, carrying: bytes | None) -> int:
        """Breaks links; returns how many, once their sockets are closed."""
        chosen = [link for link in self._links if link.has_carried(carrying)]
        for link in chosen:
            link.break_off(reset)
        await asyncio.gather(*(link.gone for link in chosen))
        self.board.stats.cut += len(chosen)
        self.board.changed()
        return len(chosen)

    def heal(self) -> None:
        """Ends every fault and lets go what waited."""
        self.faults.clear()
        for link in list(self._links):
            link.thaw()
        self.listen()

    def release(self, hold: HoldRule) -> None:
        """Lets go what a hold kept."""
        hold.released = True
        if hold in self.faults.holds:
            self.faults.holds.remove(hold)
        for link in list(self._links):
            link.flush()

    async def shut_down(self) -> None:
        """Closes every socket."""
        if self._listener is not None:
            self._listener.close()
        self.board.close()
        # A connection accepted a moment ago is still a task of the listener, and becomes a link in the next round.
        while (tasks := asyncio.all_tasks() - {asyncio.current_task()}) or self._links:
            for link in self._links:
                link.break_off()
            await asyncio.wait([*tasks, *(link.gone for link in self._links)])

    def _new_client(self) -> asyncio.Protocol:
        return Link(self.faults, self.board, self._links, self._upstream.connect).client
