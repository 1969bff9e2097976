"""Keeps the leases of a process's owners, all in one call, and hears which owners of other processes are gone.

One lease covers all that an owner holds, however much that is. It is renewed from the event loop: a worker whose loop
stands still serves nobody, and loses its conversations to those who do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from typing import Protocol

from redstate._jitter import between
from redstate.calls import ownership
from redstate.conversimple._stores import Stores
from redstate.errors import RedstateError

logger = logging.getLogger("redstate.conversimple")

# Renewals within one lease. As the answer tells when the next lease of any owner ends, nobody need look more often.
_RENEWALS = 8
# How long after the end of a lease to look, in seconds.
_AFTER_END = 0.005


class Member(Protocol):
    """An agent that owns conversations."""

    @property
    def owner(self) -> str | None:
        """Its name; None while it has none."""

    def lapsed(self, owner: str) -> None:
        """The lease ended: the process stood still, or was cut off, for too long."""

    def heard(self, beat: ownership.Beat) -> None:
        """Who is there, and who is gone."""


class Membership:
    """The members of one event loop on one server.

    Args:
        stores: how to reach the server.
        lease: seconds.
    """

    def __init__(self, stores: Stores, lease: float) -> None:
        self._stores = stores
        self._lease = lease
        self._members: list[Member] = []
        self._beating: asyncio.Task[None] | None = None

    async def join(self, owner: str) -> ownership.Beat:
        """Begin the lease of an owner, which counts from before this returns.

        Raises:
            RedstateError: the store could not do it.
        """
        return await self._ask((), (owner,))

    def add(self, member: Member) -> None:
        """Renew the lease of a member that has joined, from now on."""
        if member not in self._members:
            self._members.append(member)
        if self._beating is None:
            self._begin()

    def _begin(self) -> None:
        self._beating = asyncio.create_task(self._beat(), name="redstate-leases")
        self._beating.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and task is self._beating:
            # Nobody else would notice, and all leases would end.
            logger.error("renewing leases failed, and is begun again", exc_info=error)
            asyncio.get_running_loop().call_later(self._lease / _RENEWALS, self._begin)

    def remove(self, member: Member) -> None:
        """Renew it no more."""
        with contextlib.suppress(ValueError):
            self._members.remove(member)
        if not self._members and self._beating is not None:
            self._beating.cancel()
            self._beating = None
            shared = _memberships.get(asyncio.get_running_loop(), {})
            for key in [one for one, membership in shared.items() if membership is self]:
                del shared[key]

    async def _beat(self) -> None:
        failing = False
        while self._members:
            renewed = {member.owner: member for member in self._members if member.owner is not None}
            try:
                beat = await self._ask(tuple(renewed), ())
            except RedstateError as error:
                if not failing:
                    logger.warning("the leases of %d agents were not renewed: %s", len(renewed), error)
                failing = True
                await asyncio.sleep(self._lease / _RENEWALS / 4)
                continue
            failing = False
            for owner in beat.lapsed:
                renewed[owner].lapsed(owner)
            for member in self._members:
                member.heard(beat)
            await asyncio.sleep(self._pause(beat))

    async def _ask(self, renewed: tuple[str, ...], joining: tuple[str, ...]) -> ownership.Beat:
        # Several attempts must fit into a lease.
        call = ownership.beat(self._stores.prefix, self._lease, renewed, joining)
        return await self._stores.ask(call, timeout=self._lease / 3)

    def _pause(self, beat: ownership.Beat) -> float:
        longest = self._lease / _RENEWALS
        pause = between(longest * 0.9, longest)
        return pause if beat.next_end is None else min(pause, max(0.0, beat.next_end) + _AFTER_END)


_memberships: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[object, Membership]] = (
    weakref.WeakKeyDictionary()
)


def membership_of(stores: Stores, lease: float) -> Membership:
    """The membership that the agents of the running event loop share, if they share their stores and their lease."""
    shared = _memberships.setdefault(asyncio.get_running_loop(), {})
    key = stores.identity, lease
    if key not in shared:
        shared[key] = Membership(stores, lease)
    return shared[key]
