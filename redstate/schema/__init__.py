"""State that is held to a class: checked at write, typed at read, in several versions side by side."""

from redstate.schema.definition import Schema

__all__ = ["Schema"]
