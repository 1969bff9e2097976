"""Keeps what callers say, and the API key, out of the logs.

The SDK logs whole payloads at INFO, repeats exception texts at ERROR, and puts the API key into the
URL that connection errors quote; its constructor also configures the root logger.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from redstate.conversimple._binding import current_binding
from redstate.transport.base import forget_at_fork

_LEVEL_VARIABLE = "CONVERSIMPLE_LOG_LEVEL"
_SDK_LOGGER = "conversimple"


class _Setup:
    """Lets one thread at a time set an agent up."""

    def __init__(self) -> None:
        self.forget()
        forget_at_fork(self)

    def forget(self) -> None:
        """Have a free lock, in a forked process: a thread of the parent may have held it."""
        self.lock = threading.Lock()


_setup = _Setup()


@contextmanager
def quiet_sdk_setup() -> Iterator[None]:
    """Run the SDK's constructor without its changes to the root logger.

    The SDK's own loggers stay at WARNING or above, unless the user chose a level with
    ``CONVERSIMPLE_LOG_LEVEL``: then the SDK sets up logging as it does by itself.
    """
    _add_filters()
    if os.getenv(_LEVEL_VARIABLE):
        yield
        return
    root, sdk, placeholder = logging.getLogger(), logging.getLogger(_SDK_LOGGER), logging.NullHandler()
    with _setup.lock:
        level = sdk.level
        # logging.basicConfig does nothing on a root logger that has a handler.
        root.addHandler(placeholder)
        try:
            yield
        finally:
            root.removeHandler(placeholder)
            sdk.setLevel(max(level, logging.WARNING))


class HideSecrets(logging.Filter):
    """Takes the API key and quoted messages out of what the SDK logs."""

    _key = re.compile(r"(auth_token=)[^&\s'\"]+")
    _quoted_message = re.compile(r"(Invalid message format \(expected array or object\)).*", re.DOTALL)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; every record passes."""
        text = record.getMessage()
        cleaned = self._quoted_message.sub(r"\1", self._key.sub(r"\1***", text))
        if cleaned != text:
            record.msg, record.args = cleaned, ()
        return True


class DropRepeats(logging.Filter):
    """Drops the SDK's line about a failed tool: it quotes the exception, and redstate reports the failure itself."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record passes; those of plain SDK agents in the same process do."""
        return record.levelno < logging.ERROR or current_binding() is None


_hide_secrets = HideSecrets()
_drop_repeats = DropRepeats()


def _add_filters() -> None:
    # addFilter ignores a filter that is already there.
    for name in ("conversimple.agent", "conversimple.connection"):
        logging.getLogger(name).addFilter(_hide_secrets)
    logging.getLogger("conversimple.tools").addFilter(_drop_repeats)
