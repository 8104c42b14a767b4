"""`mode = "tail"`: lines appended to logs, each one once, as files of the spool.

1. A log is known by what it begins with. Where that no longer fits its place it was truncated or replaced: what it used to be is looked for among
   its neighbours and read to its end first, and the new content is read from where any known place fits, else whole.
2. A line counts once its newline is there; of a rotated log that nobody has written to for a minute, the rest counts as a line.
3. What a log's format is, its own beginning says, and the file's name carries it: lines that alone say nothing are read as their log is.
4. While `MOST` files of a source wait in the spool, nothing is added: a backlog stays where it is.
"""

import io
import os
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from parityd.edges.waiting import Key, key_of
from parityd.formats import Context, Limits, Unreadable, identify
from parityd.formats.containers import suffixes
from parityd.formats.streams import SUFFIXES
from parityd.formats.tail import Place, appended, fits, place_at
from parityd.service.deliveries import Deliveries
from parityd.service.reading import as_source
from parityd.service.targets import Round, Targets, opened
from parityd.settings_service import Source

MOST = 4
AT_ONCE = 8 << 20
HEAD = 256 << 10
UNKNOWN = 1 << 20  # so much of a log that no format knows is waited for before it is handed on to be refused
SETTLED_NS = 2_000_000_000
ENDED_NS = 60_000_000_000
LINES = (".jsonl", ".ndjson", ".csv", ".log", ".fix", ".txt")


class Tail:
    """One source's logs."""

    def __init__(self, name: str, source: Source, deliveries: Deliveries, targets: Targets, limits: Limits, now: Callable[[], int]) -> None:
        self.name, self.source, self.d, self.targets, self.limits, self.now = name, source, deliveries, targets, limits, now
        self.quiet: dict[str, Key] = {}  # files of which, as they are, nothing is left to take
        self.formats: dict[str, str] = {}
        self.around: set[tuple[str, str]] = targets.around()

    def round(self) -> Round:
        """Take what is new."""
        out = Round()
        if not self.d.settle():
            self.quiet.clear()
        paths = self.targets.paths(out)
        for log in [x for x in self.d.places if x not in paths and not os.path.exists(x)]:
            self._turned_away(log)
        for path in paths:
            self.around.add((os.path.dirname(path), os.path.basename(path).split(".")[0]))
            out.attempt(path, partial(self._recognise, path, out))
        out.attempt(self.source.path, partial(self._rotated, out, paths))
        for path in paths:
            out.attempt(path, partial(self._log, path, out))
        return out

    def _turned_away(self, log: str) -> None:
        self.d.turn_away(log)
        self.formats.pop(log, None)
        self.quiet.clear()

    def _recognise(self, path: str, out: Round) -> None:
        """Whether the log still begins with what was read of it."""
        known = self.d.places.get(path)
        if known is None:
            return
        with opened(path) as handle:
            if self.quiet.get(path) != key_of(os.fstat(handle.fileno())) and not fits(handle, known):
                out.events.append(("source.replaced", {"source": self.name, "file": path, "read": known.offset}))
                self._turned_away(path)

    def _log(self, path: str, out: Round) -> None:
        with opened(path) as handle:
            facts = os.fstat(handle.fileno())
            if self.quiet.get(path) == key_of(facts):
                return
            place = self.d.places.get(path)
            if place is None:
                place = max((p for p in self.d.former if fits(handle, p)), key=lambda p: p.offset, default=Place())
                if place.offset:
                    self.d.former.remove(place)
                self.d.put(path, place)
            if self._take(path, path, handle, place, out) and self.now() - facts.st_mtime_ns > SETTLED_NS:
                self.quiet[path] = key_of(facts)

    def _take(self, path: str, log: str, handle: BinaryIO, place: Place, out: Round) -> bool:
        """Deliver whole lines behind `place`; False where some are left."""
        suffix = suffix_of(path, handle, self.source)
        header = suffix == ".csv"
        while True:
            if self.d.waiting >= MOST:
                out.more = True
                return False
            data, now = appended(handle, place, header=header, most=min(AT_ONCE, self.limits.file))
            if not data:
                break
            known = self._format(path, handle, suffix, out)
            if known is None:
                return False
            self._hand_over(data, log, place, now, suffix, known, out)
            place = now
        return log != "" or self._rest(path, handle, place, suffix, out)

    def _hand_over(self, data: bytes, log: str, before: Place, now: Place, suffix: str, known: str, out: Round) -> None:
        if not log:
            self.d.former = [now if p == before else p for p in self.d.former]
        out.bytes += self.d.deliver((data,), log, now, suffix, known)

    def _rest(self, path: str, handle: BinaryIO, place: Place, suffix: str, out: Round) -> bool:
        """The last line of a log that is no longer written, without its end."""
        facts = os.fstat(handle.fileno())
        if facts.st_size == place.offset:
            return True
        if self.now() - facts.st_mtime_ns < ENDED_NS or facts.st_size - place.offset > AT_ONCE:
            return False
        handle.seek(0)
        head = handle.readline(AT_ONCE) if suffix == ".csv" else b""
        handle.seek(place.offset)
        data = head + handle.read(facts.st_size - place.offset) + b"\n"
        known = self._format(path, handle, suffix, out) or ""
        self._hand_over(data, "", place, place_at(handle, facts.st_size, place.lines + 1), suffix, known, out)
        return True

    def _rotated(self, out: Round, paths: list[str]) -> None:
        """Go on with what was turned away where a neighbour begins with it."""
        if not self.d.former:
            return
        for sibling, facts in _neighbours(self.around, paths):
            if self.quiet.get(sibling) == key_of(facts):
                continue
            with opened(sibling) as handle:
                place = max(
                    (p for p in self.d.former if p.offset <= facts.st_size and fits(handle, p)), key=lambda p: p.offset, default=None
                )
                done = place is None or self._take(sibling, "", handle, place, out)
            if done and self.now() - facts.st_mtime_ns > SETTLED_NS:
                self.quiet[sibling] = key_of(facts)

    def _format(self, path: str, handle: BinaryIO, suffix: str, out: Round) -> str | None:
        """What the log's beginning says it is; "" where its source says so; None where nothing is known yet."""
        if self.source.format or self.source.columns:
            return ""
        if path in self.formats:
            return self.formats[path]
        handle.seek(0)
        head = handle.read(HEAD)
        context = Context(book=self.d.book, name="log" + suffix, limits=self.limits, source=as_source(self.name, self.source))
        try:
            found = identify(io.BytesIO(head[: head.rfind(b"\n") + 1]), context)
        except Unreadable as e:
            if e.code != "unknown_format":
                return ""  # whoever reads the file says what is missing
            if handle.seek(0, os.SEEK_END) < UNKNOWN:
                out.problems.append(f"{path}: {e.reason}")
                return None
            return ""
        if found == "empty":
            return ""
        self.formats[path] = found
        return found


def suffix_of(path: str, handle: BinaryIO, source: Source) -> str:
    """Of the files made of a log: that of its name, also in front of a rotation's number; else what its first byte says."""
    if source.columns or source.format in ("csv", "mapped"):
        return ".csv"
    for part in reversed(os.path.basename(path).lower().split(".")[1:]):
        if "." + part in LINES:
            return "." + part
    handle.seek(0)
    return ".jsonl" if handle.read(HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" else ".log"


def _neighbours(around: set[tuple[str, str]], paths: list[str]) -> list[tuple[str, os.stat_result]]:
    """Files beside the logs, named alike: oldest first."""
    found: dict[str, os.stat_result] = {}
    for folder in sorted({f for f, _ in around}):
        stems = tuple(s for f, s in around if f == folder and s)
        if not os.path.isdir(folder):
            continue
        with os.scandir(folder) as listing:
            for entry in listing:
                path = os.path.join(folder, entry.name)
                if entry.name.startswith(stems) and path not in paths and suffixes(entry.name)[1] not in SUFFIXES and entry.is_file():
                    found[path] = entry.stat()
    return sorted(found.items(), key=lambda x: (x[1].st_mtime_ns, x[0]))
