"""What one book's records say before anything is judged: numbers, times, deduplication, busts, currencies and the value of a fee.

Amounts are fractions, times whole microseconds since 1970. It does not know executions, matches or the other book's trades.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

Record = Mapping[str, Any]
SECOND = 1_000_000  # microseconds
HOUR = 3600 * SECOND
DAY = 24 * HOUR
SIGN = {"buy": 1, "sell": -1}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys of the configuration that matter here; durations in seconds, symbols as in `[symbols.<name>]`."""

    gap: Fraction = Fraction(30)
    tolerance: Fraction = Fraction(300)
    grace: Fraction = Fraction(36 * 3600)
    timeframe: Mapping[str, Fraction] = field(default_factory=dict)
    symbols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    method: str = "rms"
    weighting: str = "equal"
    suspect_bps: Fraction = Fraction(3000)

    def gap_of(self, strategy: str) -> int:
        """In microseconds: half the timeframe where one is configured."""
        frame = self.timeframe.get(strategy)
        return int((self.gap if frame is None else Fraction(frame) / 2) * SECOND)


def number(value: Any) -> Fraction | None:
    return None if value is None or value == "" else Fraction(str(value))


def micros(ts: Any) -> int:
    """RFC 3339 text or epoch seconds, cut to whole microseconds."""
    if not isinstance(ts, str) or re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", ts):
        return (Fraction(str(ts)) * SECOND).__floor__()
    head, fraction, zone = re.fullmatch(r"(.{19})(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)", ts).groups()  # type: ignore[union-attr]
    moment = datetime.fromisoformat(head.replace(" ", "T") + zone.upper().replace("Z", "+00:00"))
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * SECOND + int((fraction or "0")[:6].ljust(6, "0"))


def day_of(ts: int) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=ts // DAY)).date()


def day_start(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY


class Book:
    """One side's records, deduplicated (first stands), busted fills taken back, shadow fills left out, aliases resolved."""

    def __init__(self, name: str, records: Iterable[Record], settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.decisions: list[Record] = []
        self.fills: list[Record] = []
        self.marks: list[tuple[str, int, Fraction]] = []
        self.funding: list[tuple[str, str, int, Fraction]] = []
        self.submitted: dict[tuple[str, str, str], int] = {}
        self.parents: dict[tuple[str, str, str], str] = {}
        self.watermark: dict[str, int] = {}
        seen: set[tuple[Any, ...]] = set()
        records = list(records)
        self.busted = {self._fill_key(r) for r in records if r["kind"] == "bust"}
        for r in records:
            self._take(r, seen)

    def symbol(self, name: str) -> str:
        return str(self.settings.symbols.get(name, {}).get("alias", name))

    def _fill_key(self, r: Record) -> tuple[Any, ...]:
        return ("fill", r["strategy"], r.get("account"), r.get("venue"), self.symbol(r["symbol"]), r["fill_id"])

    def _take(self, r: Record, seen: set[tuple[Any, ...]]) -> None:
        kind, ts = r["kind"], micros(r["ts"])
        if "strategy" in r:
            self.watermark[r["strategy"]] = max(ts, self.watermark.get(r["strategy"], ts))
        if kind == "fill":
            key = self._fill_key(r)
            if key not in seen and key not in self.busted and not r.get("shadow"):
                self.fills.append(r)
            seen.add(key)
        elif kind == "decision":
            key = ("decision", r.get("run"), r["strategy"], self.symbol(r["symbol"]), r.get("trade_id"), ts, r["action"])
            if key not in seen:
                self.decisions.append(r)
            seen.add(key)
        elif kind == "mark":
            self.marks.append((self.symbol(r["symbol"]), ts, Fraction(str(r["price"]))))
        elif kind == "funding":
            self.funding.append((r["strategy"], self.symbol(r["symbol"]), ts, Fraction(str(r["amount"]))))
        elif kind == "order":
            owner = (r["strategy"], self.symbol(r["symbol"]))
            if r.get("parent_id"):
                self.parents[*owner, r["order_id"]] = r["parent_id"]
            for name in {r["order_id"], r.get("parent_id") or r["order_id"]} if r["status"] == "submitted" else ():
                self.submitted[*owner, name] = min(ts, self.submitted.get((*owner, name), ts))

    def parent(self, fill: Record) -> str | None:
        """The fill's own parent, else the one that an `order` record of its order names."""
        return fill.get("parent_id") or self.parents.get((fill["strategy"], self.symbol(fill["symbol"]), fill.get("order_id") or ""))

    def side_of(self, decision: Record) -> str | None:
        return {"buy": "buy", "sell": "sell", "close": decision.get("side")}.get(decision["action"])

    def decisions_of(self, strategy: str, symbol: str, trade_id: str | None, side: str) -> list[Record]:
        """Acting decisions of one id and side, oldest first."""
        found = [
            d
            for d in self.decisions
            if trade_id is not None
            and (d["strategy"], self.symbol(d["symbol"]), d.get("trade_id"), self.side_of(d)) == (strategy, symbol, trade_id, side)
        ]
        return sorted(found, key=lambda d: micros(d["ts"]))


class Valuation:
    """Currencies, multipliers, inverse contracts and the marks that value a foreign fee."""

    def __init__(self, books: Iterable[Book], settings: Settings) -> None:
        self.settings = settings
        self.marks = [(symbol, ts, book.name == "live", price) for book in books for symbol, ts, price in book.marks]

    def facts(self, r: Record, symbol: str) -> Mapping[str, Any]:
        return {**self.settings.symbols.get(symbol, {}), **self.settings.symbols.get(r["symbol"], {})}

    def multiplier(self, r: Record, symbol: str) -> Fraction:
        return number(r.get("multiplier")) or number(self.facts(r, symbol).get("multiplier")) or Fraction(1)

    def inverse(self, r: Record, symbol: str) -> bool:
        return bool(self.facts(r, symbol).get("inverse"))

    def quote(self, r: Record, symbol: str) -> str | None:
        base, quote = self._halves(r, symbol)
        if self.inverse(r, symbol):
            return base
        return quote

    def base(self, r: Record, symbol: str) -> str | None:
        base, quote = self._halves(r, symbol)
        return quote if self.inverse(r, symbol) else base

    def _halves(self, r: Record, symbol: str) -> tuple[str | None, str | None]:
        facts = self.facts(r, symbol)
        halves = re.split(r"[/-]", symbol)
        base, quote = halves if len(halves) == 2 else (None, None)
        return facts.get("base") or base, r.get("currency") or facts.get("currency") or quote or r.get("fee_currency")

    def _alias(self, symbol: str) -> str:
        return str(self.settings.symbols.get(symbol, {}).get("alias", symbol))

    def fee(self, r: Record, symbol: str, ts: int, price: Fraction) -> tuple[Fraction, bool, Fraction]:
        """(fee in quote currency, priced?, fee in base units that left the position)."""
        amount = number(r.get("fee"))
        currency = r.get("fee_currency")
        if amount is None or amount == 0:
            return Fraction(0), True, Fraction(0)
        if currency is None or currency == self.quote(r, symbol):
            return amount, True, Fraction(0)
        if currency in (self.base(r, symbol), self.base(r, r["symbol"])):
            return amount * price, True, amount
        pair = self._alias(f"{currency}/{self.quote(r, symbol)}")
        known = [(t, live, p) for s, t, live, p in self.marks if s == pair and t <= ts]
        return (amount * max(known)[2], True, Fraction(0)) if known else (Fraction(0), False, Fraction(0))
