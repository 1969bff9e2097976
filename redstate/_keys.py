"""Every key and field name that redstate makes. Nothing else builds one.

The key space (``rs`` is the default prefix):

    rs:{conv:<id>}      hash    one conversation
        v               its version: microseconds of server time, sixteen digits, strictly rising
        f               the owner's fencing token, once it is claimed: the version of that moment
        d               the version at which it was deleted; it is absent while d = v
        s<field>        a state field, encoded
        c<sku>          a cart line's quantity
        p<sku>          its price, if it has one
        a<sku>          the version at which it was added
        j<writer>       the journal of one writer: its newest operations and their results
    rs:{conv:<id>}      channel every change of that conversation publishes its new version here

Ids come from outside. All but plain ASCII characters are percent-encoded, so that no id can close the hash tag, forge
another's key, or break a line of a log; the encoding is injective.
"""

from __future__ import annotations

import functools
import re

from redstate.errors import ConfigurationError, InvalidField, InvalidId

MAX_ID_BYTES = 512
MAX_FIELD_BYTES = 256

STATE, QUANTITY, PRICE, ADDED, JOURNAL = "s", "c", "p", "a", "j"
VERSION, FENCE, DELETED = "v", "f", "d"

_PLAIN = re.compile(r"[A-Za-z0-9_.:@+=,/~-]+")
_UNSAFE = re.compile(rb"[^A-Za-z0-9_.:@+=,/~-]")
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def conversation_key(prefix: str, conversation_id: str) -> str:
    """The key of a conversation.

    Args:
        prefix: the store's key prefix, already validated.
        conversation_id: the platform's id; any non-empty text of at most 512 UTF-8 bytes.

    Raises:
        InvalidId: the id is no str, empty, too long, or has lone surrogates.
    """
    if type(conversation_id) is not str:
        raise InvalidId(f"A conversation id must be a str, not {type(conversation_id).__name__}")
    # At four bytes a character at most, a short plain id needs no further look.
    if _PLAIN.fullmatch(conversation_id) and len(conversation_id) <= MAX_ID_BYTES:
        return f"{prefix}:{{conv:{conversation_id}}}"
    return f"{prefix}:{{conv:{_encode_id(conversation_id)}}}"


def _encode_id(conversation_id: str) -> str:
    raw = _utf8(conversation_id, "conversation id", InvalidId)
    if not raw:
        raise InvalidId("The conversation id is empty")
    if len(raw) > MAX_ID_BYTES:
        raise InvalidId(f"The conversation id has {len(raw):,} bytes; at most {MAX_ID_BYTES} are allowed")
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw).decode("ascii")


def decode_conversation_key(prefix: str, key: str) -> str | None:
    """The id inside a conversation's key, or None where the key is not one of this prefix."""
    start = f"{prefix}:{{conv:"
    if not key.startswith(start) or not key.endswith("}"):
        return None
    text = key[len(start) : -1].encode("ascii")
    return re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), text).decode("utf-8")


def state_field(name: str) -> str:
    """The hash field of a state field.

    Raises:
        InvalidField: the name is no str, empty or longer than 256 UTF-8 bytes.
    """
    return STATE + _checked(name, "state field")


def line_fields(sku: str) -> tuple[str, str, str]:
    """The hash fields of a cart line: quantity, price, version when added.

    Raises:
        InvalidField: the sku is no str, empty or longer than 256 UTF-8 bytes.
    """
    if type(sku) is not str:
        raise InvalidField(f"A sku must be a str, not {type(sku).__name__}")
    return _line_fields(sku)


# A shop sells the same things over and over.
@functools.lru_cache(maxsize=4096)
def _line_fields(sku: str) -> tuple[str, str, str]:
    name = _checked(sku, "sku")
    return QUANTITY + name, PRICE + name, ADDED + name


def op_field(op_id: str) -> str:
    """The journal field of an operation id that the caller chose; "!" sets it apart from the names of writers.

    Raises:
        InvalidField: the id is longer than 256 UTF-8 bytes or no valid text.
    """
    return JOURNAL + "!" + _checked(op_id, "op_id")


def check_prefix(prefix: str) -> str:
    """The prefix, if it can stand before a hash tag.

    Raises:
        ConfigurationError: it has braces, spaces or other characters that keys of one store must not share.
    """
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            "key_prefix cannot be used",
            next_step="Use 1 to 64 ASCII letters, digits, dots, dashes, colons or underscores",
        )
    return prefix


def _checked(name: str, what: str) -> str:
    if type(name) is not str:
        raise InvalidField(f"A {what} must be a str, not {type(name).__name__}")
    if not name:
        raise InvalidField(f"The {what} is empty")
    # Only a name that could exceed the cap, or cannot be ASCII, is worth encoding to know its size.
    if len(name) > MAX_FIELD_BYTES or not name.isascii():
        size = len(_utf8(name, what, InvalidField))
        if size > MAX_FIELD_BYTES:
            raise InvalidField(f"The {what} has {size:,} bytes; at most {MAX_FIELD_BYTES} are allowed")
    return name


def _utf8(text: str, what: str, error: type[InvalidId] | type[InvalidField]) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise error(f"The {what} has lone surrogates and is no valid text") from None
