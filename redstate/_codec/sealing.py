"""The codec of a store that encrypts: the codec's bytes, sealed, as one more extension value.

``{"~":["sealed","<id of the key>","<base64 of nonce, ciphertext and tag>"]}``: JSON like every other value, opaque to
scripts, and told from everything else by its first bytes.
"""

from __future__ import annotations

import binascii
from typing import Any

from redstate import _keys
from redstate._codec import Codec
from redstate._codec.limits import Limits
from redstate._codec.pack import TAG
from redstate._codec.refusals import Sealed
from redstate._encryption import Encryption
from redstate.errors import CorruptState

_HEAD, _MIDDLE, _TAIL = f'{{"{TAG}":["sealed","'.encode(), b'","', b'"]}'


class SealingCodec(Codec):
    """Encodes and decodes the values of one record, encrypted as far as its store says.

    Args:
        limits: the caps on one value, before encryption.
        encryption: what is encrypted, and the keys.
        key: the record; see ``bound_to``.
    """

    # No slots: a schema's codec has one, and could not derive from both.

    def __init__(self, limits: Limits, encryption: Encryption, key: str = "") -> None:
        super().__init__(limits)
        self.encryption = encryption
        self.key = key
        self._head = _HEAD + encryption.current.encode() + _MIDDLE

    def bound_to(self, key: str) -> Codec:
        return SealingCodec(self.limits, self.encryption, key)

    def splices(self, name: str) -> bool:
        return self.encryption.fields is not None and not self.encryption.seals(name)

    def counts(self, name: str) -> bool:
        return not self.encryption.seals(name)

    def encode(self, value: Any, path: str, field: str | None = None, before: bytes | None = None) -> bytes:
        data = super().encode(value, path)
        return self.stored(data, _keys.STATE + path if field is None else field, before)

    def decode(self, data: bytes, *, key: str, field: str, bound: str | None = None) -> Any:
        if data.startswith(_HEAD):
            data = self.plain(data, key=key, field=field, bound=bound)
        return super().decode(data, key=key, field=field)

    def stored(self, data: bytes, field: str, before: bytes | None = None) -> bytes:
        if not self._is_secret(data, field):
            return data
        # Encrypting is random: only so a value that is what it was is seen to be that.
        current = before is not None and before.startswith(self._head)
        if before is not None and current and self.plain(before, key=self.key, field=field) == data:
            return before
        sealed = self.encryption.seal(data, self.key, field)
        return self._head + binascii.b2a_base64(sealed, newline=False) + _TAIL

    def plain(self, data: bytes, *, key: str, field: str, bound: str | None = None) -> bytes:
        if not data.startswith(_HEAD):
            return data
        name, _, text = data[len(_HEAD) : -len(_TAIL)].partition(_MIDDLE)
        key_id = name.decode("ascii", "replace")
        if not self.encryption.knows(key_id):
            super().decode(data, key=key, field=field)  # raises, and says whether it is an encrypted value at all
        try:
            sealed = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            sealed = b""
        # Of the last characters not every bit counts.
        last = binascii.b2a_base64(sealed[-(len(sealed) % 3 or 3) :], newline=False)
        if last != text[-4:] or not data.endswith(_TAIL):
            sealed = b""
        opened = self.encryption.open(key_id, sealed, key, field if bound is None else bound)
        if opened is None:
            message = f"{field} of {key} holds a value that was not encrypted for it, or that was changed since"
            raise CorruptState(message, key=key, field=field)
        return opened

    def renewed(self, data: bytes, *, key: str, field: str, bound: str) -> bytes:
        """What is stored as it would be stored now: the same bytes, where it would be in the same form."""
        plain = self.plain(data, key=key, field=field, bound=bound)
        if not self._is_secret(plain, bound):
            return plain
        return data if data.startswith(self._head) else self.stored(plain, bound)

    def _unknown(self, error: Sealed) -> bool:
        return not self.encryption.knows(error.key_id)

    def _is_secret(self, data: bytes, field: str) -> bool:
        state = field.startswith(_keys.STATE)
        if self.encryption.fields is not None:
            return state and field[1:] in self.encryption.fields
        # A whole number stays one that the server can count.
        return field != "" and not (state and data.removeprefix(b"-").isdigit())


def codec_for(limits: Limits, encryption: Encryption | None) -> Codec:
    """The codec of a store; one that encrypts nothing is none the slower for those that do."""
    return Codec(limits) if encryption is None else SealingCodec(limits, encryption)
