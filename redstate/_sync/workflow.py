# Generated from redstate/_async/workflow.py by tools/generate_sync.py. Do not edit: edit that file.
"""A workflow of a conversation: each move is one atomic compare-and-set on what was read just before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redstate._scope import in_call
from redstate._sync.contention import Contention
from redstate._sync.record import Record
from redstate.calls import workflow as workflow_calls
from redstate.calls.workflow import Move, Seen, WorkflowStatus
from redstate.errors import ConflictError, InvalidInput, InvalidValue, StepRefused
from redstate.workflow.definition import Workflow


class WorkflowRun:
    """One workflow of one conversation. Obtained as ``conversation.workflow(definition)``.

    It stands at its initial step until something moves it. ``op_id`` and ``expected_version`` mean what they mean in
    the state. Each change returns the name of the step at which the workflow then stands.

    Each change can raise ``StepRefused``, which says what is missing and what is allowed, and whose ``as_result()`` a
    tool can return to a language model as it stands; ``NotAuthenticated`` where the step requires a login; and
    ``ConflictError`` where other writers of this workflow came first until the handle's timeout was over.
    """

    __slots__ = ("_record", "definition")

    def __init__(self, definition: Workflow, record: Record) -> None:
        if not isinstance(definition, Workflow):
            what = f"the class {definition.__name__}" if isinstance(definition, type) else type(definition).__name__
            raise InvalidInput(
                f"workflow() takes a Workflow that was made, not {what}",
                next_step="Pass the definition: Workflow(name, steps)",
            )
        self.definition = definition
        self._record = record

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.definition.name!r}>"

    def start(self, *, op_id: str | None = None, expected_version: int | None = None, **data: Any) -> str:
        """Begin at the initial step; after the end, begin anew, with nothing kept but the history.

        Args:
            data: fields that are known already, of any step.

        Raises:
            StepRefused: it runs already.
            InvalidValue: a field that no step collects, or a value of another type.
        """
        values = self.definition.convert(data)
        return self._change("s", lambda seen: workflow_calls.start(seen, values), op_id, expected_version)

    def advance(
        self, to: str | None = None, *, op_id: str | None = None, expected_version: int | None = None, **collected: Any
    ) -> str:
        """Go on to the next step, storing what was collected; both or neither.

        Of several workers that advance from one step at once, one succeeds; the others get ``StepRefused`` with the
        step that it reached. A worker that comes later advances from there, unless it names the step that it means.

        Args:
            to: the step to go to; it can be left out where only one can follow.
            collected: fields, of any step.

        Raises:
            StepRefused: the step cannot follow, something is missing, a guard refuses, the time is over, the workflow
                has ended, or another worker moved it first.
            InvalidValue: a field that no step collects, or a value of another type.
            InvalidWorkflow: a guard is no plain function; what it returned would have to be awaited.

        What a guard raises comes with a note that names guard, step and workflow.
        """
        values = self.definition.convert(collected)

        def decide(seen: Seen) -> Move:
            return workflow_calls.advance(seen, to, values)

        return self._change("a", decide, op_id, expected_version, in_place=True)

    def collect(self, *, op_id: str | None = None, expected_version: int | None = None, **values: Any) -> str:
        """Store fields without moving.

        Fields of other steps are taken too: callers answer early, and correct themselves.

        Workers that collect at once all succeed, also if one of them moves the workflow meanwhile.

        Raises:
            StepRefused: the time for the step is over, or the workflow has ended.
            InvalidValue: a field that no step collects, or a value of another type.
        """
        converted = self.definition.convert(values)
        return self._change("k", lambda seen: workflow_calls.collect(seen, converted), op_id, expected_version)

    def back(self, *, op_id: str | None = None, expected_version: int | None = None) -> str:
        """Return to the step before, keeping what was collected; its time begins anew. At most 50 steps are remembered.

        Raises:
            StepRefused: there is no step before, the workflow has ended, or another worker moved it first.
        """
        return self._change("b", workflow_calls.back, op_id, expected_version, in_place=True)

    def cancel(
        self, reason: str | None = None, *, op_id: str | None = None, expected_version: int | None = None
    ) -> str:
        """End it where it stands; ``start`` begins anew.

        Args:
            reason: kept for ``status``.

        Raises:
            StepRefused: it has ended already.
        """
        if reason is not None and type(reason) is not str:
            raise InvalidValue("The reason must be text", path="reason", expected="text")
        return self._change("c", lambda seen: workflow_calls.cancel(seen, reason), op_id, expected_version)

    def status(self, *, fresh: bool = False, min_version: int | None = None) -> WorkflowStatus:
        """Where it stands, at one moment.

        Args:
            fresh, min_version: as for ``state.get``: local memory may answer by default. Changes never go by it.

        Raises:
            CorruptState: its fields hold bytes that redstate did not write.
        """
        return workflow_calls.status(self._read(fresh=fresh, min_version=min_version))

    def _read(self, *, fresh: bool = True, min_version: int | None = None) -> Seen:
        record = self._record
        call = workflow_calls.read(record.codec, record.key, self.definition)
        return record.read(call, fresh=fresh, min_version=min_version)

    def _change(
        self,
        verb: str,
        decide: Callable[[Seen], Move],
        op_id: str | None,
        expected_version: int | None,
        *,
        in_place: bool = False,
    ) -> str:
        """Decide on what is there and apply it, again on the newest where another writer came first.

        Args:
            decide: makes the change, or raises StepRefused.
            in_place: only where the workflow stood at first.
        """
        first: Seen | None = None
        contention = Contention(self._record.key, self._record.timeout)
        while contention.another():
            seen = self._read()
            first = first or seen
            try:
                if in_place and not seen.same_place(first):
                    raise workflow_calls.refused(seen, workflow_calls.OVERTAKEN)
                move = decide(seen)
            except StepRefused as refusal:
                if op_id is None and not in_call():
                    raise
                return self._first_result(verb, op_id, refusal)
            applied = self._apply(seen, move, op_id, expected_version)
            if applied is not None:
                return applied
        raise AssertionError("another() ends by raising")

    def _apply(self, seen: Seen, move: Move, op_id: str | None, expected_version: int | None) -> str | None:
        """The step reached; None where the workflow was not as it was seen any more."""
        record = self._record
        guarded = record.if_logged_in() if workflow_calls.needs_login(seen, move) else record
        call = workflow_calls.change(record.codec, record.key, seen, move)
        try:
            return guarded.apply(call, op_id, expected_version)
        except ConflictError as conflict:
            if conflict.field != call.field:
                raise
            return None
        except StepRefused:
            raise workflow_calls.overdue(seen) from None

    def _first_result(self, verb: str, op_id: str | None, refusal: StepRefused) -> str:
        """What a refused operation answered when it first ran: perhaps it is refused only because it did."""
        record = self._record
        call = workflow_calls.repeat(record.codec, record.key, self.definition, verb)
        try:
            return record.apply(call, op_id)
        except ConflictError:
            raise refusal from None
