"""Values to bytes and back: orjson with tagged extension types, so that type and value come back as they went in.

Plain JSON values are plain JSON: ``encode([1, "a"])`` is ``b'[1,"a"]'``, so scripts can count ints and append to lists
without reading what they hold. What would not come back exactly is refused.
"""

from __future__ import annotations

import logging
from types import NoneType
from typing import Any

import orjson

from redstate._codec.classes import register
from redstate._codec.limits import DEEPEST, WARN_AT, Limits
from redstate._codec.pack import TAG, is_plain, pack
from redstate._codec.refusals import Malformed, Sealed, UnknownClass
from redstate._codec.restore import restore
from redstate.errors import CorruptState, DataError, TooLarge, UnknownEncryptionKey, UnknownType

__all__ = ["Codec", "Limits", "register"]

logger = logging.getLogger("redstate")

_DEFAULTS = Limits()
_SIMPLE = frozenset({int, bool, NoneType})
# A search for one byte is several times quicker than one for more, and hardly any text has a tilde.
_TAG_BYTE = TAG.encode()
_TAG_KEY = f'"{TAG}"'.encode()


class Codec:
    """Encodes and decodes values; holds nothing but its limits, so threads may share it.

    What can be stored: None, bool, int of any size, finite float, str, list, dict with any storable keys, tuple, set,
    frozenset, bytes, bytearray, datetime, date, time, timedelta, Decimal, UUID, members of an Enum (by value),
    dataclasses, named tuples and pydantic models. Other classes, and subclasses of builtins, are refused.

    Dataclasses and models come back in the state they had: their ``__init__``, ``__post_init__`` and validators do not
    run. Fields that the class got since then take their defaults. An Enum member is looked up by its value.

    Args:
        limits: the caps on one value.
    """

    __slots__ = ("_max_bytes", "_near_bytes", "limits")

    def __init__(self, limits: Limits = _DEFAULTS) -> None:
        self.limits = limits
        self._max_bytes = limits.max_value_bytes
        self._near_bytes = int(WARN_AT * limits.max_value_bytes)

    # What a store that encrypts does in another way; see SealingCodec.

    def bound_to(self, key: str) -> Codec:
        """The codec for values of a record: encrypted ones are only good there."""
        return self

    def splices(self, name: str) -> bool:
        """Whether a script may append to a list in this state field."""
        return True

    def counts(self, name: str) -> bool:
        """Whether a script may add to a whole number in this state field."""
        return True

    def stored(self, data: bytes, field: str, before: bytes | None = None) -> bytes:
        """An encoded value as it is stored: encrypted, where the store encrypts it.

        Args:
            data: the encoded value.
            field, before: as for ``encode``.
        """
        return data

    def plain(self, data: bytes, *, key: str, field: str, bound: str | None = None) -> bytes:
        """The encoded value of what is stored: decrypted, where it is encrypted. Arguments and errors as ``decode``."""
        return data

    def encode(self, value: Any, path: str, field: str | None = None, before: bytes | None = None) -> bytes:
        """Return a value as bytes.

        Args:
            value: what to store. No other thread may change it during the call.
            path: what errors call the value: the name of its state field, unless ``field`` says otherwise.
            field: the field of the hash that it is encrypted for, if it is; "" for what is never encrypted: an item
                that a script puts into a value, or what is not stored. By default the state field ``path``.
            before: what the field holds; encrypted anew, an equal value would not be seen to be equal.

        Raises:
            UnsupportedValue: something in it cannot be stored; ``path`` says where, such as ``cart[2].price``.
            TooLarge: it exceeds a cap in bytes, levels or items.
        """
        kind = type(value)
        data = None
        if (
            kind in _SIMPLE
            or (kind is str and len(value) <= self._max_bytes)
            or ((kind is dict or kind is list) and is_plain(value, self.limits))
        ):
            data = _dump_plain(value)
        if data is None:
            data = orjson.dumps(pack(value, path, self.limits))
        if len(data) >= self._near_bytes:
            self._near_cap(len(data), path)
        return data

    def _near_cap(self, size: int, path: str) -> None:
        if size > self._max_bytes:
            message = f"{path} has {size} bytes, the limit is {self._max_bytes}"
            raise TooLarge(message, path=path, limit=self._max_bytes, actual=size, unit="bytes")
        logger.warning("%s has %s bytes; values of more than %s are refused", path, f"{size:,}", f"{self._max_bytes:,}")

    def decode(self, data: bytes, *, key: str, field: str, bound: str | None = None) -> Any:
        """Return the value that was encoded.

        Args:
            data: what encode() returned.
            key: the key in the store, for errors.
            field: the field of the key, for errors, and what an encrypted value is bound to.
            bound: the field that it was encrypted for, where a script has copied it to another.

        Raises:
            CorruptState: encode() does not write such bytes, or not for this field.
            UnknownEncryptionKey: it is encrypted, under a key that this store does not have.
            UnknownType: the value's class is not known in this process; ``type_name`` names it.
        """
        try:
            return _decode(data)
        except (MemoryError, RecursionError):
            raise  # the state of this process, not of the data
        except Exception as error:  # noqa: BLE001 - a user's class may raise anything while it is rebuilt
            failure = self._failure(error, key, field)
        # Raised out here, so that no context carries the data into a report.
        raise failure

    def _failure(self, error: Exception, key: str, field: str) -> DataError:
        if isinstance(error, UnknownClass):
            message = f"{field} of {key} needs {error.type_name}, which this process does not have"
            return UnknownType(message, next_step=error.next_step, type_name=error.type_name, key=key, field=field)
        if isinstance(error, Sealed) and self._unknown(error):
            message = f"{field} of {key} is encrypted under {error.key_id}, a key that this store does not have"
            return UnknownEncryptionKey(message, key_id=error.key_id, key=key, field=field)
        reason = str(error) if isinstance(error, Malformed) else type(error).__name__
        message = f"{field} of {key} holds bytes that redstate did not write ({reason})"
        return CorruptState(message, key=key, field=field)

    def _unknown(self, error: Sealed) -> bool:
        """Whether an encrypted value is under a key that there is not."""
        return True


def _dump_plain(value: Any) -> bytes | None:
    """Return a value as JSON; None if it turns out to need a closer look."""
    try:
        data = orjson.dumps(value)
    except TypeError:  # a large int, a lone surrogate or a key that is no str: pack() tells them apart
        return None
    return None if _TAG_BYTE in data and _TAG_KEY in data else data


def _decode(data: bytes) -> Any:
    value = orjson.loads(data)
    kind = type(value)
    if kind is dict or kind is list:
        tagged = _TAG_BYTE in data and _TAG_KEY in data
        # orjson reads nests far deeper than are ever written; fewer brackets than that cannot be too deep.
        if tagged or data.count(b"[") + data.count(b"{") > DEEPEST:
            return restore(value)
    elif kind is float and data.strip(b" -").isdigit():
        raise Malformed("an integer beyond 64 bits")
    return value
