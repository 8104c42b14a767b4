"""One JSON value as a whole: opened without building it, its elements decoded a few at a time.

1. The text lies in a mapped file; elements are windows of it, so memory follows the number of elements and not their content.
2. A document that is not valid JSON to its end is unreadable as a whole; what a single element holds is judged by its reader.
3. An element's "line" is its position, from 1.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec

from parityd.formats.child import on_disk
from parityd.formats.depth import deeper
from parityd.formats.lines import BOM, shown
from parityd.formats.port import Context, Part, Unreadable

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder(msgspec.Raw)
ELEMENTS = 1000


@dataclass(slots=True)
class Document:
    """`members` of an object, or `elements` of an array; a lone value has neither."""

    members: dict[str, msgspec.Raw] | None
    elements: list[msgspec.Raw] | None


def text_of(part: Part, context: Context) -> memoryview:
    """The bytes of a part, mapped, without byte order mark."""
    with ExitStack() as closing:
        file = on_disk(part.open(), context.scratch, closing)
        if os.fstat(file.fileno()).st_size == 0:
            raise Unreadable("unreadable_file", "empty: there is no JSON value in it")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return view[3:] if view[:3] == BOM else view


def document(part: Part, context: Context) -> Document:
    """The top of a document. Raises `Unreadable` where it is no JSON."""
    return opened(text_of(part, context))


def opened(view: memoryview | msgspec.Raw) -> Document:
    try:
        mark = bytes(memoryview(view)[:64]).lstrip()[:1]
        if mark == b"{":
            return Document(_OBJECT.decode(view), None)
        if mark == b"[":
            return Document(None, _ARRAY.decode(view))
        _ANY.decode(view)
    except RecursionError:
        raise Unreadable("unreadable_file", "the JSON document is nested too deeply") from None
    except msgspec.MsgspecError as e:
        raise Unreadable("unreadable_file", f"no JSON document: {e}") from None
    except UnicodeDecodeError:
        raise Unreadable("unreadable_file", "the JSON document is not UTF-8") from None
    return Document(None, None)


def value(raw: bytes | msgspec.Raw, nesting: int) -> tuple[Any, str, str]:
    """(decoded value, "", ""), or (None, code, reason) where the text is not UTF-8, not JSON or too deep."""
    view = bytes(raw)
    if not view.isascii():
        try:
            view.decode()
        except UnicodeDecodeError as e:
            return None, "bad_encoding", f"not UTF-8: byte {view[e.start]:#04x} at {e.start}"
    if deeper(view, nesting):
        return None, "bad_json", f"nested more than {nesting} levels deep"
    try:
        return msgspec.json.decode(view), "", ""
    except msgspec.ValidationError as e:  # valid JSON, but a number that no float can hold
        return None, "bad_value", str(e)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as e:
        return None, "bad_json", f"not JSON: {str(e).removeprefix('JSON is malformed: ')}"


def sliced(elements: list[msgspec.Raw], first: int = 1) -> Iterator[tuple[int, list[msgspec.Raw]]]:
    """The elements a block at a time, with the number of the first of each."""
    for at in range(0, len(elements), ELEMENTS):
        yield first + at, elements[at : at + ELEMENTS]


def raw_text(raw: msgspec.Raw) -> str:
    """An element as a refusal shows it."""
    return shown(bytes(memoryview(raw)[: 2 << 16]))
