"""Names of records and trades kept out of memory: a cache beside the store, in files that can be made again from it at any time.

1. The store is the truth. Its state `index` names the files that stand and what each covers; what it does not name is swept away. So a store
   that was put back, rebuilt or is another one never takes files for its own, and a power cut leaves either the old list or the new.
2. A name of a record found here is looked up in the store before it is believed: a wrong file cannot refuse a record. What a file says it does
   not hold is believed because every block read is proven by its checksum: a wrong file cannot count a record twice.
3. A file that cannot be read costs memory, never an answer: what it covered is read from the store and held, until `keep` writes it again.
4. `keep` is called where the store holds what memory does: right after a commit, or at start. What is newer than the files stays in memory.
5. Files are joined four at a time up to MOST names: some dozen files of ten million trades, whatever their age.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from parityd.core.hashing import U64
from parityd.store.entries import Commit
from parityd.store.errors import CommitFailed
from parityd.store.runfile import I64, Chunk, Found, Heads, Named, RunFile, TornError, upper, write
from parityd.store.runs import RunHeld, merged, newest

if TYPE_CHECKING:
    from parityd.store.reads import Reads
    from parityd.store.writer import Writer

STATE = "index"
FOLDER = ".index"  # in place of the store's suffix
TAIL = 1 << 18  # names: so many may stay in memory
MOST = 1 << 22  # names: no file becomes larger
JOINED = 4
HEADS = 1 << 22  # names of which the upper half is held, those of small files first
HELD = 1 << 18  # identities of files, unpacked
RECORDS, TRADES = "records", "trades"
_REACH = 2**31
_Listed = dict[str, list[Named]]


def folder_of(path: Path) -> Path:
    return path.with_suffix(FOLDER)


class Runs:
    """The files of one kind, oldest first."""

    def __init__(self, kind: str, reads: "Reads", folder: Path | None) -> None:
        self.kind, self.reads, self.folder = kind, reads, folder
        self.runs: list[RunFile | RunHeld] = []

    def __len__(self) -> int:
        return sum(map(len, self.runs))

    @property
    def upto(self) -> int:
        """Files (segments) of the store with a higher number than this are not in here."""
        return self.runs[-1].named.last if self.runs else 0

    def oldest(self) -> int:
        """No number below this is in the store any more."""
        return self.reads.oldest_number(records=self.kind == RECORDS)

    def stored(self, after: int, last: int = _REACH) -> Iterator[tuple[int, U64, I64]]:
        """(order, names, numbers) as the store holds them."""
        if self.kind == RECORDS:
            for order, keys, _ in self.reads.identities_after(after, last):
                yield order, keys, np.full(len(keys), order)
        else:
            yield from self.reads.places_after(after, last)

    def open(self, listed: list[Named]) -> None:
        """Those that stand, as far as they are whole; from the first that is not, all is made again."""
        self.runs = []
        for named in listed if self.folder is not None else ():
            try:
                self.runs.append(RunFile(self.folder, named))  # type: ignore[arg-type]
            except TornError:
                break

    def find(self, keys: U64) -> Found:
        """For sorted names: (found, number), the newest file's first."""
        found, value = np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.int64)
        for k in range(len(self.runs) - 1, -1, -1):
            left = np.flatnonzero(~found)
            if len(left) == 0:
                break
            found[left], value[left] = self._find(k, keys[left])
        return found, value

    def _find(self, k: int, keys: U64) -> Found:
        try:
            return self.runs[k].find(keys)
        except TornError:
            self.runs[k] = self._held(self.runs[k].named)
            return self.runs[k].find(keys)

    def _held(self, named: Named) -> RunHeld:
        """What a file covers, from the store."""
        parts = [(keys, values) for _, keys, values in self.stored(named.first, named.last)]
        if not parts:
            return RunHeld(named, np.zeros(0, np.uint64), np.zeros(0, np.int64))
        return RunHeld(named, *newest(np.concatenate([k for k, _ in parts]), np.concatenate([v for _, v in parts])))

    def whole(self) -> list[RunFile]:
        """The files before the first that is held in memory in place of one."""
        out = []
        for run in self.runs:
            if not isinstance(run, RunFile):
                break
            out.append(run)
        return out

    def pieces(self, after: int) -> Iterator[tuple[int, list[Chunk]]]:
        """(last order, names and numbers) of what is stored beyond `after`, TAIL names or so at a time."""
        held: list[Chunk] = []
        last = n = 0
        for order, keys, values in self.stored(after):
            last, n = order, n + len(keys)
            held.append((keys, values))
            if n >= TAIL:
                yield last, held
                held, n = [], 0
        if held:
            yield last, held


class Index:
    """Both kinds, and the list of their files."""

    def __init__(self, reads: "Reads", path: Path | None) -> None:
        self.reads = reads
        self.folder = None if path is None else folder_of(path)
        self.records, self.trades = Records(reads, self.folder), Runs(TRADES, reads, self.folder)
        self.failed = ""  # why the last `keep` left something in memory
        self._allowed = TAIL
        listed = self._listed()
        for runs in self._kinds():
            runs.open(listed.get(runs.kind, []))

    def _kinds(self) -> tuple[Runs, Runs]:
        return self.records, self.trades

    def _listed(self) -> _Listed:
        said = self.reads.state(STATE)
        try:
            return msgspec.msgpack.decode(said, type=_Listed) if said else {}
        except msgspec.MsgspecError:
            return {}

    def wants(self, *names: int) -> bool:
        """Whether it is time to `keep` with so many names in memory. What failed is tried again when there are as many more."""
        return self.folder is not None and max(names) > self._allowed

    def keep(self, store: "Writer") -> bool:
        """Write what is stored beyond the files, where that is over TAIL names or a file has to be made again; whether anything changed."""
        if self.folder is None:
            return False
        self.failed, changed = "", False
        self._allowed = TAIL
        try:
            for runs in self._kinds():
                n = self.reads.names_after(runs.upto, records=runs.kind == RECORDS)
                if n > TAIL or len(runs.whole()) < len(runs.runs):
                    self.folder.mkdir(mode=0o750, exist_ok=True)
                    self._write(store, runs)
                    changed = True
                elif len(runs.runs) > 1 and runs.runs[0].named.top < runs.oldest():
                    self._list(store, runs, runs.whole()[1:])
            if changed or self._stale():
                self._sweep()
        except (OSError, CommitFailed) as error:
            self.failed = str(error)
            self._allowed = TAIL + max(self.reads.names_after(runs.upto, records=runs.kind == RECORDS) for runs in self._kinds())
        return changed

    def _write(self, store: "Writer", runs: Runs) -> None:
        whole = runs.whole()
        after = whole[-1].named.last if whole else 0
        for last, parts in runs.pieces(after):
            keys, values = newest(np.concatenate([k for k, _ in parts]), np.concatenate([v for _, v in parts]))
            if last >= _REACH or (len(values) and int(np.abs(values).max()) >= _REACH):
                raise OSError(f"numbers of {runs.kind} over 31 bits")
            whole.append(self._made(runs.kind, after, last, iter([(keys, values)]), len(keys)))
            after = last
            while (group := _crowd(whole)) > 1:
                few = whole[-group:]
                whole[-group:] = [self._made(runs.kind, few[0].named.first, few[-1].named.last, merged(few), sum(map(len, few)))]
            self._list(store, runs, whole)

    def _made(self, kind: str, first: int, last: int, chunks: Iterator[Chunk], most: int) -> RunFile:
        assert self.folder is not None  # noqa: S101  `keep` saw to it
        heads: list[Heads] = []
        try:
            named = write(self.folder, kind, first, last, _listened(chunks, heads), most)
            return RunFile(self.folder, named, np.concatenate(heads) if heads else None)
        except TornError as error:
            raise OSError(str(error)) from error

    def _list(self, store: "Writer", runs: Runs, whole: list[RunFile]) -> None:
        """The store names these files from now on."""
        listed: _Listed = {k.kind: [r.named for r in k.runs if isinstance(r, RunFile)] for k in self._kinds() if k is not runs}
        listed[runs.kind] = [r.named for r in whole]
        store.commit(Commit(states={STATE: msgspec.msgpack.encode(listed)}))
        runs.runs = list(whole)
        held = 0
        for run in sorted((r for k in self._kinds() for r in k.runs if isinstance(r, RunFile)), key=len):
            held += 0 if run.heads is None else len(run)
            if held > HEADS:
                run.heads = None

    def _names(self) -> set[str]:
        return {run.named.name for runs in self._kinds() for run in runs.runs}

    def _stale(self) -> bool:
        with suppress(FileNotFoundError):
            return bool(set(os.listdir(self.folder)) - self._names())
        return False

    def _sweep(self) -> None:
        """Remove what the store does not name."""
        assert self.folder is not None  # noqa: S101  `keep` saw to it
        for name in set(os.listdir(self.folder)) - self._names():
            if name.endswith((".run", ".part")):
                (self.folder / name).unlink(missing_ok=True)


def _listened(chunks: Iterator[Chunk], heads: list[Heads]) -> Iterator[Chunk]:
    """The same chunks; of what goes through the upper halves of the names."""
    for keys, values in chunks:
        heads.append(upper(keys))
        yield keys, values


def _crowd(whole: list[RunFile]) -> int:
    """How many of the newest files are to become one: JOINED of a size, as long as that is not too large."""
    few = whole[-JOINED:]
    sizes = [len(run) for run in few]
    return len(few) if len(few) == JOINED and sum(sizes) <= MOST and sizes[0] <= JOINED * sizes[-1] else 1


class Records(Runs):
    """Names of records; what is asked for is their content, which the store says."""

    def __init__(self, reads: "Reads", folder: Path | None) -> None:
        super().__init__(RECORDS, reads, folder)
        self._held_files: OrderedDict[int, tuple[U64, U64]] = OrderedDict()

    def find(self, keys: U64) -> Found:
        """For sorted names: (found, content as int64)."""
        found, order = super().find(keys)
        content = np.zeros(len(keys), np.int64)
        hits = np.flatnonzero(found)
        for file in np.unique(order[hits]).tolist():
            mine = hits[order[hits] == file]
            names, contents = self._file(file)
            at = np.searchsorted(names, keys[mine])
            at[at == len(names)] = 0
            true = names[at] == keys[mine] if len(names) else np.zeros(len(mine), np.bool_)
            found[mine] = true
            content[mine[true]] = contents[at[true]].view(np.int64)
        return found, content

    def _file(self, order: int) -> tuple[U64, U64]:
        """A file's identities by name; those that retention let go of are none."""
        held = self._held_files.pop(order, None)
        if held is None:
            held = next(((k, c) for _, k, c in self.reads.identities_after(order - 1, order)), (np.zeros(0, np.uint64),) * 2)
            sort = np.argsort(held[0])
            held = held[0][sort], held[1][sort]
        self._held_files[order] = held
        while len(self._held_files) > 1 and sum(len(k) for k, _ in self._held_files.values()) > HELD:
            self._held_files.popitem(last=False)
        return held
