"""Market data of one symbol for a backtest: OHLC(V) bars, or marks alone.

1. Bars are valid when they exist: times strictly rise, prices are finite and above zero, no bar's high is under its low. What is not so
   is refused with its row (from 1, a header not counted), its time, and the reason.
2. Times are int64 ns UTC, of the bar's close (the moment at which it may be known). Arrays are read-only.
3. Times without a zone are UTC; whole numbers are seconds, milliseconds, microseconds or nanoseconds by their size.
4. Frames are read by shape, not by type: pandas and Polars both have columns with `to_numpy`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parityd.core.any_time import any_time
from parityd.core.instants import I64, rfc3339
from parityd.core.records import NO_TS
from parityd.sim.draws import F64

TIME_NAMES = ("timestamp", "ts", "time", "datetime", "date", "timestamp_utc", "open_time", "close_time")
PRICE_NAMES = ("close", "mark", "price", "last")
_COLUMNS = ("open", "high", "low", "close")


class BarsError(ValueError):
    """Market data that cannot be taken. `row` counts from 1; 0 = no single row is to blame."""

    def __init__(self, symbol: str, row: int, reason: str) -> None:
        super().__init__(f"{symbol}: row {row}: {reason}" if row else f"{symbol}: {reason}")
        self.symbol, self.row, self.reason = symbol, row, reason


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bars:
    """Arrays of shape (n,). Of marks alone all four prices are the mark."""

    symbol: str
    ts: I64
    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def interval_ns(self) -> int:
        """The usual distance of two bars (median); 0 under two bars."""
        return int(np.median(np.diff(self.ts))) if len(self.ts) > 1 else 0

    def head(self, n: int) -> "Bars":
        """The first n bars."""
        return Bars(symbol=self.symbol, ts=self.ts[:n], **{c: getattr(self, c)[:n] for c in (*_COLUMNS, "volume")})


def times(values: ArrayLike | Iterable[object]) -> I64:
    """A column of times in ns, NO_TS where one is none."""
    column = np.asarray(values)
    if column.dtype.kind == "M":
        return column.astype("datetime64[ns]").astype(np.int64)
    if column.dtype.kind in "iu" and len(column) and float(np.abs(column[0])) >= 1e17:
        return column.astype(np.int64)
    return np.fromiter((any_time(v) for v in column.tolist()), np.int64, len(column))


def _numbers(symbol: str, name: str, values: ArrayLike) -> F64:
    try:
        column = np.array(values, np.float64)
    except (TypeError, ValueError):
        for row, value in enumerate(np.asarray(values, object).tolist(), 1):
            try:
                float(value)
            except (TypeError, ValueError):
                raise BarsError(symbol, row, f"{name} {value!r} is not a number") from None
        raise
    column.flags.writeable = False
    return column


def make_bars(
    symbol: str,
    ts: ArrayLike | Iterable[object],
    close: ArrayLike,
    *,
    open: ArrayLike | None = None,
    high: ArrayLike | None = None,
    low: ArrayLike | None = None,
    volume: ArrayLike | None = None,
) -> Bars:
    """Checked bars from columns; what is not given of open, high and low follows from the close. BarsError: rule 1."""
    if not symbol:
        raise BarsError("?", 0, "no symbol")
    when = times(ts)
    when.flags.writeable = False
    columns = {"close": _numbers(symbol, "close", close)}
    last = columns["close"]
    columns["open"] = last if open is None else _numbers(symbol, "open", open)
    columns["high"] = np.maximum(columns["open"], last) if high is None else _numbers(symbol, "high", high)
    columns["low"] = np.minimum(columns["open"], last) if low is None else _numbers(symbol, "low", low)
    columns["volume"] = np.zeros(len(last)) if volume is None else _numbers(symbol, "volume", volume)
    for name, column in columns.items():
        if len(column) != len(when):
            raise BarsError(symbol, 0, f"{len(when)} times and {len(column)} values of {name}")
    _check(symbol, when, columns)
    return Bars(symbol=symbol, ts=when, **columns)


def _check(symbol: str, ts: I64, columns: Mapping[str, F64]) -> None:
    faults: list[tuple[int, str]] = []

    def look(bad: NDArray[np.bool_], say: Any) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            faults.append((row, say(row)))

    look(ts == NO_TS, lambda _: "the time cannot be read")
    for name in _COLUMNS:
        column = columns[name]
        look(~np.isfinite(column), lambda _, name=name: f"{name} is not a finite number")
        look(column <= 0.0, lambda row, name=name, column=column: f"{name} {column[row]:g} is not above zero")
    look(~(columns["volume"] >= 0.0) | np.isinf(columns["volume"]), lambda _: "volume is negative or not a number")
    look(columns["high"] < columns["low"], lambda row: f"high {columns['high'][row]:g} is under low {columns['low'][row]:g}")
    if len(ts) > 1:
        step = np.concatenate([[1], np.diff(ts)])
        look(step == 0, lambda row: f"duplicate time {rfc3339(int(ts[row]))}")
        look(step < 0, lambda row: f"{rfc3339(int(ts[row]))} comes after {rfc3339(int(ts[row - 1]))}: not sorted")
    if faults:
        row, reason = min(faults)
        raise BarsError(symbol, row + 1, reason)


def _frame_times(frame: Any, names: Mapping[str, str]) -> Any:
    """The time column of a frame, or a pandas index of times."""
    for name in TIME_NAMES:
        if name in names:
            column = frame[names[name]]
            zone = getattr(getattr(column, "dt", None), "tz", None)  # pandas only: its zoned columns become objects
            return column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy() if zone is not None else column.to_numpy()
    index = getattr(frame, "index", None)
    if index is not None and getattr(index, "dtype", None) is not None and "datetime" in str(index.dtype):
        return (index.tz_convert("UTC").tz_localize(None) if index.tz is not None else index).to_numpy()
    raise BarsError("frame", 0, f"no column of times: one of {', '.join(TIME_NAMES)}")


def from_frame(frame: Any, *, symbol: str = "") -> dict[str, Bars]:
    """Bars by symbol from a pandas or Polars frame; a column `symbol` parts it, else `symbol` names it. BarsError: rule 1."""
    names = {str(c).lower(): c for c in frame.columns}
    price = next((n for n in PRICE_NAMES if n in names), None)
    if price is None:
        raise BarsError(symbol or "frame", 0, f"no column of prices: one of {', '.join(PRICE_NAMES)}")
    table: dict[str, Any] = {
        c: frame[names[c]].to_numpy() for c in ("open", "high", "low", "volume") if c in names and (c == "volume" or price == "close")
    }
    table["close"] = frame[names[price]].to_numpy()
    when = times(_frame_times(frame, names))
    if "symbol" not in names:
        return {symbol: make_bars(symbol, when, **table)}
    column = [str(s) for s in frame[names["symbol"]].to_numpy().tolist()]
    return split_by_symbol(column, when, table, only=symbol)


def split_by_symbol(symbols: list[str], when: I64, table: Mapping[str, Any], *, only: str = "") -> dict[str, Bars]:
    """One table of several symbols, parted; `only` keeps one."""
    out: dict[str, Bars] = {}
    column = np.array(symbols, object)
    for symbol in dict.fromkeys(symbols):
        if only and symbol != only:
            continue
        rows = np.flatnonzero(column == symbol)
        try:
            out[symbol] = make_bars(symbol, when[rows], **{k: np.asarray(v)[rows] for k, v in table.items()})
        except BarsError as e:
            raise BarsError(symbol, int(rows[e.row - 1]) + 1 if e.row else 0, e.reason) from None
    if only and only not in out:
        raise BarsError(only, 0, f"no row of this symbol; there are {', '.join(sorted(set(symbols))[:10])}")
    return out


Data = Bars | Mapping[str, Bars] | Iterable[Bars] | Any


def gathered(data: Data) -> list[Bars]:
    """Bars, several of them, a mapping by symbol, or a frame, as a list. BarsError: nothing there, or a symbol twice."""
    if isinstance(data, Bars):
        found = [data]
    elif hasattr(data, "columns"):
        found = (
            list(from_frame(data).values())
            if "symbol" in {str(c).lower() for c in data.columns}
            else list(from_frame(data, symbol="SYMBOL").values())
        )
    else:
        found = []
        for key, item in data.items() if isinstance(data, Mapping) else enumerate(data):
            found += [item] if isinstance(item, Bars) else list(from_frame(item, symbol=str(key)).values())
    if not found:
        raise BarsError("data", 0, "no bars")
    names = [b.symbol for b in found]
    if len(set(names)) < len(names):
        raise BarsError(max(names, key=names.count), 0, "given twice")
    return found
