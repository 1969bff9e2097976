"""What a store encrypts, and with which keys; AES-GCM by the ``cryptography`` package, imported when it is needed."""

from __future__ import annotations

import binascii
import functools
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from redstate.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What the id of a key looks like."""

NONCE_BYTES = 12
_LENGTHS = (16, 24, 32)
_DERIVED = b"redstate sealed 1\0"
# Making the cipher of a record takes some microseconds, and a handle is often made anew for each call.
_CIPHERS = 4_096


class Encryption:
    """Encryption of stored values: ``Store.from_url(url, encryption=redstate.Encryption({"2026-11": key}))``.

    What is encrypted, by AES-GCM under the current key, is what values hold: state fields of conversations and of
    customers, attributes of cart lines, what workflows collected, who is logged in, the history of customers, cached
    values. Names, ids, skus, quantities, prices, steps, times and versions are not; nor are whole numbers in state
    fields, so that the server can count them; nor the requests and answers of tool calls, nor what an archive is given.

    A value is bound to its record and field: moved to another place it is refused as ``CorruptState``. What was stored
    before encryption was turned on stays readable, and so does what is under an older key as long as that is in
    ``keys``; each change of a field writes it under the current one, and ``reencrypt()`` of a conversation or a
    customer the rest. A stored value takes 4/3 of its bytes and about 70 more; ``max_value_bytes`` counts it before
    encryption, ``max_conversation_bytes`` after it.

    Args:
        keys: by their ids (1 to 64 ASCII letters, digits, dots, dashes, underscores): 16, 24 or 32 random bytes, such
            as of ``secrets.token_bytes(32)``, or these in base64. The ids are stored with the values, the keys are not.
        current: the id of the key to write with; the first one by default.
        fields: encrypt these state fields alone, whole numbers included, and nothing else; None: all values.

    Raises:
        ConfigurationError: a key, an id or a name cannot be used.
        MissingExtra: ``cryptography`` is not installed (``redstate[encryption]``).
    """

    __slots__ = ("_ciphers", "_invalid_tag", "_keys", "current", "fields")

    current: str
    fields: frozenset[str] | None

    def __init__(
        self, keys: Mapping[str, bytes | str], current: str | None = None, fields: Iterable[str] | None = None
    ) -> None:
        if not isinstance(keys, Mapping) or not keys:
            raise ConfigurationError(
                "keys must be a dict of encryption keys by their ids", next_step="Pass at least one key"
            )
        self._keys = {_checked_id(key_id): _key_bytes(key_id, key) for key_id, key in keys.items()}
        self.current = next(iter(self._keys)) if current is None else current
        if self.current not in self._keys:
            raise ConfigurationError("current names none of the keys", next_step="Pass the id of one of keys")
        self.fields = None if fields is None else _checked_fields(fields)
        make, self._invalid_tag = _aes_gcm()

        def cipher(key_id: str, record: str) -> AESGCM:
            # A key of its own for each record: random nonces of 96 bits are good for 2**32 values under one key.
            key = self._keys[key_id]
            derived = hmac.digest(key, _DERIVED + record.encode(), "sha256")
            made: AESGCM = make(derived[: len(key)])
            return made

        self._ciphers = functools.lru_cache(maxsize=_CIPHERS)(cipher)

    @classmethod
    def from_environment(cls) -> Encryption | None:
        """What REDSTATE_ENCRYPTION_KEYS and REDSTATE_ENCRYPTED_FIELDS say; None where there are no keys.

        Returns:
            keys ``id:base64,id:base64``, the first one current; fields ``name,name``, all values where there are none.

        Raises:
            ConfigurationError: a variable cannot be used.
            MissingExtra: ``cryptography`` is not installed.
        """
        text, names = os.environ.get("REDSTATE_ENCRYPTION_KEYS"), os.environ.get("REDSTATE_ENCRYPTED_FIELDS")
        if not text:
            if names:
                raise ConfigurationError(
                    "REDSTATE_ENCRYPTED_FIELDS names fields, and there is no key", next_step=_SET_THE_KEYS
                )
            return None
        pairs = [entry.strip().partition(":") for entry in text.split(",")]
        keys: dict[str, bytes | str] = {key_id: key for key_id, _, key in pairs}
        if len(keys) != len(pairs):
            raise ConfigurationError("REDSTATE_ENCRYPTION_KEYS names a key twice", next_step=_SET_THE_KEYS)
        return cls(keys, fields=[name.strip() for name in names.split(",")] if names else None)

    def __repr__(self) -> str:
        others = "".join(f", {key_id}" for key_id in self._keys if key_id != self.current)
        what = "all values" if self.fields is None else ", ".join(sorted(self.fields)) or "nothing"
        return f"<{type(self).__name__} of {what}; keys {self.current} (current){others}>"

    # Stores that agree in what they encrypt share the memory of their process.

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encryption):
            return NotImplemented
        return (self.current, self.fields, self._keys) == (other.current, other.fields, other._keys)

    def __hash__(self) -> int:
        return hash((self.current, self.fields, frozenset(self._keys)))

    def __reduce__(self) -> NoReturn:
        raise TypeError("Encryption is not pickled: it holds keys")

    def seals(self, name: str) -> bool:
        """Whether a state field of that name is encrypted, whatever it holds."""
        return self.fields is not None and name in self.fields

    def knows(self, key_id: str) -> bool:
        """Whether there is a key of that id."""
        return key_id in self._keys

    def seal(self, data: bytes, record: str, field: str) -> bytes:
        """Bytes under the current key: nonce, ciphertext and tag.

        Args:
            data: what to encrypt.
            record: the key of the record.
            field: the whole name of the field in the hash.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._ciphers(self.current, record).encrypt(nonce, data, _place(record, field))

    def open(self, key_id: str, sealed: bytes, record: str, field: str) -> bytes | None:
        """What was sealed; None where it was not sealed under this key, for this place, or was changed since.

        Args:
            key_id: names a key that there is.
            sealed: what ``seal`` returned.
            record, field: as for ``seal``.
        """
        try:
            cipher = self._ciphers(key_id, record)
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _place(record, field))
        except (self._invalid_tag, ValueError):  # ValueError: too short to be a nonce
            return None


_SET_THE_KEYS = "Set REDSTATE_ENCRYPTION_KEYS to id:base64,id:base64, the current one first"


def _place(record: str, field: str) -> bytes:
    """What a ciphertext is bound to. Keys of records have no NUL, so no two places are spelled alike."""
    return f"{record}\0{field}".encode()


def _aes_gcm() -> tuple[Any, type[Exception]]:
    """What makes a cipher of a key, and what it raises where a tag is not that of its text."""
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise MissingExtra(
            "Encryption needs cryptography, which is not installed",
            next_step="Install redstate[encryption]",
            extra="encryption",
        ) from None
    return AESGCM, InvalidTag


def _checked_id(key_id: Any) -> str:
    if type(key_id) is not str or not KEY_ID.fullmatch(key_id):
        # What is no id may be the key: it is not shown.
        raise ConfigurationError(
            "The id of an encryption key cannot be used",
            next_step="Use 1 to 64 ASCII letters, digits, dots, dashes or underscores",
        )
    return key_id


def _key_bytes(key_id: str, key: Any) -> bytes:
    found = key
    if type(key) is str:
        try:
            found = binascii.a2b_base64(key.strip().replace("-", "+").replace("_", "/"), strict_mode=True)
        except ValueError:
            found = None
    if type(found) is not bytes or len(found) not in _LENGTHS:
        raise ConfigurationError(
            f"The encryption key {key_id} is none",
            next_step="Pass 16, 24 or 32 random bytes, or these in base64: secrets.token_bytes(32)",
        )
    return found


def _checked_fields(fields: Any) -> frozenset[str]:
    good = isinstance(fields, Iterable) and not isinstance(fields, (str, bytes))
    names = frozenset(fields) if good else frozenset()
    if not good or not all(type(name) is str and name for name in names):
        raise ConfigurationError(
            "fields must be a collection of names of state fields", next_step='Pass fields={"ssn", "card"}'
        )
    return names
