"""Takes credentials out of what is logged and reported."""

from __future__ import annotations

import re
from typing import Any

_IN_URL = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^/\s'\"]*@")
_NAMED = re.compile(r"((?:auth_token|api_key|password)=)[^&\s'\"]+")
# A key as short as a word would blot words out.
_SHORTEST_SECRET = 8


class Redaction:
    """Blots out URLs' credentials, and the given secrets wherever they occur."""

    def __init__(self, *secrets: str) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]

    def __call__(self, text: str) -> str:
        """Return the text with ``***`` for each credential."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _NAMED.sub(r"\1***", _IN_URL.sub(r"\1***@", text))

    def deep(self, value: Any) -> Any:
        """Return plain JSON with the credentials taken out of every text in it."""
        match value:
            case str():
                return self(value)
            case dict():
                return {self.deep(name): self.deep(part) for name, part in value.items()}
            case list() | tuple():
                return [self.deep(part) for part in value]
        return value
