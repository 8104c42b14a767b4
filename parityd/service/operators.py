"""HALT files and command files: stops are obeyed at once, past the inbox; what raises risk waits for the worker and its commit.

1. `look` is called several times a second, in a thread of its own; it publishes stops itself and leaves the book-keeping in `queue`.
2. `settle` is the worker's: it stores and audits what was seen, and only then lets go of anything.
3. A file is moved only after what it asked for is stored.
"""

import os
import threading
from collections import deque
from typing import Any

import msgspec

from parityd.core import commands as core
from parityd.core.commands import Command, Halt
from parityd.core.instants import rfc3339
from parityd.edges import halt as halts
from parityd.edges.command_files import CommandFolder, to_be_left
from parityd.edges.commands import Accepted, Moment, Standing, Terms
from parityd.edges.overrides import judge
from parityd.edges.signatures import verify
from parityd.service.workplace import App
from parityd.store.entries import AuditDraft


class Watch:
    """The operators' folder."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.folder = app.settings.data_dir / "overrides"
        self.commands = CommandFolder(self.folder)
        blob = app.store.state("halts")
        self.state = (msgspec.json.decode(blob, type=halts.HaltState) if blob else halts.HaltState()).resumed()
        applied = app.store.state("commands/applied")
        self.applied: dict[str, str] = msgspec.json.decode(applied, type=dict[str, str]) if applied else {}
        self.done_keys: dict[str, tuple[str, str, str]] = {}
        if app.broken:
            self.applied |= dict.fromkeys(self.commands.applied_hashes(), "")
        self.queue: deque[tuple[str, Any]] = deque()
        self.lock = threading.Lock()
        self.errors = ""
        self.moved_ns = 0
        self._held: set[str] = set()

    # --- in the watch's own thread --------------------------------------------------------------------------------

    def known(self) -> set[str]:
        return {*self.app.brain.v.m.strategies, *self.app.settings.strategies}

    def look(self) -> bool:
        """One look: HALT files and command files. True where something was seen for the worker."""
        with self.lock:
            self.moved_ns = self.app.boottime()
            found = self._halts()
            return self._letters() or found

    def _halts(self) -> bool:
        seen = halts.look(self.folder)
        self.errors = seen.error
        signed = self.app.settings.overrides.allowed_signers is not None
        step = halts.step(
            self.state, seen, now_ns=self.app.now(), boottime_ns=self.app.boottime(), known=self.known(), by_reset_only=signed
        )
        changed = step.state != self.state
        self.state = step.state
        if step.raised:
            operators = self.app.brain.operators
            new = tuple(Halt(scope=x.scope, reason=x.reason, since_ns=x.since_ns) for x in step.raised)
            operators.halts = (*operators.halts, *new)
            self.app.publisher.publish(rises_only=True)
        if step.raised or step.lifted:
            self.queue.append(("halt", ([x.name for x in step.raised], [x.name for x in step.lifted], step.state)))
        return changed and bool(step.raised or step.lifted)

    def _letters(self) -> bool:
        post = self.commands.read()
        found = False
        for letter in post.letters:
            if str(letter.key) in self._held:
                continue
            verdict = self._judged(letter, post.folder)
            if to_be_left(letter, verdict, self.app.now()):
                continue
            self._held.add(str(letter.key))
            if isinstance(verdict, Accepted):
                c = as_core(verdict.command)
                if c.lowers:
                    operators = self.app.brain.operators
                    operators.commands = (*operators.commands, c)
                    self.app.publisher.publish(rises_only=True)
                self.queue.append(("command", (letter, c)))
            else:
                self.queue.append(("refused", (letter, verdict)))
            found = True
        return found

    def _judged(self, letter: Any, folder: Any) -> Any:
        s = self.app.settings.overrides
        terms = Terms(daemon_uid=os.geteuid(), allowed_uids=frozenset(s.uids()), signers=s.allowed_signers is not None)
        moment = Moment(now_ns=self.app.now(), boottime_ns=self.app.boottime(), boot_id=self.app.publisher.terms.boot_id)
        ladders = dict(self.app.brain.v.standing.ladders)
        latched = {name: state.latched_action for name, state in ladders.items() if state.latched_action is not None}
        ids = frozenset(v for v in self.applied.values() if v)
        standing = Standing(
            known=frozenset(self.known()),
            latched=latched,
            broken_store=self.app.brain.v.standing.broken_store,
            applied=frozenset(self.applied),
            ids=ids,
        )
        if letter.problem is not None:
            return letter.problem
        verdict = judge(letter.raw, letter.facts, folder, terms, moment, standing)
        if getattr(verdict, "code", "") == "unsigned" and letter.signature and s.allowed_signers is not None:
            verdict = judge(
                letter.raw, letter.facts, folder, terms, moment, standing, signature=verify(letter.raw, letter.signature, s.allowed_signers)
            )
        return verdict

    # --- in the worker's thread -----------------------------------------------------------------------------------

    def settle(self) -> list[Any]:
        """Store and audit what the watch has seen; returns the turns' results."""
        out = []
        while self.queue:
            kind, what = self.queue[0]
            done = self._settle_one(kind, what)
            if done is not None and done.failed:
                break
            self.queue.popleft()
            if done is not None:
                out.append(done)
        return out

    def _settle_one(self, kind: str, what: Any) -> Any:
        b = self.app.brain
        now = self.app.now()
        if kind == "halt":
            raised, lifted, state = what
            self.app.brain.extra_states["halts"] = msgspec.json.encode(state)
            return b.halted(tuple(Halt(scope=x.scope, reason=x.reason, since_ns=x.since_ns) for x in state.latches), raised, lifted)
        letter, verdict = what
        if kind == "command":
            c: Command = verdict
            self.applied[c.content_hash] = c.id
            b.extra_states["commands/applied"] = msgspec.json.encode(self.applied)
            done = b.command(c, letter.name)
            if not done.failed:
                if c.command == "reset":
                    self._release(c.strategy)
                self.commands.finish(letter, "applied", "", "", rfc3339(now))
            return done
        b.extra_audit.append(
            AuditDraft(
                ts_ns=now,
                event="override.refused",
                actor="operator",
                data={"file": letter.name, "code": verdict.code, "reason": verdict.text},
            )
        )
        done = b.commit_extras()
        if not done.failed:
            self.commands.finish(letter, "refused", verdict.code, verdict.text, rfc3339(now))
        return done

    def _release(self, scope: str) -> None:
        step = halts.release(self.state, scope, halts.look(self.folder))
        if step.lifted:
            self.state = step.state
            self.queue.append(("halt", ([], [x.name for x in step.lifted], step.state)))


def as_core(c: Any) -> Command:
    """The edge's record of a command as the core's."""
    if isinstance(c, core.Command):
        return c
    values = msgspec.to_builtins(c)
    return msgspec.convert({k: values[k] for k in core.Command.__struct_fields__ if k in values}, core.Command)
