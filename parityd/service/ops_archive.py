"""What lies in `archive/`: accepted files by book and day, found again by hash, and opened as the bytes that were accepted.

1. An archived file is `<hash12>-NAME`, hash12 the beginning of its content's SHA-256; whatever else lies there is left alone.
2. Housekeeping may have packed it: `<hash12>-NAME.zst` holds the same bytes, and is opened as NAME.
3. Nothing here changes the archive.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from parityd.core.records import BOOKS
from parityd.edges.files import safe_name
from parityd.edges.waiting import Waiting, key_of
from parityd.formats.streams import unpacked

PACKED = ".zst"
_NAME = re.compile(r"([0-9a-f]{12})-(.+)", re.DOTALL)
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Archived:
    """One file of the archive. `name` is the writer's own, without the hash."""

    book: str
    day: str
    path: Path
    prefix: str
    name: str


def days(data_dir: Path, book: str) -> list[str]:
    """The days of a book's archive, oldest first."""
    try:
        return sorted(name for name in os.listdir(data_dir / "archive" / book) if _DAY.match(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def of_day(data_dir: Path, book: str, day: str) -> list[Archived]:
    """The files of a day, by name."""
    folder = data_dir / "archive" / book / day
    found = []
    for name in sorted(os.listdir(folder), key=os.fsencode):
        match = _NAME.fullmatch(name)
        if match is not None:
            found.append(Archived(book, day, folder / name, match[1], match[2]))
    return found


def archived(data_dir: Path) -> Iterator[Archived]:
    """Everything, by book, day and name."""
    for book in BOOKS:
        for day in days(data_dir, book):
            yield from of_day(data_dir, book, day)


def find(data_dir: Path, book: str, prefix: str) -> Archived | None:
    """The newest file of that hash."""
    return next((one for day in reversed(days(data_dir, book)) for one in of_day(data_dir, book, day) if one.prefix == prefix), None)


def digest(handle: BinaryIO) -> str:
    """SHA-256 of all that is left to read."""
    h = hashlib.sha256()
    while chunk := handle.read(_CHUNK):
        h.update(chunk)
    return h.hexdigest()


@contextmanager
def opened(one: Archived, scratch: Path) -> Iterator[Waiting]:
    """The file as it was accepted, as something the reader takes: itself, or in `scratch` what was packed here or has further links (a backup)."""
    with one.path.open("rb") as handle:
        as_is = digest(handle).startswith(one.prefix)
    if as_is and os.lstat(one.path).st_nlink == 1:
        yield waiting(one.book, one.path, one.name)
        return
    packed = not as_is and one.name.endswith(PACKED)
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=".opened-") as plain:
        with one.path.open("rb") as handle:
            stream = unpacked(handle, PACKED) if packed else handle
            while chunk := stream.read(_CHUNK):
                plain.write(chunk)
        plain.flush()
        yield waiting(one.book, Path(plain.name), one.name.removesuffix(PACKED) if packed else one.name)


def waiting(book: str, path: Path, name: str) -> Waiting:
    """A file that is named, as the spool would show it."""
    facts = os.lstat(path)
    return Waiting(book=book, path=path, name=safe_name(name), key=key_of(facts), since_ns=facts.st_mtime_ns)
