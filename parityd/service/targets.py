"""Where a tailed or polled source lies: the files that its path means now, and what is wrong with them.

1. A path is a file, a folder (its files, not those below) or a pattern; a relative one lies below data_dir. Links are followed, each file is
   taken once. Oldest first.
2. Names of files being written (`.name`, `.tmp`, `.part`) and what a database keeps beside itself are no files of a source.
3. parityd's own folders are nobody's source: a file of the inbox would count there too.
4. A path that leads nowhere is said, every time: nothing, empty and failed are three things.
"""

import glob
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from parityd.edges.files import open_readable
from parityd.formats import Unreadable

OWN = ("spool", "archive", "rejected", "overrides", "parity_reports", "system_actions", "audit", ".sources")
_NOT = (".tmp", ".part", "-wal", "-shm", "-journal")


@dataclass(slots=True)
class Round:
    """What one look at a source gave. `more`: there is more to take as soon as the spool is emptier."""

    bytes: int = 0
    more: bool = False
    problems: list[str] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def attempt(self, what: str, job: Callable[[], None]) -> None:
        """One file's trouble is not another's."""
        try:
            job()
        except OSError as e:
            self.problems.append(f"{e.filename or what}: {e.strerror or e}")
        except Unreadable as e:
            self.problems.append(f"{what}: {e.reason}")


@dataclass(frozen=True, slots=True)
class Targets:
    """The files of one path."""

    path: str
    data_dir: Path

    @property
    def whole(self) -> str:
        return os.path.join(os.path.abspath(self.data_dir), self.path)

    def around(self) -> set[tuple[str, str]]:
        """(folder, how names begin) of where a single file's former selves may lie."""
        if glob.has_magic(self.whole) or os.path.isdir(self.whole):
            return set()
        folder, name = os.path.split(self.whole)
        return {(folder, name.split(".")[0])}

    def paths(self, out: Round) -> list[str]:
        """The files as of now."""
        own = [os.path.realpath(self.data_dir / name) + os.sep for name in OWN]
        found: dict[tuple[int, int], tuple[int, str]] = {}
        for path in self._named(out):
            try:
                facts = os.stat(path)
            except OSError as e:
                out.problems.append(f"{path}: {e.strerror or e}")
                continue
            if os.path.realpath(path).startswith(tuple(own)):
                out.problems.append(f"{path}: lies in a folder of parityd's own, where nothing is tailed or polled")
            elif stat.S_ISREG(facts.st_mode):
                found.setdefault((facts.st_dev, facts.st_ino), (facts.st_mtime_ns, path))
            elif path == self.whole:
                out.problems.append(f"{path}: no regular file")
        return [path for _, path in sorted(found.values())]

    def _named(self, out: Round) -> list[str]:
        whole = self.whole
        if os.path.isdir(whole):
            try:
                return sorted(os.path.join(whole, name) for name in os.listdir(whole) if _fit(name))
            except OSError as e:
                out.problems.append(f"{whole}: {e.strerror or e}")
                return []
        if os.path.lexists(whole) or not glob.has_magic(whole):
            return [whole]
        fixed = whole
        while glob.has_magic(fixed):
            fixed = os.path.dirname(fixed)
        if not os.path.isdir(fixed):
            out.problems.append(f"{fixed}: no such folder")
        return sorted(path for path in glob.glob(whole, recursive=True) if _fit(os.path.basename(path)))


def _fit(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(_NOT)


def opened(path: str) -> BinaryIO:
    """A regular file, wherever its name leads; waits for no writer."""
    fd = open_readable(os.path.realpath(path))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "no regular file", path)
    return os.fdopen(fd, "rb")
