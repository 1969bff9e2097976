"""Plain ``dict`` and ``list`` as models of live values: the same operations on both, with the same outcome."""

from __future__ import annotations

import copy
import json
import operator
import re
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st


def plain(value: Any) -> Any:
    """A result without anything alive in it, to any depth."""
    as_plain = getattr(value, "__redstate_plain__", None)
    value = value if as_plain is None else as_plain()
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return {key: plain(one) for key, one in value.items()} if type(value) is dict else value


def shape(value: Any) -> Any:
    """The types in a value and the order of its keys, which ``==`` does not look at."""
    if isinstance(value, (list, tuple)):
        return type(value), [shape(one) for one in value]
    if isinstance(value, dict):
        return type(value), [(shape(key), shape(one)) for key, one in value.items()]
    return type(value)


def same(found: Any, expected: Any) -> bool:
    """Whether they are equal, and of the same types, and in the same order."""
    return bool(found == expected) and shape(found) == shape(expected)


def outcome(act: Callable[[Any], Any], container: Any) -> tuple[Any, ...]:
    """What an operation returns or raises, ready to be compared."""
    try:
        return ("returned", plain(act(container)))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        # Names of classes stand in the messages of TypeError.
        words = re.sub("Live(Int|Float|List|Dict)", lambda name: name[1].lower(), str(error))
        return ("raised", type(error), words.replace("LiveDecimal", "decimal.Decimal"))


def on_model(act: Callable[[Any], Any], root: Any, walk: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The outcome on the model, and the model afterwards.

    Two things that the state promises, and Python does not: what fails changes nothing, and no container stands in two
    places at once.
    """
    trial = copy.deepcopy(root)
    found = outcome(act, walk(trial))
    return found, plain(trial) if found[0] == "returned" else root


def walk_to(route: list[int]) -> Callable[[Any], Any]:
    """Goes from a container to one inside it, the same way in the model and in the live value."""

    def walk(container: Any) -> Any:
        for number in route:
            pairs = list(container.items()) if isinstance(container, dict) else list(enumerate(container))
            inner = [step for step, value in pairs if isinstance(value, (dict, list))]
            if not inner:
                break
            container = container[inner[number % len(inner)]]
        return container

    return walk


def nothing(_: Any) -> None:
    """The versions that methods of the state return have no place in a model."""


def _add_at(container: Any, step: Any, value: Any) -> None:
    container[step] += value


def _dumped(container: Any) -> str:
    return json.dumps(container, default=lambda value: type(value).__name__)


KEYS = st.sampled_from("abcde")
NUMBERS = st.integers(-9, 9) | st.sampled_from([2**53 + 1, 2**63 - 1, 2**64, -(2**63), 2**70, 0.1, -2.5, 1e300])
TEXTS = st.text("ab~é", max_size=3)


def _values() -> Any:
    from datetime import UTC, date, datetime
    from decimal import Decimal

    other = st.sampled_from(
        [Decimal("1.50"), datetime(2024, 2, 29, tzinfo=UTC), date(2024, 1, 1), (1, "a"), (), {1, 2}, frozenset(), b"x"]
    )
    scalars = st.none() | st.booleans() | NUMBERS | TEXTS | other
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
    )


VALUES = _values()
DICTS = st.dictionaries(KEYS, VALUES, max_size=3)
LISTS = st.lists(VALUES, max_size=3)
INDEXES = st.integers(-4, 4)
SLICES = st.builds(slice, *[st.none() | INDEXES] * 2, st.sampled_from([None, None, 1, 2, -1, -2, 0]))


def _acts(table: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]) -> Any:
    """A strategy for named operations with their arguments; drawn arguments show in a failing example."""
    chosen = [st.tuples(st.just(name), st.tuples(*arguments)) for name, (_, arguments) in table.items()]
    return st.one_of(chosen)


DICT_TABLE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "getitem": (lambda d, k: d[k], (KEYS,)),
    "get": (lambda d, k: d.get(k), (KEYS,)),
    "get_default": (lambda d, k, v: d.get(k, v), (KEYS, VALUES)),
    "setitem": (lambda d, k, v: d.__setitem__(k, v), (KEYS, VALUES)),
    "delitem": (lambda d, k: d.__delitem__(k), (KEYS,)),
    "add_at": (_add_at, (KEYS, NUMBERS | LISTS)),
    "in": (lambda d, k: k in d, (KEYS,)),
    "unhashable": (lambda d: [] in d, ()),
    "len": (lambda d: (len(d), bool(d)), ()),
    "iter": (lambda d: (list(d), list(reversed(d))), ()),
    "views": (lambda d: (list(d.keys()), list(d.values()), list(d.items())), ()),
    "reversed": (lambda d: (list(reversed(d.keys())), list(reversed(d.values())), list(reversed(d.items()))), ()),
    "view_repr": (lambda d: (repr(d.keys()), repr(d.values()), repr(d.items())), ()),
    "view_sets": (
        lambda d, o: (d.keys() & o, d.keys() | o, d.keys() - o, d.keys() ^ o, o - d.keys()),
        (st.sets(KEYS),),
    ),
    "view_order": (
        lambda d, o: (d.keys() <= o, d.keys() >= o, d.keys() == o, d.keys().isdisjoint(o)),
        (st.sets(KEYS),),
    ),
    "view_in": (lambda d, k, v: (k in d.keys(), v in d.values(), (k, v) in d.items(), v in d.items()), (KEYS, VALUES)),  # noqa: SIM118 - the view is what is tested
    "setdefault": (lambda d, k, v: d.setdefault(k, v), (KEYS, VALUES)),
    "pop": (lambda d, k: d.pop(k), (KEYS,)),
    "pop_default": (lambda d, k, v: d.pop(k, v), (KEYS, VALUES)),
    "popitem": (lambda d: d.popitem(), ()),
    "update": (lambda d, o: nothing(d.update(o)), (DICTS,)),
    "update_pairs": (lambda d, o: nothing(d.update(list(o.items()))), (DICTS,)),
    "update_words": (lambda d, o: nothing(d.update(**o)), (DICTS,)),
    "update_both": (lambda d, o, w: nothing(d.update(o, **w)), (DICTS, DICTS)),
    "update_nothing": (lambda d: nothing(d.update()), ()),
    "ior": (lambda d, o: nothing(operator.ior(d, o)), (DICTS,)),
    "or": (lambda d, o: (d | o, o | d), (DICTS,)),
    "compare": (lambda d, o: (d == o, d != o, o == d, d == d.copy(), d == 1), (DICTS,)),
    "copy": (lambda d: (d.copy(), copy.copy(d), copy.deepcopy(d), dict(d), {**d}), ()),
    "words": (lambda d: (lambda **words: words)(**d), ()),
    "repr": (repr, ()),
    "json": (_dumped, ()),
    "clear": (lambda d: d.clear(), ()),
}

LIST_TABLE: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "getitem": (lambda s, i: s[i], (INDEXES,)),
    "getslice": (lambda s, i: s[i], (SLICES,)),
    "gettext": (lambda s: s["a"], ()),
    "setitem": (lambda s, i, v: s.__setitem__(i, v), (INDEXES, VALUES)),
    "setslice": (lambda s, i, v: s.__setitem__(i, v), (SLICES, LISTS | st.just(5))),
    "settext": (lambda s: s.__setitem__("a", 1), ()),
    "delitem": (lambda s, i: s.__delitem__(i), (INDEXES | SLICES,)),
    "add_at": (_add_at, (INDEXES, NUMBERS | LISTS)),
    "append": (lambda s, v: s.append(v), (VALUES,)),
    "extend": (lambda s, v: s.extend(v), (LISTS | TEXTS | st.just(5),)),
    "extend_self": (lambda s: s.extend(s[:2]), ()),
    "iadd": (lambda s, v: nothing(operator.iadd(s, v)), (LISTS | st.just(5),)),
    "imul": (lambda s, n: nothing(operator.imul(s, n)), (st.integers(-1, 2),)),
    "insert": (lambda s, i, v: s.insert(i, v), (INDEXES, VALUES)),
    "pop": (lambda s: s.pop(), ()),
    "pop_at": (lambda s, i: s.pop(i), (INDEXES,)),
    "remove": (lambda s, v: s.remove(v), (VALUES,)),
    "remove_own": (lambda s, i: s.remove(s[i]), (INDEXES,)),
    "index": (lambda s, v: s.index(v), (VALUES,)),
    "index_own": (lambda s, i: s.index(s[i]), (INDEXES,)),
    "index_bounds": (lambda s, i, a, b: s.index(s[i], a, b), (INDEXES, INDEXES, INDEXES)),
    "count": (lambda s, v: (s.count(v), v in s), (VALUES,)),
    "sort": (lambda s, r: s.sort(reverse=r), (st.booleans(),)),
    "sort_key": (lambda s, r: s.sort(key=repr, reverse=r), (st.booleans(),)),
    "reverse": (lambda s: s.reverse(), ()),
    "clear": (lambda s: s.clear(), ()),
    "compare": (lambda s, o: (s == o, s != o, o == s, s == s.copy(), s == 1), (LISTS,)),
    "order": (lambda s, o: (s < o, s <= o, s > o, s >= o), (LISTS | st.just(5),)),
    "add": (lambda s, o: (s + o, o + s), (LISTS | st.just(()),)),
    "mul": (lambda s, n: (s * n, n * s), (st.integers(-1, 2),)),
    "len": (lambda s: (len(s), bool(s)), ()),
    "iter": (lambda s: (list(s), list(reversed(s)), tuple(s), [*s], sorted(s, key=repr)), ()),
    "copy": (lambda s: (s.copy(), copy.copy(s), copy.deepcopy(s), s[:]), ()),
    "repr": (repr, ()),
    "json": (_dumped, ()),
}

DICT_ACTS, LIST_ACTS = _acts(DICT_TABLE), _acts(LIST_TABLE)
ROUTES = st.lists(st.integers(0, 5), max_size=4)


def act_of(dict_act: tuple[str, tuple[Any, ...]], list_act: tuple[str, tuple[Any, ...]]) -> Callable[[Any], Any]:
    """One operation for whatever container it is that a route leads to."""

    def act(container: Any) -> Any:
        table, (name, arguments) = (DICT_TABLE, dict_act) if isinstance(container, dict) else (LIST_TABLE, list_act)
        # What is put into one of them must not be changed through the other.
        return table[name][0](container, *copy.deepcopy(arguments))

    return act
