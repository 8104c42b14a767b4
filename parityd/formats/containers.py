"""A file -> its parts: plain bytes with names. The suffix says what packs them, and nothing else does.

1. Whatever is packed is proven whole before its first part is handed out; damage refuses the whole file.
2. A zip's members are parts, each with its own suffix; an archive within an archive is refused. Members whose names begin with "." are no files.
3. Lines are numbered on through the members of a zip, so a line's number says which record it is.
4. A part can be opened again and again, one reader at a time.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

from parityd.formats.child import Unpacked, unpack
from parityd.formats.port import Context, Part, Shape, Unreadable
from parityd.formats.streams import SUFFIXES, checked, unpacked

SHAPES: dict[str, Shape] = {
    ".jsonl": "lines", ".ndjson": "lines", ".json": "document", ".csv": "table", ".log": "text", ".fix": "text", ".txt": "text",
}  # fmt: skip
CHILD = {".parquet": "parquet", ".zip": "zip", ".sqlite": "sqlite"}
KNOWN = (*SHAPES, *CHILD)


def suffixes(name: str) -> tuple[str, str]:
    """The container's suffix and the compression's ("" for none), lower case."""
    stem, last = os.path.splitext(name.lower())
    packed = last if last in SUFFIXES else ""
    suffix = os.path.splitext(stem)[1] if packed else last
    return suffix, packed


def _length(stream: BinaryIO) -> int:
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return length


def parts(handle: BinaryIO, context: Context, tables: tuple[str, ...], closing: ExitStack) -> list[Part]:
    """The parts of a file, readable until `closing` closes. `tables`: what is asked of an SQLite file."""
    if _length(handle) > context.limits.file:
        raise Unreadable("too_long", f"the file is larger than {context.limits.file} bytes")
    return list(_parts(handle, context.name, _Opening(context, tables, closing), nested=False))


@dataclass(frozen=True, slots=True)
class _Opening:
    context: Context
    tables: tuple[str, ...]
    closing: ExitStack

    def child(self, plain: BinaryIO, container: str, **how: Any) -> Unpacked:
        return unpack(plain, container, self.context, self.closing, **how)


def _parts(handle: BinaryIO, name: str, opening: _Opening, *, nested: bool) -> Iterator[Part]:
    suffix, packed = suffixes(name)
    if suffix not in KNOWN:
        raise Unreadable(
            "unknown_format", f"no known container: the name ends in {suffix + packed or 'no suffix'!r}, not in {' '.join(KNOWN)}"
        )
    if packed:
        checked(handle, packed, opening.context.limits)
    if suffix in CHILD:
        plain = unpacked(handle, packed) if packed else handle
        yield from _from_child(plain, CHILD[suffix], name, opening, nested=nested)
        return

    def opened() -> BinaryIO:
        if packed:
            return unpacked(handle, packed)
        handle.seek(0)
        return handle

    yield Part(name=name, shape=SHAPES[suffix], open=opened)


def _from_child(plain: BinaryIO, container: str, name: str, opening: _Opening, *, nested: bool) -> Iterator[Part]:
    context = opening.context
    if container == "parquet":
        naive = "Z" if context.timezone == "UTC" else ""
        yield Part(name=name, shape="lines", open=opening.child(plain, container, naive=naive).slice)
    elif container == "sqlite":
        got = opening.child(plain, container, tables=list(opening.tables))
        yield Part(name=name, shape="database", open=got.slice, tables=tuple(got.index["tables"]))
    elif nested:
        raise Unreadable("unreadable_file", f"member {name[:100]!r} is an archive itself")
    else:
        got = opening.child(plain, container, members=context.limits.members)
        for member, start, size in got.index["members"]:
            yield from _member(got, member, start, size, opening)


def _member(got: Unpacked, name: str, start: int, size: int, opening: _Opening) -> Iterator[Part]:
    suffix, _ = suffixes(name)
    if suffix in KNOWN:
        yield from _parts(got.slice(start, size), name, opening, nested=True)
    else:
        yield Part(name=name, shape="text", open=lambda: got.slice(start, size))
