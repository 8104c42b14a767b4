"""HALT files and command files: stops are obeyed at once, past the inbox; what raises risk waits for the worker and its commit.

1. `look` is called several times a second, in a thread of its own; it publishes stops itself and leaves the book-keeping in `queue`.
2. `settle` is the worker's: it stores and audits what was seen, and only then lets go of anything. A raising command is judged once more
   there, its signature only there: what was true when it was seen may not be true when its turn comes.
3. A file is moved only after what it asked for is stored; one that was stored and not yet moved when the process ended is moved, not obeyed again.
4. What cannot be stored or moved now stays in the queue; nothing that was seen is in force less for it.
5. A look is short, whatever lies in the folder: what it did not come to is the next one's.
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
from parityd.edges.command_files import CommandFolder, Letter, to_be_left
from parityd.edges.commands import Accepted, Facts, Moment, Refused, Standing, Terms, Verdict
from parityd.edges.overrides import judge, made_out
from parityd.edges.signatures import verify
from parityd.service import obeying
from parityd.service.turns import TurnDone
from parityd.service.workplace import App
from parityd.settings_service import Overrides
from parityd.store.entries import AuditDraft

REMEMBERED = 256
LOOK_NS, SETTLE_NS = 300_000_000, 1_000_000_000  # at most so long at a time


class Halted(msgspec.Struct, frozen=True):
    """HALTs that came and went in one look."""

    raised: tuple[halts.Latch, ...]
    lifted: tuple[halts.Latch, ...]
    state: halts.HaltState


class Asked(msgspec.Struct, frozen=True):
    """A command file and what it was worth when it was seen. `folder`: the facts that it was judged by."""

    letter: Letter
    verdict: Verdict
    folder: Facts | None
    command: Command | None = None


class Moved(msgspec.Struct, frozen=True):
    """A file that is dealt with and stands in the folder still."""

    letter: Letter
    outcome: Any
    code: str = ""
    reason: str = ""


class Watch:
    """The operators' folder."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.folder = app.settings.data_dir / "overrides"
        self.commands = CommandFolder(self.folder)
        blob = app.store.state("halts")
        self.state = (msgspec.json.decode(blob, type=halts.HaltState) if blob else halts.HaltState()).resumed()
        applied, moving = app.store.state("commands/applied"), app.store.state("commands/moving")
        self.applied: dict[str, str] = msgspec.json.decode(applied, type=dict[str, str]) if applied else {}
        self.moving: list[str] = msgspec.json.decode(moving, type=list[str]) if moving else []
        self.queue: deque[Halted | Asked | Moved] = deque()
        self.lock = threading.Lock()
        self.errors = ""
        self.moved_ns = 0
        self.terms: tuple[Overrides, Terms] | None = None
        self._terms(app.settings.overrides)
        self._held: set[str] = set()
        self.left = 0  # files that the last look left: they may still be being written, or it had no more time

    # --- in the watch's own thread --------------------------------------------------------------------------------

    def known(self) -> set[str]:
        return {*self.app.brain.v.m.strategies, *self.app.settings.strategies}

    def look(self) -> bool:
        """One look: HALT files and command files. True where something was seen for the worker."""
        with self.lock:
            found = self._halts()
            found = self._letters() or found
            self.moved_ns = self.app.boottime()
            return found

    def _halts(self) -> bool:
        seen = halts.look(self.folder)
        self.errors = seen.error
        signed = self.app.settings.overrides.allowed_signers is not None
        step = halts.step(
            self.state, seen, now_ns=self.app.now(), boottime_ns=self.app.boottime(), known=self.known(), by_reset_only=signed
        )
        self.state = step.state
        if not (step.raised or step.lifted):
            return False
        self.queue.append(Halted(step.raised, step.lifted, step.state))
        if step.raised:
            operators = self.app.brain.operators
            operators.seen_halts = (*operators.seen_halts, *map(as_halt, step.raised))
            self.app.publisher.publish(rises_only=True)
        return True

    def _letters(self) -> bool:
        post = self.commands.read(self._held)
        self.errors = self.errors or post.error
        until, self.left = self.app.boottime() + LOOK_NS, 0
        lowering: list[Command] = []
        for number, letter in enumerate(post.letters):
            if self.app.boottime() > until:
                self.left += len(post.letters) - number
                break
            taken = self._letter(letter, post.folder)
            self.left += taken is None
            if isinstance(taken, Asked) and taken.command is not None and taken.command.lowers:
                lowering.append(taken.command)
            if taken is not None:
                self._held.add(letter.key)
                self.queue.append(taken)
        if lowering:
            operators = self.app.brain.operators
            operators.seen_commands = (*operators.seen_commands, *lowering)
            self.app.publisher.publish(rises_only=True)
        return self.left < len(post.letters)

    def _letter(self, letter: Letter, folder: Facts | None) -> Asked | Moved | None:
        """What the worker has to do about it; None where it is left for the next look. Raising commands, and what a signature may make of
        them, are judged again by the worker: of all others the bytes are done with.
        """
        verdict = self._judged(letter, folder)
        command = as_core(verdict.command) if isinstance(verdict, Accepted) else None
        short = msgspec.structs.replace(letter, raw=b"")
        if letter.key in self.moving and not (command is not None and command.lowers):
            return Moved(short, "applied")
        signed = _unsigned(verdict) and bool(letter.signature)
        if not signed and to_be_left(letter, verdict, self.app.now()):
            return None
        raises = signed or (command is not None and not command.lowers)
        return Asked(letter if raises else short, verdict, folder, command)

    def _judged(self, letter: Letter, folder: Facts | None, *, signatures: bool = False) -> Verdict:
        s = self.app.settings.overrides
        terms = self._terms(s)
        moment = Moment(now_ns=self.app.now(), boottime_ns=self.app.boottime(), boot_id=self.app.publisher.terms.boot_id)
        v = self.app.brain.v
        ladders = dict(v.standing.ladders)
        latched = {name: state.latched_action for name, state in ladders.items() if state.latched_action is not None}
        ids = frozenset(value for value in dict(self.applied).values() if value)
        standing = Standing(
            known=frozenset(self.known()), commanded=self._commanded(), latched=latched, broken_store=v.standing.broken_store,
            applied=frozenset(self.applied), ids=ids,
        )  # fmt: skip
        if letter.problem is not None:
            made = made_out(letter.raw, letter.problem.text, letter.facts, moment, standing) if letter.raw else None
            return made or letter.problem
        if folder is None:
            return Refused(code="unreadable_file", text="its folder could not be looked at", again=True)
        verdict = judge(letter.raw, letter.facts, folder, terms, moment, standing)
        if signatures and _unsigned(verdict) and letter.signature and s.allowed_signers is not None:
            signed = verify(letter.raw, letter.signature, s.allowed_signers)
            verdict = judge(letter.raw, letter.facts, folder, terms, moment, standing, signature=signed)
        return verdict

    def _terms(self, s: Overrides) -> Terms:
        """Users are looked up once a configuration: their directory may be slow, or away, when a stop has to be obeyed."""
        if self.terms is None or self.terms[0] is not s:
            self.terms = s, Terms(daemon_uid=os.geteuid(), allowed_uids=s.uids(), signers=s.allowed_signers is not None)
        return self.terms[1]

    def _commanded(self) -> frozenset[str]:
        operators = self.app.brain.operators
        return frozenset((*(c.strategy for c in operators.commands), *(h.scope for h in operators.halts)))

    # --- in the worker's thread -----------------------------------------------------------------------------------

    def settle(self) -> list[TurnDone]:
        """Store and audit what the watch has seen, as far as the time goes; returns the turns' results, the last of them perhaps one that failed."""
        out: list[TurnDone] = []
        until = self.app.boottime() + SETTLE_NS
        while self.queue and self.app.boottime() <= until:
            one = self.queue[0]
            done = self._move(one) if isinstance(one, Moved) else self._halted(one) if isinstance(one, Halted) else self._asked(one)
            out.append(done)
            if done.failed or done.stuck:
                if isinstance(one, Moved):  # the others need not wait for it
                    self.queue.rotate(-1)
                return out
            self.queue.popleft()
        return out

    def _halted(self, one: Halted) -> TurnDone:
        b = self.app.brain
        done = obeying.halted(
            b, tuple(map(as_halt, one.state.latches)), [(x.scope, x.name) for x in one.raised], [(x.scope, x.name) for x in one.lifted],
            {"halts": msgspec.json.encode(one.state)},
        )  # fmt: skip
        if not done.failed:
            stored = {as_halt(x) for x in one.raised}
            with self.lock:
                b.operators.seen_halts = tuple(x for x in b.operators.seen_halts if x not in stored)
        return done

    def _asked(self, one: Asked) -> TurnDone:
        verdict, command = one.verdict, one.command
        if one.letter.raw:  # kept where it is to be judged once more
            verdict = self._judged(one.letter, one.folder, signatures=True)
            command = as_core(verdict.command) if isinstance(verdict, Accepted) else None
        if command is not None:
            return self._apply(one.letter, command)
        assert isinstance(verdict, Refused)  # noqa: S101  it is one of the two
        data = {"file": one.letter.name, "code": verdict.code, "reason": verdict.text}
        done = self.app.brain.told(AuditDraft(ts_ns=self.app.now(), event="override.refused", actor="operator", data=data))
        if not done.failed:
            self.queue.append(Moved(one.letter, "refused", verdict.code, verdict.text))
        return done

    def _apply(self, letter: Letter, command: Command) -> TurnDone:
        b = self.app.brain
        applied, moving = {**self.applied, command.content_hash: command.id}, [*self.moving, letter.key][-REMEMBERED:]
        states = {"commands/applied": msgspec.json.encode(applied), "commands/moving": msgspec.json.encode(moving)}
        done = obeying.command(b, command, letter.name, states)
        if done.failed:
            return done
        self.applied, self.moving = applied, moving
        with self.lock:
            b.operators.seen_commands = tuple(x for x in b.operators.seen_commands if x != command)
            if command.command == "reset":
                self._release(command.strategy)
        self.queue.append(Moved(letter, "applied"))
        return done

    def _move(self, one: Moved) -> TurnDone:
        done = TurnDone()
        try:
            self.commands.finish(one.letter, one.outcome, one.code, one.reason, rfc3339(self.app.now()))
        except OSError as e:
            done.stuck = f"{e.filename or one.letter.name}: {e.strerror or e}"
            return done
        with self.lock:
            self._held.discard(one.letter.key)
            if one.letter.key in self.moving:  # moved away and put back, it is a new order
                self.moving = [key for key in self.moving if key != one.letter.key]
        return done

    def _release(self, scope: str) -> None:
        step = halts.release(self.state, scope, halts.look(self.folder))
        if step.lifted:
            self.state = step.state
            self.queue.append(Halted((), step.lifted, step.state))


def _unsigned(verdict: Verdict) -> bool:
    return isinstance(verdict, Refused) and verdict.code == "unsigned"


def as_halt(one: halts.Latch) -> Halt:
    """The edge's latch as the core's halt."""
    return Halt(scope=one.scope, reason=one.reason, since_ns=one.since_ns)


def as_core(c: Any) -> Command:
    """The edge's record of a command as the core's."""
    if isinstance(c, core.Command):
        return c
    values = msgspec.to_builtins(c)
    return msgspec.convert({k: values[k] for k in core.Command.__struct_fields__ if k in values}, core.Command)
