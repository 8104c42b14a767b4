"""Things to store: valid by default, one override at a time."""

import hashlib

import numpy as np

from parityd.core.accepting import decision_columns, fill_columns
from parityd.core.columns import Bounds, DecisionColumns, FillColumns
from parityd.core.records import Bust, Decision, Fill, Line, Mark
from parityd.core.rows import DEAD, ROW, Rows, Shelf, blank
from parityd.core.summary import ShelfSummary
from parityd.store import Commit, FileEntry, FileRecords

NOW = 1_790_000_000 * 10**9
SHELF = NOW // (900 * 10**9)


def fill(k: int = 0, **over) -> Fill:
    values = {"strategy": "alpha", "symbol": "BTC/USD", "fill_id": f"f{k:06d}", "side": "buy", "quantity": 1.5, "price": 100.25 + k % 7}
    return Fill(**(values | {"ts": NOW / 1e9 + k, "trade_id": f"t{k:06d}", "fee": 0.125} | over))


def fills(n: int = 3, *, book: str = "live", first: int = 0, run: str = "", **over) -> FillColumns:
    lines = np.arange(1, n + 1)
    made, refused = fill_columns(book, [fill(first + k, **over) for k in range(n)], lines, Bounds(), run)
    assert made is not None and not refused
    return made


def decisions(n: int = 3, *, first: int = 0, **over) -> DecisionColumns:
    values = {"strategy": "alpha", "symbol": "BTC/USD", "action": "buy", "quantity": 1.5, "price": 100.0, "mark": 100.0} | over
    rows = [Decision(**values, ts=NOW / 1e9 + first + k, trade_id=f"t{first + k:06d}") for k in range(n)]
    made, refused = decision_columns("backtest", rows, np.arange(1, n + 1), Bounds())
    assert made is not None and not refused
    return made


def rare(n: int = 2) -> list[Line]:
    some = [
        Mark(symbol="BTC/USD", price=101.5, ts="2026-11-20T10:15:00Z"),
        Bust(strategy="alpha", symbol="BTC/USD", fill_id=7, reason=None, ts=1.5e9),
    ]
    return [Line(k + 1, NOW + k, some[k % 2]) for k in range(n)]


def records(f: FillColumns | None = None, d: DecisionColumns | None = None, lines: list[Line] | None = None) -> FileRecords:
    parts = [c for c in (d, f) if c is not None]
    lines = lines or []
    extra = np.arange(1, len(lines) + 1, dtype=np.uint64)
    return FileRecords(
        keys=np.concatenate([*[c.key for c in parts], extra]), contents=np.concatenate([*[c.content for c in parts], extra]),
        fills=f, decisions=d, rare=lines,
    )  # fmt: skip


def file(name: str = "a.jsonl", **over) -> FileEntry:
    values = {
        "book": "live", "sha256": hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest(), "name": name, "size": 100, "seen_ns": NOW, "ingested_ns": NOW + 1,
        "format": "native", "accepted": 3, "by_kind": {"fill": 3}, "first_ts": NOW, "last_ts": NOW + 10**9, "strategies": ["alpha"],
    }  # fmt: skip
    if "records" not in over and over.get("state") != "rejected":
        values["records"] = records(fills())
    return FileEntry(**(values | over))


def rows(n: int = 5, *, first: int = 1, seed: int = 1) -> Rows:
    """Rows as a shelf would hold them, joined by id, with arbitrary numbers everywhere."""
    rng = np.random.default_rng(seed)
    out = blank(n)
    for name in ROW.names or ():
        if out[name].dtype == np.float64:
            out[name] = np.round(rng.uniform(1, 1000, n), int(rng.integers(0, 9)))
    out["bkey"] = out["lkey"] = out["pk"] = np.arange(first, first + n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    out["t"] = out["b_ts"] = NOW + np.arange(n) * 10**6
    out["l_first"] = out["t"] + rng.integers(0, 10**9, n)
    out["side"] = rng.choice([1, -1], n)
    out["alpha"] = 1.0
    return out


def shelf(n: int = 5, *, number: int = SHELF, first: int = 1, seed: int = 1) -> Shelf:
    made = Shelf(number)
    made.append(rows(n, first=first, seed=seed), [f"trade-{first + k}" if k % 3 else "" for k in range(n)])
    return made


def summary(n: int = 5, seed: int = 1) -> ShelfSummary:
    return ShelfSummary(rows(n, seed=seed))


def commit(**over) -> Commit:
    return Commit(**over)


def same_columns(a, b) -> bool:
    """Bit for bit (NaN equals NaN), types included."""
    if a is None or b is None:
        return a is b
    for name in a.names():
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, np.ndarray):
            if x.dtype != y.dtype or not np.array_equal(x, y, equal_nan=x.dtype == np.float64):
                return False
            if x.dtype == np.float64 and not np.array_equal(np.signbit(x[~np.isnan(x)]), np.signbit(y[~np.isnan(y)])):
                return False
        elif x != y:
            return False
    return True


def living(s: Shelf) -> dict[int, tuple[bytes, str]]:
    """What a shelf says: by pk, every field but the place of the text, and the text."""
    out = {}
    for k in range(s.n):
        row = s.rows[k].copy()
        if int(row["flags"]) & DEAD:
            continue
        text = s.text_of(k)
        row["tid_at"] = 0
        out[int(row["pk"])] = (row.tobytes(), text)
    return out


def same_summary(a: ShelfSummary, b: ShelfSummary) -> bool:
    if a.spans != b.spans or len(a.parts) != len(b.parts):
        return False
    for p, q in zip(a.parts, b.parts, strict=True):
        plain = p.s.tobytes() == q.s.tobytes() and (p.peak, p.peak_w, p.newest, p.latest) == (q.peak, q.peak_w, q.newest, q.latest)
        tables = list(p.sym) == list(q.sym) and all(p.sym[k].tobytes() == q.sym[k].tobytes() for k in p.sym)
        waits = [np.concatenate(x.latency).tobytes() if x.latency else b"" for x in (p, q)]
        if not (plain and tables and waits[0] == waits[1]):
            return False
    return True
