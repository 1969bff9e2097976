"""Metrics and health over HTTP, from a thread of its own."""

from __future__ import annotations

import errno
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from redstate.conversimple.runner.supervisor import Supervisor
from redstate.errors import ConfigurationError

_ALIVE_WITHIN = 5.0  # seconds since the supervisor last looked after its workers
_TEXT = "text/plain; charset=utf-8"

Answer = tuple[int, str, bytes]


class HttpServer:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz`` while the context manager is open.

    Args:
        supervisor: whose workers it tells of.
        metrics: takes an Accept header; returns the text of ``/metrics`` and its content type.
        host, port: where it listens; port 0 is a free one.

    Raises:
        ConfigurationError: it cannot listen there.
    """

    def __init__(
        self, supervisor: Supervisor, metrics: Callable[[str], tuple[bytes, str]], host: str, port: int
    ) -> None:
        self._supervisor = supervisor
        self._metrics = metrics
        try:
            self._server = _server(host, port, self._answer)
        except (OSError, OverflowError) as error:
            raise _cannot_listen(host, port, error) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, path: str, accept: str) -> Answer:
        supervisor = self._supervisor
        counted = f"{supervisor.ready} of {supervisor.wanted} workers are ready"
        match path.partition("?")[0]:
            case "/metrics":
                text, content_type = self._metrics(accept)
                return 200, content_type, text
            case "/healthz":
                # asyncio's clock is the monotonic one.
                alive = time.monotonic() - supervisor.looked_at < _ALIVE_WITHIN
                status = 200 if alive and supervisor.ready else 503
                return _told(status, counted if alive else "the supervisor is stuck or has not begun")
            case "/readyz":
                ready = supervisor.ready == supervisor.wanted and not supervisor.stopping
                return _told(200 if ready else 503, counted + ("; stopping" if supervisor.stopping else ""))
        return _told(404, "there are /metrics, /healthz and /readyz")


def _told(status: int, text: str) -> Answer:
    return status, _TEXT, text.encode() + b"\n"


def _server(host: str, port: int, answer: Callable[[str, str], Answer]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # seconds that a client may take

        def do_GET(self) -> None:
            status, content_type, body = answer(self.path, self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing: health checks would fill the log."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def server_bind(self) -> None:
            # HTTPServer's own asks the name service for this machine's name, which can take long.
            socketserver.TCPServer.server_bind(self)
            self.server_name, self.server_port = host, self.server_address[1]

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: a client that went away is no news."""

    return Server((host, port), Handler)


def _cannot_listen(host: str, port: int, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        reason = "it is in use"
    return ConfigurationError(
        f"cannot serve metrics on {host}, port {port}: {reason}",
        next_step="Pass another --metrics-port or --metrics-host",
    )
