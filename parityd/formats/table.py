"""The table of formats, and how a part finds its own: by what it holds, unless its source pins it.

1. A `kind` says that it is native; else the first format of the table that knows a sample has it.
2. In lines, the first object that any format knows decides, within the first `LOOK` objects; a file of lines that holds none, yet looks like
   text, is native: its lines are then refused one by one.
3. What is neither known nor pinned is `unknown_format`, and nothing of it is taken.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from parityd.formats import (
    ccxt,
    cells,
    decision_log,
    fix,
    freqtrade,
    freqtrade_sqlite,
    hummingbot,
    lean,
    mapped,
    native,
    nautilus,
    nautilus_events,
)
from parityd.formats.documents import document, value
from parityd.formats.lines import Chunk, chunks
from parityd.formats.port import Context, Format, Part, Sample, Unreadable

FORMATS: tuple[Format, ...] = (
    Format(name="decision_log", knows=decision_log.knows, read=decision_log.read),
    Format(name="nautilus_events", knows=nautilus_events.knows, read=nautilus_events.read),
    Format(name="nautilus_fills", knows=nautilus.is_fills, read=nautilus.read_fills),
    Format(name="nautilus_orders", knows=nautilus.is_orders, read=nautilus.read_orders),
    Format(name="nautilus_positions", knows=nautilus.is_positions, read=nautilus.read_nothing),
    Format(name="nautilus_account", knows=nautilus.is_account, read=nautilus.read_nothing),
    Format(name="freqtrade_result", knows=freqtrade.is_result, read=freqtrade.read_result, companion=freqtrade.is_companion),
    Format(name="freqtrade_trades", knows=freqtrade.is_trades, read=freqtrade.read_trades),
    Format(name="freqtrade_meta", knows=freqtrade.is_meta, read=nautilus.read_nothing),
    Format(name="freqtrade_sqlite", knows=freqtrade_sqlite.knows, read=freqtrade_sqlite.read, tables=freqtrade_sqlite.TABLES),
    Format(name="hummingbot_trades", knows=hummingbot.is_trades, read=hummingbot.read_trades),
    Format(name="hummingbot_history", knows=hummingbot.is_history, read=hummingbot.read_history, anonymous=True),
    Format(name="hummingbot_sqlite", knows=hummingbot.is_database, read=hummingbot.read_database, tables=hummingbot.TABLES),
    Format(name="ccxt_trades", knows=ccxt.is_trades, read=ccxt.read_trades, anonymous=True),
    Format(name="ccxt_orders", knows=ccxt.is_orders, read=ccxt.read_orders, anonymous=True),
    Format(name="lean_events", knows=lean.is_events, read=lean.read_events, anonymous=True),
    Format(name="lean_result", knows=lean.is_result, read=lean.read_result, anonymous=True),
    Format(name="lean_orders", knows=lean.is_orders, read=lean.read_orders, anonymous=True),
    Format(name="fix", knows=fix.knows, read=fix.read, anonymous=True),
    Format(name="fix_events", knows=fix.is_events, read=fix.read_events),
    Format(name="mapped", knows=mapped.knows, read=mapped.read),
    Format(name="native", knows=native.knows, read=native.read),
)
BY_NAME = {f.name: f for f in FORMATS}
TABLES = tuple(dict.fromkeys(t for f in FORMATS for t in f.tables))
LOOK = 64
_HEAD = 4096
_LOG_HEAD = 256 << 10  # a log may begin with anything
_REACH = 8 << 20


def recognised(part: Part, context: Context) -> tuple[Part, Format | None]:
    """A part that holds something, in the shape to read it in, with its format; None where none knows it."""
    candidates = _candidates(context)
    strange = False
    for sample, shaped in _samples(part, context):
        said = BY_NAME["native"] if "kind" in sample.keys and BY_NAME["native"] in candidates else None
        found = said or next((f for f in candidates if f.knows(sample)), None)
        if found is not None:
            return shaped, found
        strange = strange or bool(sample.keys)
    if len(candidates) == 1:
        return part, candidates[0]
    nothing = part.shape == "document" and document(part, context).elements == []
    garbled = part.shape == "lines" and not strange and b"\0" not in part.open().read(_HEAD)
    return part, BY_NAME["native"] if (garbled or nothing) and len(candidates) == len(FORMATS) else None


def _candidates(context: Context) -> tuple[Format, ...]:
    pinned = context.source.format if context.source else None
    if context.source and context.source.columns and pinned in (None, "csv", "mapped", "native"):
        return (BY_NAME["mapped"],)
    if pinned is None:
        return FORMATS
    if pinned in BY_NAME:
        return (BY_NAME[pinned],)
    family = tuple(f for f in FORMATS if f.name.startswith(pinned + "_"))
    if not family:
        raise Unreadable("unknown_format", f"[sources.{context.source.name if context.source else ''}] format {pinned!r} is not known")
    return family


def _samples(part: Part, context: Context) -> Iterator[tuple[Sample, Part]]:
    head = part.open().read(_HEAD if part.shape != "text" else _LOG_HEAD)
    if not head.strip():
        return
    if part.shape == "database":
        yield Sample(shape=part.shape, keys=frozenset(part.tables), row={}, head=b"", name=part.name), part
    elif part.shape == "table":
        _, _, names = cells.header(part.open(), context.limits, part.first)
        yield _sample(part, head, dict.fromkeys(names, "")), part
    elif part.shape == "document":
        yield from _of_document(part, context, head)
    else:
        yield from _of_lines(part, context, head)


def _sample(part: Part, head: bytes, row: Mapping[str, Any]) -> Sample:
    return Sample(shape=part.shape, keys=frozenset(row), row=row, head=head, name=part.name)


def _of_document(part: Part, context: Context, head: bytes) -> Iterator[tuple[Sample, Part]]:
    try:
        top = document(part, context)
    except Unreadable:
        first = head.split(b"\n", 1)[0]
        if len(first) < len(head) and isinstance(value(first, context.limits.nesting)[0], dict):
            yield from _of_lines(replace(part, shape="lines"), context, head)  # lines under the wrong suffix
            return
        raise
    if top.elements is not None:
        for raw in top.elements[:LOOK]:
            row = value(raw, context.limits.nesting)[0]
            if isinstance(row, dict):
                yield _sample(part, head, row), part
    elif top.members is not None:
        small = {k: value(v, context.limits.nesting)[0] if len(bytes(v)) < _HEAD else None for k, v in top.members.items()}
        yield _sample(part, head, small), part


def _of_lines(part: Part, context: Context, head: bytes) -> Iterator[tuple[Sample, Part]]:
    objects, looked = 0, 0
    yield Sample(shape=part.shape, keys=frozenset(), row={}, head=head, name=part.name), part
    for piece in chunks(part.open(), context.limits.line, part.first, block=64 << 10):
        if isinstance(piece, Chunk):
            looked += len(piece.data)
            for _, raw in piece.numbered():
                row = value(raw, context.limits.nesting)[0]
                if isinstance(row, dict):
                    objects += 1
                    yield _sample(part, head, row), part
                if objects >= LOOK:
                    return
        if looked > _REACH:
            return
