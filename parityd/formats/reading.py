"""A file from its handle to its blocks: container, parts, formats.

1. All parts are opened and their formats known before the first block: what refuses the whole file does so before anything of it is applied.
2. A zip is refused whole only where no member is of a known format; else a strange member is one refusal, unless its neighbours' format
   knows it as a companion that holds nothing.
3. Lines are numbered on through a zip's members; the reason of a refusal names the member and its own line.
4. An empty file has no records and is no error.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, BinaryIO

import msgspec

from parityd.core.columns import Block
from parityd.core.records import Refusal
from parityd.formats.containers import parts
from parityd.formats.documents import document, raw_text
from parityd.formats.lines import texts_of
from parityd.formats.port import Context, Format, Part, Unreadable, strategy_of
from parityd.formats.table import TABLES, recognised

_PIECE = 1 << 20


def _chosen(handle: BinaryIO, context: Context, closing: ExitStack) -> list[tuple[Part, Format | None]]:
    """The parts that hold anything, numbered, each with its format; None for a member that no format knows."""
    first = 1
    chosen: list[tuple[Part, Format | None]] = []
    found = parts(handle, context, TABLES, closing)
    for part in found:
        if not part.open().read(1):
            if part.shape == "database" and part.tables and not {*part.tables} & {*TABLES}:
                chosen.append((part, None))  # no row of it was asked for: that is no sign that it holds none
            continue
        numbered = replace(part, first=first)
        known = recognised(numbered, context)
        if known[1] is not None and known[1].anonymous:
            strategy_of(context)
        chosen.append(known)
        first += extent(numbered) if len(found) > 1 else 0
    if chosen and all(f is None for _, f in chosen):
        part = chosen[0][0]
        begins = f"has the tables {', '.join(part.tables)[:200]}" if part.shape == "database" else f"begins with {part.open().read(60)!r}"
        raise Unreadable("unknown_format", f"of no known format: {part.name[:200]!r} {begins}")
    return chosen


def extent(part: Part) -> int:
    """How many numbers a part takes: its lines; of a document at least its objects."""
    mark = b"{" if part.shape == "document" else b"\n"
    stream, count = part.open(), 1
    while piece := stream.read(_PIECE):
        count += piece.count(mark)
    return count


def identify(handle: BinaryIO, context: Context) -> str:
    """The name of the format (of a zip: of its first member that has one); "empty" where there is nothing in it. Raises `Unreadable`."""
    with ExitStack() as closing:
        return _name(_chosen(handle, context, closing))


def _name(chosen: list[tuple[Part, Format | None]]) -> str:
    return next((f.name for _, f in chosen if f is not None), "empty")


def read(handle: BinaryIO, context: Context, heard: Callable[[str], None] | None = None) -> Iterator[Block]:
    """All blocks of a file. `handle` is seekable, is read more than once, and nothing else may move it meanwhile. Raises `Unreadable`.

    `heard` is told what `identify` would say, before the first block: so a file need not be opened twice.
    """
    with ExitStack() as closing:
        chosen = _chosen(handle, context, closing)
        if heard is not None:
            heard(_name(chosen))
        companions = [f.companion for _, f in chosen if f is not None and f.companion is not None]
        for part, known in chosen:
            if known is not None:
                member = part.name != context.name
                for block in known.read(part, context):
                    yield _named(block, part) if member and block.refusals else block
            elif not any(c(part.name) for c in companions):
                reason = f"member {part.name[:200]!r} is of no known format"
                yield Block(decisions=None, fills=None, rare=[], refusals=[Refusal(line=part.first, code="unknown_format", reason=reason)])


def _named(block: Block, part: Part) -> Block:
    block.refusals = [
        msgspec.structs.replace(r, reason=f"{part.name[:200]} line {r.line - part.first + 1}: {r.reason}") for r in block.refusals
    ]
    return block


def texts(handle: BinaryIO, context: Context, lines: Iterable[int]) -> dict[int, str]:
    """The text of some lines of a file, as a refusal would show it. Raises `Unreadable`."""
    wanted = set(lines)
    found: dict[int, str] = {}
    with ExitStack() as closing:
        for part, _ in _chosen(handle, context, closing):
            mine = {n for n in wanted if part.first <= n < part.first + extent(part)}
            if mine:
                found.update(
                    _of_document(part, context, mine)
                    if part.shape == "document"
                    else texts_of(part.open(), context.limits.line, part.first, mine)
                )
    return found


def _of_document(part: Part, context: Context, wanted: set[int]) -> Iterator[tuple[int, str]]:
    top = document(part, context)
    elements: Any = top.elements
    if elements is None and top.members and "decisions" in top.members:
        elements = msgspec.json.decode(top.members["decisions"], type=list[msgspec.Raw])
    for n in wanted:
        if elements and n - part.first < len(elements):
            yield n, raw_text(elements[n - part.first])
