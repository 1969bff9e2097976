"""What a change did to the fields of a record, for a process that holds an image of the record as it was before.

Each says of its arguments and its answer what the script of the same name did, byte for byte; a test holds the two
against each other. It is told the script's own arguments, the fields before the change, and the answer, and returns
the fields that changed, or None where these do not tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from redstate import _keys
from redstate._call import RESULT, Changed, Word, version_of

Fields = Mapping[bytes, bytes]
Args = tuple[Word, ...]

_ORDER = _keys.ORDER.encode()


def state_set(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """Fields and values from the third argument on."""
    changed: Changed = {_bytes(args[at]): _bytes(args[at + 1]) for at in range(2, len(args), 2)}
    return _with_order(changed, before, [name for name in changed if name not in before])


def state_delete(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """All arguments are fields."""
    gone = [name for name in map(_bytes, args) if name in before]
    changed: Changed = dict.fromkeys(gone)
    if gone:
        changed[_ORDER] = _without(before.get(_ORDER, b""), gone)
    return changed


def state_increment(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """The first argument is the field; the answer has the sum."""
    name = _bytes(args[0])
    return _with_order({name: answer[RESULT]}, before, [] if name in before else [name])


def state_append(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """The first argument is the field, the second the items."""
    name, items = _bytes(args[0]), _bytes(args[1])
    held = before.get(name, b"[]")
    new = b"[%b]" % items if held == b"[]" else b"%b,%b]" % (held[:-1], items)
    return _with_order({name: new}, before, [] if name in before else [name])


def record_commit(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """Verbs, fields and values from the third argument on."""
    changed: Changed = {}
    born: list[bytes] = []
    gone: list[bytes] = []
    for at in range(2, len(args), 3):
        verb, name, value = args[at], _bytes(args[at + 1]), _bytes(args[at + 2])
        there = name in before
        if verb in ("=", "!", "f") or (verb == "n" and there) or (verb == "d" and not there):
            continue
        if name in changed:
            return None  # named by two changes: the script takes care of it, not we
        is_state = name.startswith(_keys.STATE_BYTES)
        if verb == "d":
            changed[name] = None
        elif verb == "i":
            changed[name] = b"%d" % (int(before.get(name, b"0")) + int(value))
        elif verb == "t":
            changed[name] = b"%016d" % version_of(answer)
        else:
            changed[name] = value
        if is_state and there and verb in ("d", "r"):
            gone.append(name)
        if is_state and verb != "d" and (not there or verb == "r"):
            born.append(name)
    return _with_order(changed, before, born, gone)


def cart_add(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """Quantity field, quantity, price field, price, field of the age, cap; then options."""
    quantity, price, added = _bytes(args[0]), _bytes(args[2]), _bytes(args[4])
    changed: Changed = {quantity: answer[RESULT]}
    if args[3] != "-":
        changed[price] = _bytes(args[3])
    if quantity not in before:
        changed[added] = b"%016d" % version_of(answer)
    for at in range(6, len(args), 2):
        if args[at] == "attributes":
            changed[_keys.ATTRIBUTES.encode() + quantity[1:]] = _bytes(args[at + 1])
    return changed


def cart_set_quantity(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """Quantity field and quantity."""
    return {_bytes(args[0]): _bytes(args[1])}


def cart_remove(args: Args, before: Fields, answer: bytes) -> Changed | None:
    """All arguments are fields of the line."""
    return dict.fromkeys(map(_bytes, args))


def _with_order(changed: Changed, before: Fields, born: Iterable[bytes], gone: Iterable[bytes] = ()) -> Changed:
    """The same, with the index of the state fields where some came or went."""
    born, gone = list(born), list(gone)
    if born or gone:
        order = before.get(_ORDER, b"")
        if gone:
            order = _without(order, gone)
        changed[_ORDER] = order + b"".join(bytes((len(name) - 2,)) + name[1:] for name in born)
    return changed


def _without(order: bytes, gone: Iterable[bytes]) -> bytes:
    """The index of the state fields without some of them: for each, one byte of length less one, and its name."""
    names, rest, at = {name[1:] for name in gone}, [], 0
    while at < len(order):
        end = at + 2 + order[at]
        if order[at + 1 : end] not in names:
            rest.append(order[at:end])
        at = end
    return b"".join(rest)


def _bytes(word: Word) -> bytes:
    return word if isinstance(word, bytes) else word.encode()
