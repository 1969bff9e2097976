# Generated from redstate/_async/cache.py by tools/generate_sync.py. Do not edit: edit that file.
"""The cache: values that any process can load again, each loaded by one at a time."""

from __future__ import annotations

import functools
import math
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from redstate import _keys
from redstate._call import Query
from redstate._jitter import between
from redstate._scope import refuse_late
from redstate._sync.record import Record
from redstate.calls import cache as cache_calls
from redstate.calls.cache import Claim, Entry, Found, Function, Kept, Loader, Terms
from redstate.errors import RedstateError
from redstate.nearcache.holding import Fill
from redstate.transport.waits import ThreadWaits, pauses

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
P = ParamSpec("P")


class CachedFunction(Protocol[P, T_co]):
    """What ``store.cached`` makes of a function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """The cached result of these arguments, loaded by the function where there is none."""

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Drop the cached result of these arguments, in every process."""


class Cache:
    """Values that any process can load again. Obtained as ``store.cache``.

    Keys are any text of 1 to 512 UTF-8 bytes, and values whatever state can hold, under the same limits. What is
    returned from the cache is a fresh copy each time. Spans are seconds, judged by the server's clock alone.

    An entry lives 90 to 100 % of its ``ttl``, at random, so that entries made together do not expire together.

    Every method raises ``InvalidId`` or ``InvalidTTL`` before anything is sent, ``CorruptState`` where an entry holds
    bytes that redstate did not write, and ``StoreError`` where the server cannot be asked.
    """

    __slots__ = ("_prefix", "_record", "_waits")

    def __init__(self, prefix: str, record: Record) -> None:
        self._prefix = prefix
        self._record = record
        self._waits = ThreadWaits()

    def get(self, key: str, default: Any = None, *, fresh: bool = False) -> Any:
        """The fresh value of a key, or ``default``; pass ``redstate.ABSENT`` to tell a cached None from nothing.

        Costs nothing where local memory has it; else one round trip, and a further one for each tag of the entry.

        Args:
            key: which.
            default: what to return where nothing fresh is cached.
            fresh: ask the server; otherwise local memory may answer, within the store's ``max_staleness``.

        Raises:
            CorruptState, UnknownType: what is there cannot be read; set or delete it to go on.
        """
        name = _keys.cache_key(self._prefix, key)
        entry = self._entry(name, fresh)
        if entry is None or not self._in_force(entry, fresh):
            return default
        return cache_calls.decoded(self._record.codec, name, entry)

    def set(self, key: str, value: Any, ttl: float | None = None, *, tags: Iterable[str] = ()) -> None:
        """Cache a value. A load of the key that is under way is not kept.

        Args:
            value: anything that state can hold; None too.
            ttl: seconds that it lives at most, and nine tenths of that at least; 300 by default.
            tags: up to 16 names, by each of which it can be invalidated.

        Raises:
            UnsupportedValue, TooLarge: the value cannot be stored.
        """
        record = self._record
        name = _keys.cache_key(self._prefix, key)
        terms = cache_calls.terms(self._prefix, ttl, tags)
        marks = self._marks(terms)
        self._change(name, cache_calls.assign(record.codec, name, _token(), value, _spread(terms.fresh_ms), marks))
        self._waits.wake(name)

    def delete(self, key: str) -> None:
        """Drop the value of a key, in every process. A load of it that is under way is not kept."""
        name = _keys.cache_key(self._prefix, key)
        self._change(name, cache_calls.delete(name))
        self._waits.wake(name)

    def invalidate(self, key: str) -> None:
        """The same as ``delete``, under the name that goes with ``invalidate_tag``."""
        self.delete(key)

    def invalidate_tag(self, tag: str) -> None:
        """Drop every value that carries the tag, in every process, at the cost of one call however many there are.

        A load under such a tag that is under way is not served from the cache either: only one that begins later is.
        """
        self._change(_keys.tag_key(self._prefix, tag), cache_calls.invalidate_tag(self._prefix, tag))

    def get_or_set(
        self,
        key: str,
        loader: Loader[T],
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
        stale: float = 0.0,
        negative_ttl: float | None = None,
        lease: float = 10.0,
    ) -> T:
        """The value of a key; where there is none, the loader's, which runs once across all processes.

        Whoever finds nothing fresh first takes a lease and loads. The others get the stale value if there is one, and
        wait otherwise. If the loader raises, its caller gets the exception, and so do those of the same process who
        wait for it; the next of another process loads. If its process dies, the next loads when the lease has run out.
        Nobody waits longer than ``lease`` in all: who would runs his own loader and gets its value, which is not kept.
        A loader that runs longer than its lease has lost it: its value is not kept either, nor if the key was
        invalidated meanwhile. A loader must not ask for its own key: it would wait for itself.

        Args:
            loader: called without arguments. Its own caller gets its very result; the others get copies.
            ttl: seconds that the value is fresh at most, and nine tenths of that at least; 300 by default.
            tags: up to 16 names, by each of which the value can be invalidated.
            stale: seconds after that for which it still serves those who come while another loads.
            negative_ttl: the ttl of a None, which says that there is nothing to load; 30, or ``ttl`` if that is
                shorter, by default; 0 keeps no None. A None is never served stale.
            lease: seconds that the loader may take, and that others wait for it at most; up to 3,600.

        Raises:
            UnsupportedValue, TooLarge: what the loader returned cannot be stored.
            StoreError: the server could not be asked, or could not keep the value.
        """
        cache_calls.checked_loader(loader, cache_calls.PLAIN)
        terms = cache_calls.terms(self._prefix, ttl, tags, stale, negative_ttl, lease)
        return self._found_or_loaded(_keys.cache_key(self._prefix, key), loader, terms)

    def cached(
        self,
        ttl: float | None = None,
        *,
        key: str | Callable[..., str] | None = None,
        tags: Iterable[str] = (),
        stale: float = 0.0,
        negative_ttl: float | None = None,
        lease: float = 10.0,
    ) -> Callable[[Function[P, T]], CachedFunction[P, T]]:
        """Decorate a function so that its results are cached, by its arguments.

        The key is made of the function's module and qualified name and of its arguments, defaults included, which must
        be values that state can hold. Functions of the same name share results: give a ``key`` to those defined in
        scripts or inside other functions. The decorated function has ``invalidate(*args)``.

        Args:
            key: a name in place of the function's own; or a function of the same arguments that returns the whole
                key, for arguments that cannot be stored, such as the ``self`` of a method.
            ttl, tags, stale, negative_ttl, lease: as for ``get_or_set``.

        Raises:
            InvalidInput: what is decorated, or the key, is no function of the right kind.
        """
        terms = cache_calls.terms(self._prefix, ttl, tags, stale, negative_ttl, lease)

        def decorate(function: Function[P, T]) -> CachedFunction[P, T]:
            cache_calls.checked_function(function, cache_calls.PLAIN)
            key_of = cache_calls.key_maker(self._record.codec, self._prefix, function, key)

            @functools.wraps(function)
            def cached(*args: P.args, **kwargs: P.kwargs) -> T:
                name = _keys.cache_key(self._prefix, key_of(args, kwargs))
                return self._found_or_loaded(name, lambda: function(*args, **kwargs), terms)

            def invalidate(*args: P.args, **kwargs: P.kwargs) -> None:
                self.delete(key_of(args, kwargs))

            cached.__dict__["invalidate"] = invalidate
            return cast(CachedFunction[P, T], cached)

        return decorate

    def _found_or_loaded(self, name: str, loader: Loader[T], terms: Terms) -> T:
        token = _token()
        try:
            claim = self._found_or_claimed(name, token, terms.lease_ms)
        except BaseException as failure:
            # Cancelled with the claim on its way: it may hold the lease by now, and nobody shall wait for it.
            if not isinstance(failure, Exception):
                self._release(name, token, failure)
            raise
        if claim.entry is not None:
            found: T = cache_calls.decoded(self._record.codec, name, claim.entry)
            return found
        if claim.wait_ms:
            return loader()
        return self._loaded(name, token, loader, terms)

    def _found_or_claimed(self, name: str, token: str, lease_ms: int) -> Claim:
        """A valid entry, or the lease; that of another once we have waited as long as anybody may."""
        rejected = ""
        pause = pauses()
        until: float | None = None
        kept = self._kept(name)
        if kept is not None and self._in_force(kept.what):
            return Claim(Found(kept.what, 0.0))
        try:
            while True:
                fill = self._begin(name)
                claim = self._record.ask(cache_calls.claim(name, token, lease_ms, rejected))
                self._keep(name, fill, claim.found)
                if claim.entry is not None:
                    if self._in_force(claim.entry):
                        return claim
                    rejected = claim.entry.id
                elif claim.wait_ms:
                    now = time.monotonic()
                    until = now + lease_ms / 1000 if until is None else until
                    if now >= until:
                        return claim
                    longest = min(claim.wait_ms / 1000, until - now)
                    failure = self._waits.pause(name, next(pause), longest)
                    if failure is not None:
                        raise failure
                else:
                    return claim
        finally:
            if until is not None:  # whoever followed this one must see for himself, also where this one was cancelled
                self._waits.wake(name)

    def _loaded(self, name: str, token: str, loader: Loader[T], terms: Terms) -> T:
        """The loader's value, kept if the lease still holds."""
        record = self._record
        failed: Exception | None = None
        try:
            try:
                # Before the load begins: what is invalidated from here on leaves the entry with a mark of the past.
                marks = self._marks(terms)
                value = loader()
                spans = (terms.negative_ms, 0) if value is None else (terms.fresh_ms, terms.stale_ms)
                if spans[0] == 0:
                    call = cache_calls.release(name, token)
                else:
                    call = cache_calls.store(record.codec, name, token, value, _spread(spans[0]), spans[1], marks)
            except BaseException as failure:
                # A cancellation is its task's own, and those who wait try in turn.
                failed = failure if isinstance(failure, Exception) else None
                self._release(name, token, failure)
                raise
            try:
                self._change(name, call)
            except BaseException as failure:
                if not isinstance(failure, Exception):  # cancelled: stored or not, the lease is of no more use
                    self._release(name, token, failure)
                raise
            return value
        finally:
            self._waits.wake(name, failed)

    def _release(self, name: str, token: str, failure: BaseException) -> None:
        """Give the lease back after a failure, which is what the caller is told of whatever happens here."""
        try:
            self._record.ask(cache_calls.release(name, token))
        except RedstateError as error:
            failure.add_note(f"Its lease could not be given back and will run out by itself: {error.message}")

    def _marks(self, terms: Terms) -> dict[str, str]:
        """The mark of each tag, by the tag's key."""
        life_ms = terms.fresh_ms + terms.stale_ms + terms.lease_ms
        return {tag: self._record.ask(cache_calls.new_mark(tag, _token(), life_ms)) for tag in terms.tags}

    def _in_force(self, entry: Entry, fresh: bool = False) -> bool:
        """Whether none of the entry's tags was invalidated since its load began."""
        found = [self._mark(tag, fresh) for tag, _ in entry.marks]
        return found == [mark.encode() for _, mark in entry.marks]

    # Local memory

    def _entry(self, name: str, fresh: bool) -> Entry | None:
        """The entry of a key, from memory or from the server."""
        kept = None if fresh else self._kept(name)
        if kept is not None:
            entry: Entry = kept.what
            return entry
        fill = self._begin(name, fresh)
        found = self._record.ask(cache_calls.get(name))
        self._keep(name, fill, found)
        return None if found is None else found.entry

    def _mark(self, tag: str, fresh: bool) -> bytes | None:
        """The mark of a tag in force, from memory or from the server."""
        kept = None if fresh else self._kept(tag)
        if kept is not None:
            held: bytes = kept.what
            return held
        fill = self._begin(tag, fresh)
        mark = self._record.ask(cache_calls.mark_in_force(tag))
        if fill is None:
            self._record.copies.forget(tag)
        elif mark is not None:
            self._record.copies.complete(fill, Kept(mark, fill.since, math.inf))
        return mark

    def _kept(self, name: str) -> Any:
        """What memory has of a key or a tag, if it may be served now."""
        local = self._record.local
        kept = local.servable(name)
        if kept is not None:
            local.copies.counters.hits += 1
        return kept

    def _begin(self, name: str, fresh: bool = False) -> Fill | None:
        local = self._record.local
        if fresh or not local.longest:
            local.copies.counters.bypassed("fresh" if fresh else "off")
            return None
        return local.copies.begin(name, local.longest)

    def _keep(self, name: str, fill: Fill | None, found: Found | None) -> None:
        if fill is None:
            # What was found may be newer than the copy that memory was not to serve.
            self._record.copies.forget(name)
        elif found is not None and found.fresh > 0:
            kept = Kept(found.entry, fill.since, fill.since + found.fresh)
            self._record.copies.complete(fill, kept)

    def _change(self, name: str, call: Query[T]) -> T:
        """Change a key or a tag at the server, and have this process's reads see it from now on."""
        refuse_late(name)
        try:
            return self._record.ask(call)
        finally:
            self._record.copies.forget(name)


def _token() -> str:
    return secrets.token_hex(16)


def _spread(ttl_ms: int) -> int:
    return cache_calls.spread(ttl_ms, between(0, 1))
