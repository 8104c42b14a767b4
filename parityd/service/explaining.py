"""`parityd explain TRADE`: everything the store knows of one trade, over a connection that cannot write.

1. A trade is found by its id, by the id of one of its fills or orders, or by the 16 hex digits that reports show for one without an id.
2. What is shown is recomputed from nothing: the row is the one that was judged, the records are those that made it, by the names of their
   executions.
3. What it caused: findings that name it, and the strategy's changes of action between its arrival and the end of the next check.
"""

import re
import threading
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import numpy as np

from parityd.core.columns import Columns, DecisionColumns, FillColumns
from parityd.core.executions import decision_executions, fill_executions, order_name, trade_name
from parityd.core.instants import DAY_NS, parse_time, rfc3339
from parityd.core.monitor import Monitor
from parityd.core.records import BACKTEST, BOOKS, LIVE, NO_TS, Line, Order
from parityd.core.rows import PART, Shelf
from parityd.core.strategy import Strategy
from parityd.core.text import TextColumn
from parityd.core.trade_view import number, values, view, when
from parityd.core.verdicts import Verdicts, finding
from parityd.core.window import settled_rows, settling
from parityd.edges import clock
from parityd.service import memory
from parityd.service.sessions import parameters_of
from parityd.settings import Settings
from parityd.store import Store, connect
from parityd.store.entries import FileEntry
from parityd.store.reads import Reads

HEX = re.compile(r"[0-9a-f]{16}\Z")
AROUND_NS = 3 * DAY_NS  # a trade's records lie around it, orders and late fills included
KEY = {BACKTEST: "bkey", LIVE: "lkey"}
_HIDDEN = ("line", "key", "content")
_WORDS: dict[str, dict[int, str]] = {
    "side": {1: "buy", -1: "sell"}, "action": {1: "buy", -1: "sell", 2: "close", 0: "hold"}, "liquidity": {1: "maker", 2: "taker"},
    "filled": {1: "true", 0: "false"}, "reduce_only": {1: "true", 0: "false"}, "shadow": {1: "true"},
}  # fmt: skip
_REFERENCES = ("backtest_price", "backtest_mark", "live_mark", "arrival_price", "arrival_touch", "live_price")


def explain_trade(settings: Settings, trade: str, strategy: str = "") -> list[dict[str, Any]]:
    """Every trade of that name; [] where there is none."""
    path = settings.store_path()
    if not path.exists():
        return []
    db = connect.open_reader(path)
    try:
        reads = Reads(db, str(path), threading.RLock())
        v = memory.fold(cast("Store", reads), parameters_of(settings))
        names = [strategy] if strategy else sorted(v.m.strategies)
        found = [
            _Trade(v, reads, s, shelf, place, settings)
            for s, shelf, place in _found(v.m, reads, trade, [n for n in names if n in v.m.strategies])
        ]
        return [t.told() for t in found]
    finally:
        db.close()


# --- finding it ---------------------------------------------------------------------------------------------------


def _found(m: Monitor, reads: Reads, trade: str, names: list[str]) -> Iterator[tuple[Strategy, Shelf, int]]:
    """Rows that carry the name, each once; of an order and the trade that its fills made, the trade."""
    for name in names:
        s = m.strategies[name]
        rows = _rows(s, _keys(m, s, trade))
        if not any(_traded(*at) for at in rows.values()):
            rows |= _rows(s, _keys_of_records(m, reads, s, trade))
        some = any(_traded(*at) for at in rows.values())
        yield from ((s, *at) for at in rows.values() if _traded(*at) or not some)


def _rows(s: Strategy, keys: list[int]) -> dict[int, tuple[Shelf, int]]:
    out = {}
    for key in keys:
        at = s.books.locate(key)
        if at is not None:
            shelf, place = _whole(s, *at)
            out[int(shelf.view["pk"][place])] = shelf, place
    return out


def _traded(shelf: Shelf, place: int) -> bool:
    return bool(shelf.view["b_q"][place] > 0 or shelf.view["l_q"][place] > 0)


def _keys(m: Monitor, s: Strategy, trade: str) -> list[int]:
    """Names that this text would have as a trade or an order, and that are known of this strategy."""
    keys = [int(trade, 16)] if HEX.match(trade) else []
    for sym in s.books.cells:
        for book in BOOKS:
            pair = m.instruments.pair(book, s.name, m.names[sym])
            keys += [trade_name(pair, trade, side) for side in (1, -1)] + [order_name(pair, trade)]
    return [k for k in dict.fromkeys(keys) if _carries(s, k)]


def _carries(s: Strategy, key: int) -> bool:
    """All strategies share the places of names: whether one of this strategy's shelves holds it."""
    number_ = s.books.places.get(key)
    return number_ in s.books.summaries and s.books.locate(key) is not None


def _keys_of_records(m: Monitor, reads: Reads, s: Strategy, trade: str) -> list[int]:
    """The slow way: names of the executions of fills and decisions that say this text somewhere."""
    keys: list[int] = []
    for entry, fills, decisions, _ in reads.records(s.name):
        for book, name, c in _named(m, s, entry, fills, decisions, {}):
            said = [c.fill_id, c.order_id, c.parent_id] if isinstance(c, FillColumns) else []
            said.append(cast("TextColumn", getattr(c, "trade_id")))  # noqa: B009  both kinds have one
            del book
            keys += [int(name[i]) for column in said if trade in column for i, x in enumerate(column) if x == trade]
    return [k for k in dict.fromkeys(keys) if _carries(s, k)]


def _whole(s: Strategy, shelf: Shelf, place: int) -> tuple[Shelf, int]:
    """The trade that a part was joined to, else the row itself."""
    row = shelf.view[place]
    main = s.books.locate(int(row["part_of"])) if int(row["flags"]) & PART else None
    return main if main is not None else (shelf, place)


def _named(
    m: Monitor,
    s: Strategy,
    entry: FileEntry,
    fills: FillColumns | None,
    decisions: DecisionColumns | None,
    parents: dict[tuple[str, str], str],
) -> Iterator[tuple[str, np.ndarray, Columns]]:
    """The strategy's records of a file with the name of the execution of each."""
    for c in (fills, decisions):
        if c is None:
            continue
        own = c.take(np.fromiter((x == s.name for x in c.strategy), np.bool_, len(c)))
        if not len(own):
            continue
        if isinstance(own, FillColumns):
            own.parent_id = TextColumn.of([p or parents.get((entry.book, o), "") for p, o in zip(own.parent_id, own.order_id, strict=True)])
            yield entry.book, fill_executions(entry.book, own, m.instruments, m.fee_price).fill_name, own
        elif isinstance(own, DecisionColumns):
            yield entry.book, decision_executions(entry.book, own, m.instruments).fill_name, own


# --- telling it ---------------------------------------------------------------------------------------------------


class _Trade:
    """One row and all that belongs to it."""

    def __init__(self, v: Verdicts, reads: Reads, s: Strategy, shelf: Shelf, place: int, settings: Settings) -> None:
        self.v, self.reads, self.s, self.shelf, self.place = v, reads, s, shelf, place
        self.row = shelf.view[place]
        self.interval = round(settings.schedule.check_interval * 1e9)
        self.arrived: list[int] = []

    def told(self) -> dict[str, Any]:
        m, s, p = self.v.m, self.s, self.place
        rows = self.shelf.rows[p : p + 1]
        t = int(self.row["t"])
        price = float(values(rows, m.marks, (t // DAY_NS + 1) * DAY_NS - 1)[0])
        settled = bool(settled_rows(rows, settling(s, m.parameters, clock.now(), waiting=False))[0])
        shown = view(self.shelf, p, s.name, m.names, price, settled=settled)
        parts = self._parts()
        records = self._records({self.row["bkey"], self.row["lkey"], *(k for part in parts for k in (part["bkey"], part["lkey"]))} - {0})
        return {
            **shown,
            "name": f"{int(self.row['pk']):016x}",
            "match": self._match(shown, parts, records),
            "chain": self._chain(shown),
            "records": records,
            "caused": self._caused({shown["trade_id"], f"{int(self.row['pk']):016x}"}),
        }

    def _parts(self) -> list[np.void]:
        """Executions that were joined to it as parts of one order."""
        pk, t = int(self.row["pk"]), int(self.row["t"])
        out = []
        for shelf, places in self.s.books.rows_between(t - AROUND_NS, t + AROUND_NS):
            r = shelf.rows
            out += [r[i] for i in places.tolist() if int(r["flags"][i]) & PART and int(r["part_of"][i]) == pk]
        return out

    def _match(self, shown: dict[str, Any], parts: list[np.void], records: list[dict[str, Any]]) -> dict[str, Any]:
        """How the sides were joined, by which times, and how far apart they lie. Where ids join, only the records know when an order was submitted."""
        r = self.row
        sent = {book: min((parse_time(x["ts"]) for x in records if _submits(x, book)), default=NO_TS) for book in BOOKS}
        b_sub, l_sub = (int(r[f]) if r[f] != NO_TS else sent[book] for f, book in (("b_sub", BACKTEST), ("l_sub", LIVE)))
        b = next((t for t in (int(r["b_ts"]), b_sub, int(r["b_first"])) if t != NO_TS), NO_TS)
        live = next((t for t in (int(r["l_dts"]), l_sub, int(r["l_first"])) if t != NO_TS), NO_TS)
        quantities = shown["backtest_quantity"], shown["live_quantity"]
        return {
            "matched_by": shown["matched_by"], "ambiguous": shown["ambiguous"], "suspect": shown["suspect"],
            "distance_seconds": None if NO_TS in (b, live) else (live - b) / 1e9,
            "quantity_ratio": quantities[1] / quantities[0] if all(quantities) else None,
            "backtest": {"decided": when(r["b_ts"]), "submitted": when(b_sub), "executed": when(r["b_first"]), "run_created": when(r["b_run"])},
            "live": {"decided": when(r["l_dts"]), "submitted": when(l_sub), "first_fill": when(r["l_first"]), "last_fill": when(r["l_last"])},
            "parts": [f"{int(part['pk']):016x}" for part in parts],
        }  # fmt: skip

    def _chain(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Prices from reference to reference, and what each step cost, in money and in bps of the trade's notional."""
        notional = number(self.row["n"]) or number(self.row["ln"])
        steps = {k: {"money": x, "bps": None if x is None or not notional else x / notional * 1e4} for k, x in shown["components"].items()}
        return {"references": {k: shown[k] for k in _REFERENCES}, "notional": notional, "steps": steps}

    def _records(self, names: set[Any]) -> list[dict[str, Any]]:
        """The fills, decisions and orders behind it, in order of time."""
        t = int(self.row["t"])
        files = list(self.reads.records(self.s.name, t - AROUND_NS, t + AROUND_NS))
        parents = {
            (e.book, str(x.record.order_id)): str(x.record.parent_id)
            for e, _, _, rare in files for x in rare if isinstance(x.record, Order) and x.record.parent_id not in ("", None)
        }  # fmt: skip
        wanted = np.fromiter((int(n) for n in names), np.uint64, len(names))
        out: list[tuple[int, dict[str, Any]]] = []
        orders: set[tuple[str, str]] = set()
        for e, fills, decisions, _ in files:
            for book, name, c in _named(self.v.m, self.s, e, fills, decisions, parents):
                for i in np.flatnonzero(np.isin(name, wanted)).tolist():
                    out.append((int(c.ts[i]), {**_shown(c, i), "book": book, "file": e.name, "ingested_at": rfc3339(e.ingested_ns)}))
                    self.arrived.append(e.ingested_ns)
                    if isinstance(c, FillColumns):
                        orders |= {(book, c.order_id[i]), (book, c.parent_id[i])}
        out += [
            (x.ts, {**_rare(x), "book": e.book, "file": e.name, "ingested_at": rfc3339(e.ingested_ns)})
            for e, _, _, rare in files for x in rare
            if isinstance(x.record, Order) and x.record.strategy == self.s.name and (e.book, str(x.record.order_id)) in orders
        ]  # fmt: skip
        return [r for _, r in sorted(out, key=lambda x: (x[0], x[1]["kind"], x[1]["book"]))]

    def _caused(self, names: set[str]) -> dict[str, Any]:
        """Findings that name it, and changes of action that name it or came with it."""
        state = self.v.standing.ladders.get(self.s.name)
        findings = [finding(f) for f in (state.findings if state is not None else ()) if any(_names(n, f.detail) for n in names)]
        first = min(self.arrived, default=NO_TS)
        changes = []
        for row in self.reads.audit_rows():
            if row["event"] != "action.changed" or row["strategy"] != self.s.name:
                continue
            by_name = any(_names(n, str(row["data"].get("reason", ""))) for n in names)
            with_it = first != NO_TS and first <= parse_time(row["ts"]) + 1000 <= first + self.interval + 1000
            if by_name or with_it:
                changes.append({"ts": row["ts"], **{k: row["data"].get(k) for k in ("from", "to", "reason", "by")}, "names_it": by_name})
        return {"findings": findings, "changes": changes}


def _names(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _shown(c: Columns, i: int) -> dict[str, Any]:
    """One record of a block, as it was sent: what is absent is left out."""
    out: dict[str, Any] = {"kind": "fill" if isinstance(c, FillColumns) else "decision"}
    for f in c.names():
        x = getattr(c, f)[i]
        if f in _WORDS:
            x = _WORDS[f].get(int(x))
        elif f in ("ts", "decision_ts"):
            x = when(x)
        elif isinstance(x, np.floating):
            x = number(x)
        if f not in _HIDDEN and x not in ("", None):
            out[f] = x
    return out


def _submits(record: dict[str, Any], book: str) -> bool:
    return record["kind"] == "order" and record["book"] == book and record.get("status") == "submitted"


def _rare(line: Line) -> dict[str, Any]:
    raw: dict[str, Any] = msgspec.to_builtins(line.record)
    kept = {k: x for k, x in raw.items() if x not in ("", None) and x == x and k not in ("ts", "kind")}  # noqa: PLR0124  NaN is absent
    return {"kind": str(line.record.__struct_config__.tag), "ts": rfc3339(line.ts), **kept}
