"""Refused records as lines of text: what stands in FILE.rejected.jsonl.

1. One JSON object a line: line (from 1), code, reason, raw; valid UTF-8 whatever the record was.
2. Bounded: raw text by `raw_bytes`, the whole by `total_bytes`; what is beyond is counted in one last line, never dropped in silence.
3. A stream: a hundred thousand refusals are never held together.
"""

import json
from collections.abc import Iterable, Iterator

from parityd.core.records import Refusal

_REASON_BYTES = 4096
_PIECE = 1 << 20


def clip(text: str, room: int) -> str:
    """At most `room` bytes of UTF-8; what no UTF-8 can hold is written out."""
    raw = text.encode("utf-8", "backslashreplace")
    return raw.decode() if len(raw) <= room else raw[:room].decode("utf-8", "ignore")


def _line(refusal: Refusal, raw_bytes: int) -> bytes:
    row = {"line": refusal.line, "code": refusal.code, "reason": clip(refusal.reason, _REASON_BYTES), "raw": clip(refusal.raw, raw_bytes)}
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _rest(first: Refusal, others: Iterator[Refusal]) -> bytes:
    """The last line: where the record stands that was the first not to fit, and how many there are of each code."""
    codes = {first.code: 1}
    for refusal in others:
        codes[refusal.code] = codes.get(refusal.code, 0) + 1
    more = sum(codes.values())
    told = f"this and {more - 1} later refused records are not written out here; the file itself is in the archive"
    return json.dumps({"line": first.line, "code": first.code, "reason": told, "raw": "", "more": more, "codes": codes}).encode() + b"\n"


def refusal_lines(refusals: Iterable[Refusal], *, raw_bytes: int, total_bytes: int) -> Iterator[bytes]:
    """The file's content in pieces of about a megabyte."""
    rows, piece, held, written = iter(refusals), list[bytes](), 0, 0
    for refusal in rows:
        line = _line(refusal, raw_bytes)
        written += len(line)
        if written > total_bytes:
            piece.append(_rest(refusal, rows))
            break
        piece.append(line)
        held += len(line)
        if held > _PIECE:
            yield b"".join(piece)
            piece, held = [], 0
    yield b"".join(piece)
