"""What lies in the store and cannot be used as it is."""

from __future__ import annotations

from redstate.errors._base import RedstateError


class DataError(RedstateError):
    """What lies in the store cannot be used as it is. It is never skipped and never overwritten by a read."""


class CorruptState(DataError):
    """Bytes in the store that redstate did not write. Attributes: ``key``, ``field``."""

    advice = "Inspect the field with HGET; set or delete it to go on"
    key: str
    field: str


class UnknownType(DataError):
    """A stored value's class is not known in this process. Attributes: ``type_name``."""

    advice = "Import the module that defines the class before reading"
    type_name: str


class UnknownEncryptionKey(DataError):
    """A stored value is encrypted under a key that the store lacks. Attributes: ``key_id``, ``key``, ``field``."""

    advice = "Add the key of this id to the keys of redstate.Encryption, and open the store with it"
    key_id: str
    key: str
    field: str


class SchemaMismatch(DataError):
    """State that its schema cannot be made of. Attributes: ``key``, ``path`` (where in the state), ``expected``."""

    advice = "Set the field to a value of the declared type, or give the schema an upcaster for what is stored"
    tells = ("path", "expected")
    key: str
    path: str
    expected: str
