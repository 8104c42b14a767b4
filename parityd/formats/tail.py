"""What was appended to a log since it was last read: whole lines only, and a place that is known by content.

1. A place is an offset and a digest of what lies before it (its beginning and its end, up to `WINDOW` bytes each): the file's name, inode and
   times say nothing. Where the digest no longer fits, the file was truncated or replaced and is read again from the start.
2. A line counts once its newline is there; the rest waits for the next round. One that is longer than `LONGEST` is handed out in pieces, so that
   it is refused and not held for ever.
3. The lines are handed out as bytes, behind the file's first line where the caller says that it is a header, so that any line format reads them.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO

WINDOW = 64 << 10
AT_ONCE = 64 << 20
LONGEST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a log has been read: bytes, the digest of what they were, and lines."""

    offset: int = 0
    digest: str = ""
    lines: int = 0


def fits(handle: BinaryIO, place: Place) -> bool:
    """Whether this log begins with what was read up to `place`."""
    return not place.offset or (handle.seek(0, os.SEEK_END) >= place.offset and _digest(handle, place.offset) == place.digest)


def place_at(handle: BinaryIO, offset: int, lines: int) -> Place:
    """The place behind the first `offset` bytes."""
    return Place(offset=offset, digest=_digest(handle, offset), lines=lines)


def _digest(handle: BinaryIO, offset: int) -> str:
    found = hashlib.sha256(offset.to_bytes(8, "big"))
    for start, end in ((0, min(WINDOW, offset)), (max(0, offset - WINDOW), offset)):
        handle.seek(start)
        found.update(handle.read(end - start))
    return found.hexdigest()


def appended(handle: BinaryIO, place: Place, *, header: bool = False, most: int = AT_ONCE) -> tuple[bytes, Place]:
    """(the whole lines behind `place`, the place behind them). At most `most` bytes, but at least one line where there is a whole one.

    With `header` the first line of the file is put before lines from further down. Nothing new: (b"", the same place).
    """
    if not fits(handle, place):
        place = Place()
    data = _whole_lines(handle, place.offset, most)
    if not data:
        return b"", place
    now = place_at(handle, place.offset + len(data), place.lines + data.count(b"\n"))
    return (_first_line(handle) + data if header and place.offset else data), now


def _whole_lines(handle: BinaryIO, start: int, most: int) -> bytes:
    handle.seek(start)
    data = bytearray(handle.read(most))
    end = data.rfind(b"\n")
    while end < 0 and most <= len(data) < LONGEST and (more := handle.read(most)):
        at = more.find(b"\n")
        end = -1 if at < 0 else len(data) + at
        data += more
    return bytes(data if end < 0 and len(data) >= LONGEST else data[: end + 1])


def _first_line(handle: BinaryIO) -> bytes:
    handle.seek(0)
    return handle.readline(LONGEST)
