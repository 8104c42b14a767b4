"""What keeps a parityd that lives for years small: compaction, packing, retention, the bounds on rejected/ and the spool.

1. Two halves: `tidy_store` is the worker's (the store has one writer), `tidy_files` runs in a thread of its own. Both stop when their time is
   over and go on at the next call, so that no stop and no renewal ever waits for them.
2. Nothing is removed that [retention] does not name, and then in this order: durably folded into what stays, then removed. A removal is a line of audit.
3. A file is packed only as far as its bytes come back exactly; until then the plain file stays.
4. What is older than the kept trades is refused as too_old (`retention.oldest`): its identities are gone, so it could count twice.
"""

import asyncio
import contextlib
import math
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zstandard

from parityd.core.books import Books
from parityd.core.index import GONE
from parityd.core.instants import DAY_NS, day_text
from parityd.core.ledger import KEPT, Entry
from parityd.core.records import BOOKS
from parityd.core.rows import DEAD, NOWHEN, SHELF_NS
from parityd.edges.files import stream_durably, sync_folder
from parityd.edges.spool import Spool
from parityd.edges.waiting import SpoolLimits
from parityd.formats.containers import suffixes
from parityd.formats.streams import unpacked
from parityd.service import memory
from parityd.service.ops_archive import PACKED, Archived, days, digest, of_day
from parityd.service.ops_rights import Fault, faults
from parityd.service.turns import TurnDone
from parityd.service.workplace import App
from parityd.settings import Settings
from parityd.store import AuditDraft

SLICE_NS = 1_000_000_000  # at most so long at a time
HOUR_NS, LOOK_SECONDS = 3_600_000_000_000, 60.0
CROWDED, TOGETHER = 8, 16
SCATTERED = 500  # pieces of one symbol's marks
PACK_AFTER_DAYS, PACK_FROM = 7, 4096
FILE_MODE = 0o640
_LEVEL = 6
_PLAIN = (".jsonl", ".ndjson", ".csv", ".json", ".log", ".fix", ".txt", ".sqlite")
_pack = msgspec.msgpack.Encoder().encode


@dataclass(slots=True, kw_only=True)
class Tidied:
    """What was done to files. `events`: lines for the audit trail; `more`: time was over before the work was."""

    rejected_bytes: int = 0
    spool_bytes: int = 0
    packed: int = 0
    removed: int = 0
    more: bool = False
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


# --- the store ------------------------------------------------------------------------------------------------------


def tidy_store(app: App, now_ns: int) -> bool:
    """A slice of work on the store, in the worker's thread; True where more is to be done."""
    until = app.boottime() + SLICE_NS
    forgotten = _forget(app, now_ns)
    crowded = app.store.crowded(CROWDED)
    for strategy, group in groupby(crowded, key=lambda one: one[0]):
        numbers = [number for _, number, _ in group]
        for at in range(0, len(numbers), TOGETHER):
            app.store.compact(strategy, numbers[at : at + TOGETHER])
            if app.boottime() > until:
                return True
    _gather_marks(app)
    memory.put_away(app.store, app.brain.v.m)
    app.store.wal_checkpoint()
    return forgotten and app.boottime() > until


def _gather_marks(app: App) -> None:
    """Store anew the series of marks that were thinned, and those that lie in many pieces."""
    m = app.brain.v.m
    if m.new_marks:  # a turn is not stored yet
        return
    for symbol in app.store.scattered_marks(SCATTERED):
        for series in (m.marks.marks.get(symbol), m.marks.traded.get(symbol)):
            if series is not None:
                series.thinned = True
    for symbol, ranks, left in m.marks.thinned():
        app.store.compact_marks(symbol, ranks, left)


def _forget(app: App, now_ns: int) -> bool:
    """Let go of trades past their time: positions go on from what they come to, then rows and identities leave."""
    keep = app.settings.retention.trades
    if math.isinf(keep):
        return False
    before_ns = (now_ns - round(keep * 1e9)) // DAY_NS * DAY_NS
    shelf = before_ns // SHELF_NS
    b = app.brain
    strategies = list(b.v.m.strategies.values())
    if not any(NOWHEN < number < shelf for s in strategies for number in s.books.summaries):
        return False
    for s in strategies:
        _let_orders_go(s.books, shelf)
    gone = [(s.name, sym, number) for s in strategies for sym, number in s.ledger.fold(shelf + KEPT)]
    c = memory.gather(b.v, b.saved_names)
    c.ledgers += [(name, sym, number, _pack(Entry())) for name, sym, number in gone]
    c.audit.append(AuditDraft(ts_ns=now_ns, event="retention.trades", actor="parityd", data={"before": day_text(before_ns)}))
    if not b.commit(c, TurnDone()):
        return False
    app.store.forget(before_ns, shelf)
    for s in strategies:
        for held in (s.books.summaries, s.books.shelves):
            for number in [n for n in held if NOWHEN < n < shelf]:
                del held[number]
        s.books.dirty = {n for n in s.books.dirty if not NOWHEN < n < shelf}
        s.books.unsaved = {n for n in s.books.unsaved if not NOWHEN < n < shelf}
    return True


def _let_orders_go(books: Books, shelf: int) -> None:
    """Rows without a time are as old as the execution that their order leads to: those of executions before `shelf` leave with them."""
    if NOWHEN not in books.summaries:
        return
    held = books.shelf(NOWHEN)
    rows = held.rows
    alive = np.flatnonzero((rows["flags"] & DEAD) == 0)
    led = np.where(rows["link"][alive] != 0, rows["link"][alive], rows["parent"][alive])
    order = np.argsort(led)
    at = np.full(len(alive), GONE)
    at[order] = books.places.find(led[order])
    past = alive[(at > NOWHEN) & (at < shelf)]
    if len(past):
        held.kill(past)
        books.mark(NOWHEN)
        books.refresh()


# --- files ----------------------------------------------------------------------------------------------------------


def look_at_sizes(settings: Settings, spool: Spool, done: Tidied) -> None:
    """How much lies in rejected/ and the spool; over its limit, refusals are written without their raw text."""
    done.rejected_bytes = _size(settings.data_dir / "rejected")
    done.spool_bytes = _size(settings.data_dir / "spool")
    plain = SpoolLimits(file_bytes=settings.limits.file)
    over = done.rejected_bytes > settings.limits.rejected
    spool.limits = msgspec.structs.replace(plain, raw_bytes=0) if over else plain


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def tidy_files(settings: Settings, now_ns: int, boottime: Callable[[], int]) -> Tidied:
    """A slice of work on archive and reports, in any thread."""
    done = Tidied()
    until = boottime() + SLICE_NS
    _prune_archive(settings, now_ns, done)
    _prune_reports(settings, now_ns, done)
    for one in _packable(settings.data_dir, now_ns):
        if boottime() > until:
            done.more = True
            break
        done.packed += pack(one)
    return done


def _first_kept(keep: float, now_ns: int) -> str:
    """The oldest day that is kept whole; "" keeps all."""
    return "" if math.isinf(keep) else day_text((now_ns - round(keep * 1e9)) // DAY_NS * DAY_NS)


def _prune_archive(settings: Settings, now_ns: int, done: Tidied) -> None:
    first = _first_kept(settings.retention.archive, now_ns)
    for book in BOOKS:
        for day in days(settings.data_dir, book):
            if not first or day >= first:
                break
            folder = settings.data_dir / "archive" / book / day
            names = os.listdir(folder)
            for name in names:
                (folder / name).unlink()
            folder.rmdir()
            sync_folder(folder.parent)
            done.removed += len(names)
            done.events.append(("retention.archive", {"book": book, "day": day, "files": len(names)}))


def _prune_reports(settings: Settings, now_ns: int, done: Tidied) -> None:
    first = _first_kept(settings.retention.reports, now_ns)
    folder = settings.data_dir / "parity_reports"
    if not first or not folder.is_dir():
        return
    old = [name for name in os.listdir(folder) if name.startswith("parity_report_") and name[14:24] < first]
    for name in old:
        (folder / name).unlink()
    if old:
        done.removed += len(old)
        done.events.append(("retention.reports", {"before": first, "files": len(old)}))


def _packable(data_dir: Path, now_ns: int) -> Iterator[Archived]:
    last = day_text(now_ns - PACK_AFTER_DAYS * DAY_NS)
    for book in BOOKS:
        for day in days(data_dir, book):
            if day >= last:
                break
            for one in of_day(data_dir, book, day):
                suffix, packed = suffixes(one.name)
                if suffix in _PLAIN and not packed and one.path.stat().st_size >= PACK_FROM:
                    yield one


def pack(one: Archived) -> bool:
    """Replace an archived file by its packed self; False where that would not give the same bytes back, or gains nothing."""
    target = one.path.with_name(one.path.name + PACKED)
    if len(os.fsencode(target.name)) > 255:
        return False
    facts = one.path.stat()
    with one.path.open("rb") as plain:
        stream_durably(target, _squeezed(plain), FILE_MODE)
    with target.open("rb") as packed:
        same = digest(unpacked(packed, PACKED)).startswith(one.prefix)
    if not same:
        target.unlink()
        return False
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    one.path.unlink()
    sync_folder(target.parent)
    return True


def _squeezed(plain: Any) -> Iterator[bytes]:
    engine = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
    while piece := plain.read(1 << 20):
        yield engine.compress(piece)
    yield engine.flush()


# --- in the daemon --------------------------------------------------------------------------------------------------


async def keep(
    app: App, do: Callable[[Callable[[], Any]], Awaitable[Any]], disk: Executor, stop: asyncio.Event, outer: dict[str, str]
) -> None:
    """Until stopped: sizes and rights every minute, the rest every hour, a slice at a time. `do` runs a job in the worker."""
    loop = asyncio.get_running_loop()
    due = app.boottime() + round(LOOK_SECONDS * 1e9)
    while not stop.is_set():
        sizes = Tidied()
        await loop.run_in_executor(disk, look_at_sizes, app.settings, app.spool, sizes)
        _degraded(app.settings, sizes, outer)
        _rights(await loop.run_in_executor(disk, faults, app.settings), outer)
        if app.boottime() >= due:
            more = await _slice(app, do, disk)
            outer.pop("index", None)
            if app.store.index.failed:
                outer["index"] = app.store.index.failed
            due = app.boottime() + (0 if more else HOUR_NS)
            if more:
                await asyncio.sleep(1.0)
                continue
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)


def _rights(found: Sequence[Fault], outer: dict[str, str]) -> None:
    """What would refuse the next start, and may keep engines from believing what is published now."""
    grave = next((str(fault) for fault in found if fault.grave), "")
    if grave:
        outer["rights"] = grave
    else:
        outer.pop("rights", None)


async def _slice(app: App, do: Callable[[Callable[[], Any]], Awaitable[Any]], disk: Executor) -> bool:
    now = app.now()
    done: Tidied = await asyncio.get_running_loop().run_in_executor(disk, tidy_files, app.settings, now, app.boottime)
    for event, data in done.events:
        await do(lambda event=event, data=data: app.brain.note(event, "parityd", None, data))  # type: ignore[misc]
    more: bool = await do(lambda: tidy_store(app, now))
    return more or done.more


def _degraded(settings: Settings, sizes: Tidied, outer: dict[str, str]) -> None:
    """Bounds that are crossed: said, never enforced by throwing away."""
    for name, size, limit in (
        ("spool size", sizes.spool_bytes, settings.limits.spool),
        ("rejected", sizes.rejected_bytes, settings.limits.rejected),
    ):
        if size > limit:
            outer[name] = f"{size >> 20} MiB of {limit >> 20} MiB"
        else:
            outer.pop(name, None)
