"""Warns before a cap is met: what grows towards one shows in the log while there is still time."""

from __future__ import annotations

import logging

from redstate._call import RESULT, version_of
from redstate._codec import Limits
from redstate._codec.limits import WARN_AT

logger = logging.getLogger("redstate")


def weighed(limits: Limits, key: str, answer: bytes) -> int:
    """The version in the answer of a change that can add bytes; warns where the conversation nears its cap.

    The script weighs the record only when it writes a value of at least a 1,024th of the cap.
    """
    weight = answer[RESULT]
    if weight and int(weight) >= WARN_AT * limits.max_conversation_bytes:
        logger.warning(
            "%s has %s bytes; at %s further large values are refused",
            key,
            f"{int(weight):,}",
            f"{limits.max_conversation_bytes:,}",
        )
    return version_of(answer)
