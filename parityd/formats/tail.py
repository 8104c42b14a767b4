"""What was appended to a log since it was last read: whole lines only, and a place that is known by content.

1. A place is an offset and a digest of what lies before it (its beginning and its end, up to `WINDOW` bytes each): the file's name, inode and
   times say nothing. Where the digest no longer fits, the file was truncated or replaced and is read again from the start.
2. A line counts once its newline is there; the rest waits for the next round.
3. The lines are handed out as bytes, behind the file's first line where the caller says that it is a header, so that any line format reads them.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import BinaryIO

WINDOW = 64 << 10
AT_ONCE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a log has been read: bytes, the digest of what they were, and lines."""

    offset: int = 0
    digest: str = ""
    lines: int = 0


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
    size = handle.seek(0, os.SEEK_END)
    if place.offset and (size < place.offset or _digest(handle, place.offset) != place.digest):
        place = Place()
    data = _whole_lines(handle, place.offset, most)
    if not data:
        return b"", place
    offset = place.offset + len(data)
    now = Place(offset=offset, digest=_digest(handle, offset), lines=place.lines + data.count(b"\n"))
    return (_first_line(handle) + data if header and place.offset else data), now


def _whole_lines(handle: BinaryIO, start: int, most: int) -> bytes:
    handle.seek(start)
    data = handle.read(most)
    end = data.rfind(b"\n")
    while end < 0 and len(data) >= most and (more := handle.read(most)):
        data += more
        end = data.find(b"\n")
    return data[: end + 1]


def _first_line(handle: BinaryIO) -> bytes:
    handle.seek(0)
    return handle.readline()
