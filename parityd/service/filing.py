"""What the store and the spool keep of a turn's files: an entry each, its refused lines, a line of audit; where the file goes.

1. Refused lines are written before the commit that makes their file known: a death in between repeats them, and loses none.
2. A file leaves the spool after that commit. One that cannot (no room, a failing disk) is known by now, and tried again later.
3. The same content twice in one turn counts once.
4. Nothing is decided here: what counts was found by the core, what cannot be read by the reader.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from parityd.core.columns import FillColumns
from parityd.core.instants import day_text
from parityd.core.intake import Counted
from parityd.core.records import Refusal
from parityd.edges.spool import Spool
from parityd.edges.waiting import Waiting
from parityd.service.reading import Read, Reader
from parityd.service.turns import TurnDone
from parityd.store.entries import ACCEPTED, REJECTED, AuditDraft, Commit, FileEntry, FileRecords


def unrepeated(reads: list[Read]) -> list[Read]:
    """Those that count; the others are known."""
    seen: set[tuple[str, str]] = set()
    out = []
    for r in reads:
        if (r.waiting.book, r.sha256) in seen:
            r.known = True
            r.batch = None
        else:
            seen.add((r.waiting.book, r.sha256))
            out.append(r)
    return out


def refused(r: Read, got: Counted | None) -> list[Refusal]:
    """A file's refusals: of the reader, then of the core."""
    return [*(r.batch.refusals if r.batch is not None else ()), *(got.refusals if got is not None else ())]


def by_code(refusals: list[Refusal]) -> dict[str, int]:
    """How many of each code."""
    out: dict[str, int] = {}
    for x in refusals:
        out[x.code] = out.get(x.code, 0) + 1
    return out


# --- for the store -------------------------------------------------------------------------------------------------


def into(
    c: Commit, reads: list[Read], unique: list[Read], counted: Mapping[str, Counted], is_known: Callable[[str, str], bool], now: int
) -> None:
    """A turn's files into its commit. `unique`: those of `reads` that count; `counted`: what of them, by `Read.counted_as`."""
    c.files += [_entry(r, counted[r.counted_as], now) for r in unique]
    c.files += [_rejected(r, now) for r in reads if r.unreadable is not None and r.sha256 and not is_known(r.waiting.book, r.sha256)]
    c.audit += _refusal_lines(reads, counted, now)
    for r in unique:
        c.states.update(r.states)


def _entry(r: Read, got: Counted, now: int) -> FileEntry:
    records = FileRecords(keys=got.keys, contents=got.contents, fills=_all_fills(got), decisions=got.decisions, rare=got.rare)
    return FileEntry(
        book=r.waiting.book, sha256=r.sha256, name=r.waiting.name, size=r.size, seen_ns=r.waiting.since_ns, ingested_ns=now, format=r.format,
        source=r.source, state=ACCEPTED, accepted=sum(got.accepted.values()), duplicates=got.duplicates, refused=by_code(refused(r, got)),
        by_kind=got.accepted, first_ts=r.first_ts, last_ts=r.last_ts, strategies=r.strategies, records=records,
    )  # fmt: skip


def _all_fills(got: Counted) -> FillColumns | None:
    if got.shadows is None:
        return got.fills
    return got.shadows if got.fills is None else type(got.fills).joined([got.fills, got.shadows])


def _rejected(r: Read, now: int) -> FileEntry:
    code = r.unreadable.code if r.unreadable is not None else "unreadable_file"
    return FileEntry(
        book=r.waiting.book, sha256=r.sha256, name=r.waiting.name, size=r.size, seen_ns=r.waiting.since_ns, ingested_ns=now,
        source=r.source, state=REJECTED, refused={code: 1},
    )  # fmt: skip


def _refusal_lines(reads: list[Read], counted: Mapping[str, Counted], now: int) -> list[AuditDraft]:
    """One line a file: counts by code."""
    out = []
    for r in reads:
        codes = {} if r.unreadable is None else {r.unreadable.code: 1}
        if r.batch is not None:
            codes |= by_code(refused(r, counted.get(r.counted_as)))
        if codes:
            data = {"file": r.waiting.name, "sha256": r.sha256, "codes": codes}
            out.append(AuditDraft(ts_ns=now, event="file.refused", actor=r.waiting.book, data=data))
    return out


def let_go(r: Read, got: Counted) -> None:
    """Records that are stored by now need no room any more; what is told of the file stays."""
    if r.batch is not None:
        r.batch.decisions = r.batch.fills = None
    got.decisions = got.fills = got.shadows = None
    got.keys = got.contents = np.zeros(0, np.uint64)


# --- for the spool -------------------------------------------------------------------------------------------------


def write_refusals(spool: Spool, reader: Reader, unique: list[Read], counted: Mapping[str, Counted], now: int) -> list[Path]:
    """Refused lines, before the commit. What was made anew."""
    made = []
    for r in unique:
        got = counted[r.counted_as]
        if r.batch is None or not (r.batch.refusals or got.refusals):
            continue
        refusals = sorted([*r.batch.refusals, *_with_raw(reader, r.waiting, got.refusals, now)], key=lambda x: x.line)
        path = spool.reject_lines(r.waiting.book, r.sha256, r.waiting.name, refusals)
        if path is not None:
            made.append(path)
    return made


def _with_raw(reader: Reader, w: Waiting, refusals: list[Refusal], now: int) -> list[Refusal]:
    if not refusals:
        return []
    raw = reader.raw_texts(w, [x.line for x in refusals], now)
    return [msgspec.structs.replace(x, raw=raw.get(x.line, "")) for x in refusals]


def take_back(made: list[Path]) -> None:
    """The commit failed: nothing was refused."""
    for path in made:
        with suppress(OSError):
            path.unlink()


def leave(spool: Spool, reads: list[Read], done: TurnDone, now: int) -> None:
    """After the commit the files leave the spool; `done.stuck` says which could not."""
    try:
        with spool.together(len(reads)):
            for r in reads:
                try:
                    _leave_one(spool, r, now)
                except OSError as e:
                    done.stuck = f"{e.filename2 or e.filename or r.waiting.name}: {e.strerror or e}"
    except OSError as e:
        done.stuck = f"{e.filename or 'spool'}: {e.strerror or e}"


def _leave_one(spool: Spool, r: Read, now: int) -> None:
    if r.later:
        return
    if r.unreadable is not None:
        spool.reject_whole(r.waiting, r.unreadable.code, r.unreadable.reason, r.sha256 or None)
    else:
        spool.archive(r.waiting, r.sha256, day_text(now))
