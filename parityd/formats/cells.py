"""CSV -> cells, a line at a time, so that a stray quote costs its own line and not the rest of the file.

1. The first line that is not blank is the header; its separator (comma, semicolon, tab, bar) is the file's.
2. A quoted cell may run over lines: up to `REACH` of them are joined while the quote is open. Where that does not give a row of the header's
   width, the first line alone is refused and reading goes on with the next.
3. A row with fewer or more cells than the header is refused: which ones are missing is not guessed. Blanks around a cell are dropped.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from parityd.core.records import Refusal
from parityd.formats.lines import Long, chunks, shown
from parityd.formats.port import Limits, Unreadable

REACH = 50
_SEPARATORS = ",;\t|"

csv.field_size_limit(1 << 24)  # the limit on lines decides, not the module's own


@dataclass(slots=True)
class Row:
    """One row: the number of its first line, its bytes, its cells."""

    line: int
    raw: bytes
    cells: list[str]


def separator(header: str) -> str:
    """The separator that the header uses most; a comma where it uses none."""
    return max(_SEPARATORS, key=header.count)


def _split(text: str, mark: str) -> list[str] | None:
    """Cells of one row; None where a quote is not closed or followed by text."""
    if '"' not in text:
        return text.split(mark)
    try:
        return next(csv.reader([text], delimiter=mark, strict=True), [])
    except csv.Error:
        return None


def _numbered(stream: BinaryIO, limits: Limits, first: int) -> Iterator[tuple[int, bytes | Refusal]]:
    for piece in chunks(stream, limits.line, first):
        if isinstance(piece, Long):
            yield piece.line, piece.refusal(limits.line)
        else:
            yield from piece.numbered()


def header(stream: BinaryIO, limits: Limits, first: int = 1) -> tuple[int, str, list[str]]:
    """(line, separator, names) of a CSV file; no names where it is empty. Raises `Unreadable` where it is no header."""
    for line, raw in _numbered(stream, limits, first):
        if isinstance(raw, Refusal):
            raise Unreadable("unreadable_file", "the header is longer than a line may be")
        try:
            text = raw.decode().rstrip("\r")
        except UnicodeDecodeError:
            raise Unreadable("unreadable_file", "the header of the CSV file is not UTF-8") from None
        mark = separator(text)
        names = [n.strip() for n in _split(text, mark) or []]
        if not names or "\0" in text:
            raise Unreadable("unreadable_file", "the first line is no CSV header")
        doubled = sorted({n for n in names if n and names.count(n) > 1})
        if doubled:
            raise Unreadable("unreadable_file", f"column {doubled[0][:80]!r} is there twice")
        return line, mark, names
    return first, ",", []


def rows(stream: BinaryIO, limits: Limits, start: int, mark: str, width: int, first: int = 1) -> Iterator[Row | Refusal]:
    """The rows behind the header in line `start`."""
    waiting: deque[tuple[int, bytes]] = deque()
    for line, raw in _numbered(stream, limits, first):
        if line <= start:
            continue
        if isinstance(raw, Refusal):
            yield from _drained(waiting, mark, width)
            yield raw
            continue
        waiting.append((line, raw.rstrip(b"\r")))
        while waiting and (made := _first(waiting, mark, width, more=True)) is not None:
            yield made
    yield from _drained(waiting, mark, width)


def _drained(waiting: "deque[tuple[int, bytes]]", mark: str, width: int) -> Iterator[Row | Refusal]:
    while waiting and (made := _first(waiting, mark, width, more=False)) is not None:
        yield made


def _first(waiting: "deque[tuple[int, bytes]]", mark: str, width: int, *, more: bool) -> Row | Refusal | None:
    """The first row of what waits, taken off; None where its end may still come."""
    line, raw = waiting[0]
    if b'"' not in raw or len(waiting) == 1:
        made = _row(line, raw, mark, width)
        if made is None and more:
            return None
        waiting.popleft()
        return made or _refused(line, raw, "a quote is opened and not closed")
    joined = b"\n".join(text for _, text in waiting)
    made = _row(line, joined, mark, width)
    if isinstance(made, Row):
        waiting.clear()
        return made
    if made is None and more and len(waiting) <= REACH and len(joined) <= 1 << 16:
        return None
    waiting.popleft()
    return _refused(line, raw, "a quote is opened and not closed")


def _row(line: int, raw: bytes, mark: str, width: int) -> Row | Refusal | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        return _refused(line, raw, f"not UTF-8: byte {raw[e.start]:#04x} at {e.start}", "bad_encoding")
    cells = _split(text, mark)
    if cells is None:
        return None if raw.count(b'"') % 2 else _refused(line, raw, "a quoted cell is followed by text")
    if len(cells) != width:
        return _refused(line, raw, f"{len(cells)} cells where the header has {width}")
    return Row(line, raw, [c.strip() for c in cells])


def _refused(line: int, raw: bytes, reason: str, code: str = "bad_value") -> Refusal:
    return Refusal(line=line, code=code, reason=reason, raw=shown(raw))
