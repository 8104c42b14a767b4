"""CSV of unknown origin: `[sources.<name>] columns` says which column holds which native field.

1. `columns` maps native fields to the file's columns; a value that begins with "=" is the field itself, the same for every row (`kind = "=fill"`).
   Without `kind` the rows are fills.
2. What is not mapped is absent, but for `strategy` and `symbol`, which the source may name. A fill without an id gets one from its row's own text,
   counted where the same row stands in the file several times.
3. Words for sides are buy, b, bot, bought, sell, s, sld, sold, in any case; a signed quantity without side has its side by its sign, and the sign of a
   sale that is told with its side is only that.
4. Times are RFC 3339, ISO without offset (in the source's time zone), or numbers: s, ms, us or ns by their size.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from parityd.core.columns import Block
from parityd.core.instants import rfc3339
from parityd.core.records import Native
from parityd.formats.fields import Unfit, as_number, instant
from parityd.formats.judged import KINDS, judged
from parityd.formats.port import Context, Part, Sample, Unreadable, strategy_of
from parityd.formats.rows import converted

Row = Mapping[str, Any]
_SIDES = {"buy": "buy", "b": "buy", "bot": "buy", "bought": "buy", "sell": "sell", "s": "sell", "sld": "sell", "sold": "sell"}
_OWNED = frozenset(f"={kind}" for kind, record in KINDS.items() if "strategy" in record.__struct_fields__)
_TIMES = ("ts", "decision_ts", "created", "from", "to", "next_by")


def knows(_sample: Sample) -> bool:
    """Never by its content: a source with `columns` says so."""
    return False


def _check(columns: Mapping[str, str], names: Mapping[str, Any], source: str) -> None:
    missing = sorted(c for c in columns.values() if not c.startswith("=") and c not in names)
    if missing:
        raise Unreadable("unreadable_file", f"column {missing[0][:80]!r} of [sources.{source}] columns is not in the file")


def read(part: Part, context: Context) -> Iterator[Block]:
    source = context.source
    if source is None or not source.columns:
        raise Unreadable(
            "unreadable_file", f"[sources.{source.name if source else '<name>'}] columns is missing: it says what the columns hold"
        )
    columns = dict(source.columns)
    if "strategy" not in columns and columns.get("kind", "=fill") in _OWNED:
        strategy_of(context)
    seen: Counter[str] = Counter()
    checked = False

    def take(row: Row) -> list[Native]:
        nonlocal checked
        if not checked:
            _check(columns, row, source.name)
            checked = True
        found = {field: c[1:] if c.startswith("=") else _text(row.get(c)) for field, c in columns.items()}
        made = judged(_completed({k: v for k, v in found.items() if v != ""}, row, context, seen))
        if isinstance(made, tuple):
            raise Unfit(*made)
        return [made]

    return converted(part, context, take)


def _text(cell: Any) -> str:
    """A cell as CSV would have it: rows may come from JSON or Parquet too, where 0 and false are values."""
    return "" if cell is None else str(cell).lower() if isinstance(cell, bool) else str(cell).strip()


def _completed(found: dict[str, Any], row: Row, context: Context, seen: "Counter[str]") -> dict[str, Any]:
    kind = found.setdefault("kind", "fill")
    if context.strategy and kind in KINDS and "strategy" in KINDS[kind].__struct_fields__:
        found.setdefault("strategy", context.strategy)
    if context.symbol:
        found.setdefault("symbol", context.symbol)
    for name in _TIMES:
        if name in found:
            found[name] = rfc3339(instant(name, found[name], context.timezone))
    if "side" in found:
        found["side"] = _SIDES.get(found["side"].lower(), found["side"])
        if found["side"] == "sell" and found.get("quantity", "").startswith("-"):
            found["quantity"] = found["quantity"][1:]
    elif kind == "fill" and "quantity" in found:
        quantity = as_number("quantity", found["quantity"])
        found["side"], found["quantity"] = "buy" if quantity > 0 else "sell", abs(quantity)
    if kind == "fill" and "fill_id" not in found:
        name = hashlib.sha256("\0".join(f"{k}={v}" for k, v in sorted(row.items())).encode("utf-8", "surrogatepass")).hexdigest()[:20]
        seen[name] += 1
        found["fill_id"] = f"{name}#{seen[name]}"
    return found
