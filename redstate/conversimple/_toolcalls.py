"""Serves tool calls: each by the owner of its conversation, once, and always with an answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from redstate._jitter import between
from redstate._scope import Phase, Scope
from redstate.calls.toolcalls import LARGEST_REQUEST, TRIES, Begun
from redstate.conversimple._binding import Binding, bound
from redstate.conversimple._calljournal import CallJournal
from redstate.conversimple._claimant import Claim
from redstate.conversimple._lifecycle import Disowned
from redstate.conversimple._requests import Answer, Request
from redstate.conversimple._retry import PASSING, insist
from redstate.conversimple._toolrun import ToolRun, log_failure
from redstate.errors import ConversationAbsent, ConversationEnded, Fenced, RedstateError

if TYPE_CHECKING:
    from redstate.conversimple._serving import Serving
    from redstate.conversimple.agent import StatefulAgent

logger = logging.getLogger("redstate.conversimple")

# How long to wait before looking again what became of a call in another process, in seconds.
_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.25
# How long an agent that stops takes to leave a call to the next owner, in seconds.
_POST_WITHIN = 1.0


class ToolCalls:
    """The tool calls of one agent.

    They are kept in the SDK's own tables (tasks in flight, answers given), which its ``stop()`` and its
    bound on remembered answers work on, under keys that name the conversation as well.
    """

    def __init__(self, agent: StatefulAgent, serving: Serving) -> None:
        self._agent = agent
        self._serving = serving
        self._tools = ToolRun(agent)
        self._ownership = serving.ownership
        self._statistics = agent._statistics
        # The calls that run here, by their conversations: neither those that wait for another process nor those that
        # are left to it.
        self._running: dict[asyncio.Task[Any], str] = {}
        # What is left to the next owner at the moment; the SDK's table is cleared when the agent stops.
        self._posting: set[asyncio.Task[None]] = set()
        # Calls that wait for another process, or were answered a moment ago, and those of them that were asked again.
        self._quiet: set[str] = set()
        # Answers that were sent while there was no connection: the SDK drops them.
        self._unsent: set[str] = set()
        self._again: set[str] = set()
        self._draining = False

    def accept(self, request: Request) -> None:
        """Serve the request in a task of its own, unless the same one is being served."""
        key = request.key
        if key in self._agent._tool_tasks:
            logger.debug("ignored a duplicate of the running call %r", request.call_id)
            if key in self._quiet and request.begun_us is None:
                self._again.add(key)
            return
        if self._draining:
            posting = asyncio.create_task(self._post(request))
            self._posting.add(posting)
            posting.add_done_callback(self._posting.discard)
            return
        task = asyncio.create_task(self.serve(request))
        self._agent._tool_tasks[key] = task
        task.add_done_callback(lambda done: self._finish(request, done))

    def _finish(self, request: Request, task: asyncio.Task[None]) -> None:
        key = request.key
        self._agent._finish_tool_task(key, task)
        self._quiet.discard(key)
        if key in self._again:
            # It came once more while nothing was sent for it any more, or not for it.
            self._again.discard(key)
            self.accept(request)

    async def serve(self, request: Request) -> None:
        """Answer the request: with the answer that it had before, or by running the tool, if that is for this agent."""
        with bound(Binding(self._agent, request.conversation_id, request.call_id)):
            remembered = self._agent._completed_tool_results.get(request.key)
            if remembered is not None and request.begun_us is not None and request.key not in self._unsent:
                # Nobody asks: it stands in the record that it was not sent, and it was.
                await CallJournal(self._agent._stores, request).sent()
            elif remembered is not None:
                self._statistics.calls_repeated += 1
                await self._send(request, Answer(*remembered))
            elif not request.call_id or not request.tool_name:
                await self._send(request, request.failure("Missing call_id or tool_name"))
            elif request.conversation_id is None:
                await self._tell(request, *await self._tools.answer(request, None))
            else:
                await self._serve_once(request)

    def count_running(self) -> int:
        """How many calls run now."""
        return len(self._running)

    def running(self) -> dict[asyncio.Task[Any], str]:
        """The calls that run, except the one that asks, by their conversations."""
        own = asyncio.current_task()
        return {task: conversation_id for task, conversation_id in self._running.items() if task is not own}

    def close(self) -> None:
        """Begin no further call; what comes from now on is left to the next owner."""
        self._draining = True

    async def end(self) -> None:
        """Wait until what came late is left to the next owner, and end what waits for other workers."""
        own = asyncio.current_task()
        left = {task for task in (*self._agent._tool_tasks.values(), *self._posting) if task is not own}
        if left:
            await asyncio.wait(left, timeout=_POST_WITHIN)
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    def resume(self) -> None:
        """The agent starts (again)."""
        self._draining = False

    # Once, in whichever process

    async def _serve_once(self, request: Request) -> None:
        try:
            journal = CallJournal(self._agent._stores, request)
            claim = await self._claim(request)
            while claim is not None:
                if await self._served(request, journal, claim):
                    return
                claim = await self._claim(request)
            await self._elsewhere(request, journal)
        except RedstateError as error:
            log_failure(request, error)
            message = f"The call could not be claimed in the store: {error}"
            await self._send(request, request.failure(message))

    async def _claim(self, request: Request) -> Claim | None:
        """The claim on the request's conversation; None where it is for another process."""
        assert request.conversation_id is not None
        if not self._serving.may_serve(request):
            return None
        conversation_id = request.conversation_id
        return await insist(lambda: self._ownership.hold(conversation_id), request.left)

    async def _served(self, request: Request, journal: CallJournal, claim: Claim) -> bool:
        """Serve the call as the owner. Returns False where there is a newer one."""
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = claim.conversation_id
        try:
            if self._draining:
                await self._forward(request, journal)
                return True
            begun = await journal.begin(claim)
            match begun.verdict:
                case "done":
                    if await self._repeat(request, begun):
                        await journal.sent()
                case "wait":
                    # This very owner runs it, or did and could not say so.
                    del self._running[task]
                    await self._elsewhere(request, journal, claim)
                case "full":
                    await self._send(request, request.failure("Too many tool calls of this conversation are under way"))
                case "spent":
                    answer = request.failure(f"The call was begun {TRIES} times, and no worker survived it")
                    ending = await journal.finish(claim, answer, changed=True)
                    if await self._send(request, answer) and ending is not None:
                        await journal.sent()
                case _:
                    request = request.as_of(begun.now_us)
                    scope = journal.scope(claim, begun, request.left)
                    await self._run(request, journal, claim, scope, resumed=begun.verdict == "again")
        except Fenced:
            self._ownership.lose(claim)
            return False
        except (ConversationEnded, ConversationAbsent):
            # Not by this agent: by a sweeper, or by a call of end().
            await self._send(request, request.failure("The conversation has ended"))
            await self._ownership.over(claim)
        except Disowned:
            # Where this agent stops, the next owner finds the call in the journal, begun and not finished.
            return self._draining
        finally:
            self._running.pop(task, None)
        return True

    async def _run(self, request: Request, journal: CallJournal, claim: Claim, scope: Scope, *, resumed: bool) -> None:
        call = scope.call
        assert call is not None
        answer, result = await self._tools.answer(request, scope, resumed=resumed)
        ending = await journal.finish(claim, answer, changed=call.changed)
        if ending == "lost":
            # The next owner runs it, and its answer counts.
            self._ownership.lose(claim)
            return
        if call.phase is Phase.RUNNING:
            call.phase = Phase.ANSWERED
        if await self._tell(request, answer, result, Scope(claim.key, claim.token)) and ending is not None:
            await journal.sent()

    async def _elsewhere(self, request: Request, journal: CallJournal, own: Claim | None = None) -> None:
        """See to a call that another process may run: repeat its answer when there is one.

        A call that has not begun is left to the conversation's owner, who gets it as well, unless this agent becomes
        the owner (by another claim than ``own``).
        """
        begins, begun, pause = None, None, _FIRST_LOOK
        looked = False
        with contextlib.suppress(*PASSING):
            begins = begun = await journal.look()
            looked = True
        if request.begun_us is not None:
            # Nobody asked this agent: it stood in the record of a conversation that was its own.
            return
        if begun is None and self._passes_on(request):
            await self._forward(request, journal)
            return
        self._quiet.add(request.key)
        while begun is None or begun.verdict == "wait":
            if request.left <= 0:
                if begins is not None:
                    await self._send(request, request.failure("The call is still under way in another process"))
                return
            if begun is None and self._ownership.is_over(request.conversation_id):
                await self._send(request, request.failure("The conversation has ended"))
                return
            await asyncio.sleep(between(pause / 2, pause))
            with contextlib.suppress(*PASSING):
                if await self._served_after_all(request, journal, own, ask=pause == _LONGEST_LOOK):
                    return
                begun = await journal.look()
                begins = begins or (begun if not looked else None)
                looked = True
            pause = min(pause * 2, _LONGEST_LOOK)
        if begins is not None or request.key in self._again:
            self._again.discard(request.key)
            await self._repeat(request, begun)

    async def _served_after_all(self, request: Request, journal: CallJournal, own: Claim | None, *, ask: bool) -> bool:
        """Serve the call if the conversation has become this agent's, by another claim than ``own``."""
        assert request.conversation_id is not None
        claim = self._ownership.held(request.conversation_id)
        if claim is None and ask and self._serving.may_serve(request):
            # Its owner may have died.
            claim = await self._ownership.hold(request.conversation_id)
        return claim is not None and claim is not own and await self._served(request, journal, claim)

    async def _repeat(self, request: Request, begun: Begun) -> bool:
        self._statistics.calls_repeated += 1
        return await self._send(request, Answer.of_record(begun.answer, request))

    async def _post(self, request: Request) -> None:
        """Leave a call to the conversation's next owner."""
        conversation_id = request.conversation_id
        mine = self._ownership.held(conversation_id) is not None or self._ownership.was_mine(conversation_id)
        if not mine or not request.call_id or not request.tool_name:
            return
        try:
            await self._forward(request, CallJournal(self._agent._stores, request))
        except RedstateError as error:
            logger.warning("call %r could not be left to the next owner: %s", request.call_id, error)

    def _passes_on(self, request: Request) -> bool:
        """Whether the owner is to hear of a call from here: the platform still asks this agent, perhaps no other."""
        where = request.conversation_id
        fits = len(request.payload()) <= LARGEST_REQUEST
        return self._ownership.was_mine(where) and fits and not self._ownership.is_over(where)

    async def _forward(self, request: Request, journal: CallJournal) -> None:
        assert request.conversation_id is not None
        await insist(journal.post, max(1.0, request.left))
        if self._ownership.held(request.conversation_id) is None:
            await self._ownership.tell_owner(request.conversation_id)

    async def _tell(self, request: Request, answer: Answer, result: Any, scope: Scope | None = None) -> bool:
        """Send the answer of a call that ran here. Returns whether it went."""
        sent = await self._send(request, answer)
        if answer.event == "tool_call_response":
            self._statistics.calls_answered += 1
            with bound(Binding(self._agent, request.conversation_id, request.call_id, scope=scope)):
                await self._agent.callback_manager.trigger_tool_completed(request.call_id, result)
        else:
            self._statistics.calls_failed += 1
        return sent

    async def _send(self, request: Request, answer: Answer) -> bool:
        """Send an answer. Returns whether there was a connection that it went by, as far as can be known."""
        # Remembered first: a redelivery must find the answer even if this sending fails.
        if request.call_id and request.tool_name:
            self._agent._remember_tool_result(request.key, answer.event, answer.payload)
        connection = self._agent.connection
        joined = connection.connected and connection.channel_joined
        await connection.send_message(answer.event, answer.payload)
        sent = bool(joined and connection.connected and connection.channel_joined)
        (self._unsent.discard if sent else self._unsent.add)(request.key)
        self._quiet.add(request.key)
        return sent
