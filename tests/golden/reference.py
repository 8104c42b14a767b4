"""A slow, clear reference of what parityd must find: native records of both books in, matches and their measures out.

Rational arithmetic (`fractions`), whole microseconds, full dynamic programming, no code of parityd. It decides executions, matching, watermarks and
settlement; `measures.py` holds the money. The backtest is taken as allowed in full: no publication ever scaled it.
Where the rules leave a choice open the choice is written in README.md ("Choices"), and named here by its letter.
It does not know runs, splits, calendars, or what a book was refused for: give it valid records.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from golden.books import SECOND, SIGN, Book, Record, Settings, Valuation, day_of, micros, number


@dataclass(kw_only=True)
class Piece:
    """One fill, or one executed decision: the atom of an execution. Quantity in units of the underlying, prices linear (inverse turned)."""

    key: str
    ts: int
    quantity: Fraction
    price: Fraction
    fee: Fraction
    fee_known: bool
    base_fee: Fraction
    mark: Fraction | None = None
    arrival: Fraction | None = None
    touch: Fraction | None = None
    latency: Fraction | None = None
    liquidity: str | None = None


@dataclass(kw_only=True)
class Execution:
    """All fills of one trade in one book (or one executed decision)."""

    book: str
    strategy: str
    symbol: str
    side: str
    trade_id: str | None
    pieces: list[Piece]
    decided: int | None
    inverse: bool = False
    slot: int = 0

    @property
    def sign(self) -> int:
        return -SIGN[self.side] if self.inverse else SIGN[self.side]

    @property
    def quantity(self) -> Fraction:
        return sum((p.quantity for p in self.pieces), Fraction(0))

    @property
    def price(self) -> Fraction:
        return sum((p.quantity * p.price for p in self.pieces), Fraction(0)) / self.quantity

    @property
    def fee(self) -> Fraction:
        return sum((p.fee for p in self.pieces), Fraction(0))

    @property
    def first(self) -> int:
        return min(p.ts for p in self.pieces)

    @property
    def last(self) -> int:
        return max(p.ts for p in self.pieces)

    @property
    def key(self) -> str:
        return min(p.key for p in self.pieces)

    def mean(self, name: str) -> Fraction | None:
        """Quantity-weighted mean of a reference over the pieces; missing in one piece is missing."""
        values = [getattr(p, name) for p in self.pieces]
        if any(v is None for v in values):
            return None
        return sum((p.quantity * v for p, v in zip(self.pieces, values, strict=True)), Fraction(0)) / self.quantity


@dataclass(kw_only=True)
class Trade:
    """A match, or what stands in one book only."""

    strategy: str
    symbol: str
    backtest: Execution | None
    live: Execution | None
    matched_by: str | None = None
    distance: int | None = None
    ambiguous: bool = False
    joined: int = 0
    state: str = "matched"
    settled: bool = True

    @property
    def one(self) -> Execution:
        """The backtest's execution, else the live one."""
        found = self.backtest or self.live
        assert found is not None
        return found

    @property
    def day(self) -> date:
        if self.backtest is not None:
            decided = self.backtest.decided
            return day_of(self.backtest.first if decided is None else decided)
        return day_of(self.one.first)

    @property
    def keys(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(backtest's, live's) fill ids or decision keys, sorted: what a test compares."""
        return tuple(tuple(sorted(p.key for p in e.pieces)) if e else () for e in (self.backtest, self.live))  # type: ignore[return-value]


# --- executions ----------------------------------------------------------------------------------------------------------------------


def _turn(price: Fraction | None, *, inverse: bool) -> Fraction | None:
    return 1 / price if inverse and price is not None else price


def _piece(r: Record, book: Book, value: Valuation, mark: Fraction | None) -> Piece:
    symbol, ts = book.symbol(r["symbol"]), micros(r["ts"])
    inverse = value.inverse(r, symbol)
    price = _turn(Fraction(str(r["price"])), inverse=inverse)
    assert price is not None
    bid, ask = number(r.get("arrival_bid")), number(r.get("arrival_ask"))
    arrival = number(r.get("arrival_mark"))
    if arrival is None and bid is not None and ask is not None:
        arrival = (bid + ask) / 2
    buys = (r.get("side") or r.get("action")) == "buy"
    touch = (ask if buys else bid) if r.get("liquidity") != "maker" else (bid if buys else ask)
    fee, known, in_base = value.fee(r, symbol, ts, price)
    own_mark = number(r.get("decision_mark"))
    key = r["fill_id"] if r["kind"] == "fill" else f"decision:{r.get('trade_id')}:{ts}:{r['action']}"
    return Piece(
        key=key,
        ts=ts,
        quantity=Fraction(str(r["quantity"])) * value.multiplier(r, symbol),
        price=price,
        fee=fee,
        fee_known=known,
        base_fee=in_base,
        mark=_turn(mark if own_mark is None else own_mark, inverse=inverse),
        arrival=_turn(arrival, inverse=inverse),
        touch=_turn(touch, inverse=inverse),
        latency=number(r.get("latency_ms")),
        liquidity=r.get("liquidity"),
    )


def is_execution(d: Record) -> bool:
    return d.get("price") is not None and d.get("quantity") is not None and d.get("filled", True) is not False and d["action"] != "hold"


def _newest_at_or_before(decisions: list[Record], ts: int) -> int:
    """Index of the newest decision at or before ts; of the first one where all are later (choice A)."""
    before = [i for i, d in enumerate(decisions) if micros(d["ts"]) <= ts]
    return before[-1] if before else 0


def _orders(book: Book) -> dict[tuple[Any, ...], list[Record]]:
    orders: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
    for f in book.fills:
        parent = book.parent(f)
        name = ("parent", parent) if parent else ("order", f["order_id"]) if f.get("order_id") else ("fill", f["fill_id"])
        orders[(f["strategy"], book.symbol(f["symbol"]), f.get("trade_id"), f["side"], *name)].append(f)
    return orders


def _submission(book: Book, strategy: str, symbol: str, fills: list[Record]) -> int | None:
    names = {n for f in fills for n in (book.parent(f), f.get("order_id")) if n}
    times = [book.submitted[strategy, symbol, n] for n in names if (strategy, symbol, n) in book.submitted]
    return min(times, default=None)


def _fill_executions(book: Book, other: Book, value: Valuation) -> list[Execution]:
    groups: dict[tuple[Any, ...], list[list[Record]]] = defaultdict(list)
    for key, fills in _orders(book).items():
        strategy, symbol, trade_id, side = key[:4]
        if trade_id is None:
            groups[key].append(fills)
            continue
        theirs = other.decisions_of(strategy, symbol, trade_id, side)
        slot = 0
        if len(theirs) > 1:
            sent = _submission(book, strategy, symbol, fills)
            if sent is None:
                sent = min((micros(f["decision_ts"]) for f in fills if f.get("decision_ts") is not None), default=None)
            slot = _newest_at_or_before(theirs, min(micros(f["ts"]) for f in fills) if sent is None else sent)
        groups[(strategy, symbol, trade_id, side, slot)].append(fills)
    result = []
    for key, orders in groups.items():
        strategy, symbol, trade_id, side = key[:4]
        fills = [f for order in orders for f in order]
        submissions = [t for order in orders if (t := _submission(book, strategy, symbol, order)) is not None]
        stated = [micros(f["decision_ts"]) for f in fills if f.get("decision_ts") is not None]
        mine = book.decisions_of(strategy, symbol, trade_id, side)
        own = mine[_newest_at_or_before(mine, min([*submissions, *stated, *(micros(f["ts"]) for f in fills)]))] if mine else None
        decided = micros(own["ts"]) if own else min(stated or submissions, default=None)
        mark = number(own.get("mark")) if own else None
        inverse = value.inverse(fills[0], symbol)
        pieces = [_piece(f, book, value, mark) for f in fills]
        slot = key[4] if trade_id is not None else 0
        result.append(
            Execution(
                book=book.name,
                strategy=strategy,
                symbol=symbol,
                side=side,
                trade_id=trade_id,
                pieces=pieces,
                decided=decided,
                inverse=inverse,
                slot=slot,
            )
        )
    return result


def executions(book: Book, other: Book, value: Valuation) -> list[Execution]:
    """Everything this book executed."""
    result = _fill_executions(book, other, value)
    if book.name == "live":
        return result
    filled = {(e.strategy, e.symbol, e.trade_id) for e in result if e.trade_id is not None}
    for d in book.decisions:
        symbol, side = book.symbol(d["symbol"]), book.side_of(d)
        if not is_execution(d) or side is None or (d["strategy"], symbol, d.get("trade_id")) in filled:
            continue
        slots = book.decisions_of(d["strategy"], symbol, d.get("trade_id"), side)
        piece = _piece({**d, "side": side}, book, value, number(d.get("mark")))
        result.append(
            Execution(
                book=book.name,
                strategy=d["strategy"],
                symbol=symbol,
                side=side,
                trade_id=d.get("trade_id"),
                pieces=[piece],
                decided=piece.ts,
                inverse=value.inverse(d, symbol),
                slot=slots.index(d) if len(slots) > 1 else 0,
            )
        )
    return result


# --- matching ------------------------------------------------------------------------------------------------------------------------


def align(
    left: list[Execution],
    right: list[Execution],
    time: Callable[[Execution], int],
    allowed: Callable[[Execution, Execution], bool],
    gap: int,
    tolerance: int,
) -> list[tuple[Execution, Execution]]:
    """The order-preserving pairing of least (cost, number of pairs); of equal ones the one that pairs the earliest (choice B)."""
    left = sorted(left, key=lambda e: (time(e), e.first, e.key))
    right = sorted(right, key=lambda e: (time(e), e.first, e.key))
    n, m = len(left), len(right)
    best = [[(0, 0)] * (m + 1) for _ in range(n + 1)]
    for i in range(n, -1, -1):
        for j in range(m, -1, -1):
            if i == n or j == m:
                best[i][j] = (gap * (n - i + m - j), 0)
                continue
            options = [(best[i + 1][j][0] + gap, best[i + 1][j][1]), (best[i][j + 1][0] + gap, best[i][j + 1][1])]
            distance = abs(time(left[i]) - time(right[j]))
            if distance <= tolerance and allowed(left[i], right[j]):
                options.append((best[i + 1][j + 1][0] + distance, best[i + 1][j + 1][1] + 1))
            best[i][j] = min(options)
    pairs, i, j = [], 0, 0
    while i < n and j < m:
        distance = abs(time(left[i]) - time(right[j]))
        paired = (best[i + 1][j + 1][0] + distance, best[i + 1][j + 1][1] + 1)
        if distance <= tolerance and allowed(left[i], right[j]) and paired == best[i][j]:
            pairs.append((left[i], right[j]))
            i, j = i + 1, j + 1
        elif (best[i + 1][j][0] + gap, best[i + 1][j][1]) == best[i][j]:
            i += 1
        else:
            j += 1
    return pairs


def _first(e: Execution) -> int:
    return e.first


def _decided(e: Execution) -> int:
    assert e.decided is not None
    return e.decided


def _clock(a: Execution, b: Execution) -> Callable[[Execution], int]:
    return _decided if a.decided is not None and b.decided is not None else _first


class Side:
    """Matching within one (strategy, symbol, side)."""

    def __init__(self, backtest: list[Execution], live: list[Execution], *, shared_ids: bool, gap: int, tolerance: int) -> None:
        self.left = list(backtest)
        self.right = list(live)
        self.shared_ids = shared_ids
        self.gap = gap
        self.tolerance = tolerance
        self.trades: list[Trade] = []
        self.rivals: list[tuple[Trade, list[Execution]]] = []

    def free(self, a: Execution, b: Execution) -> bool:
        """May these two be joined by time?"""
        return not (self.shared_ids and a.trade_id is not None and b.trade_id is not None)

    def run(self) -> list[Trade]:
        self._by_id()
        self._by_time(_decided, "decision", lambda _a, _b: True)
        self._by_time(_first, "fill", lambda a, b: a.decided is None or b.decided is None)
        self._leftovers()
        for trade, rivals in self.rivals:
            mine = {p.key for e in (trade.backtest, trade.live) if e for p in e.pieces}
            trade.ambiguous = any(r.key not in mine for r in rivals)
        for e in self.left + self.right:
            self.trades.append(
                Trade(
                    strategy=e.strategy, symbol=e.symbol, backtest=e if e.book == "backtest" else None, live=e if e.book == "live" else None
                )
            )
        return self.trades

    def _pair(self, b: Execution, e: Execution, how: str, distance: int | None = None) -> Trade:
        trade = Trade(strategy=b.strategy, symbol=b.symbol, backtest=b, live=e, matched_by=how, distance=distance)
        self.trades.append(trade)
        self.left = [x for x in self.left if x is not b]
        self.right = [x for x in self.right if x is not e]
        return trade

    def _by_id(self) -> None:
        theirs: dict[tuple[str, int], Execution] = {(e.trade_id, e.slot): e for e in self.right if e.trade_id is not None}
        for b in list(self.left):
            if b.trade_id is not None and (b.trade_id, b.slot) in theirs:
                self._pair(b, theirs[b.trade_id, b.slot], "id")

    def _by_time(self, time: Callable[[Execution], int], how: str, also: Callable[[Execution, Execution], bool]) -> None:
        timed = time is _first
        left = [e for e in self.left if timed or e.decided is not None]
        right = [e for e in self.right if timed or e.decided is not None]

        def may(a: Execution, b: Execution) -> bool:
            return self.free(a, b) and also(a, b)

        for b, e in align(left, right, time, may, self.gap, self.tolerance):
            own = abs(time(b) - time(e))
            trade = self._pair(b, e, how, own)
            near = [r for r in right if r is not e and may(b, r) and abs(time(b) - time(r)) < 2 * own]
            near += [r for r in left if r is not b and may(r, e) and abs(time(e) - time(r)) < 2 * own]
            self.rivals.append((trade, near))

    def _leftovers(self) -> None:
        """Nearest first; each joins the nearest pair that it brings closer to equal quantities (choice C)."""
        offers = []
        for x in self.left + self.right:
            for trade in self.trades:
                assert trade.backtest is not None
                assert trade.live is not None
                facing = trade.live if x.book == "backtest" else trade.backtest
                time = _clock(x, facing)
                distance = abs(time(x) - time(facing))
                if distance <= self.gap and self.free(x, facing):
                    offers.append((distance, x.first, x.book, x.key, facing.key, x, trade))
        taken: set[int] = set()
        for *_, x, trade in sorted(offers, key=lambda o: o[:5]):
            assert trade.backtest is not None
            assert trade.live is not None
            own, facing = (trade.backtest, trade.live) if x.book == "backtest" else (trade.live, trade.backtest)
            if id(x) in taken or abs(facing.quantity - own.quantity - x.quantity) >= abs(facing.quantity - own.quantity):
                continue
            taken.add(id(x))
            own.pieces = own.pieces + x.pieces
            if own.decided is not None and x.decided is not None:
                own.decided = min(own.decided, x.decided)
            trade.joined += 1
        self.left = [e for e in self.left if id(e) not in taken]
        self.right = [e for e in self.right if id(e) not in taken]


def match(backtest: list[Execution], live: list[Execution], settings: Settings) -> list[Trade]:
    """Every execution in exactly one trade."""
    sides: dict[tuple[str, str, str], tuple[list[Execution], list[Execution]]] = defaultdict(lambda: ([], []))
    ids: dict[tuple[str, str], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for k, book in enumerate((backtest, live)):
        for e in book:
            sides[e.strategy, e.symbol, e.side][k].append(e)
            if e.trade_id is not None:
                ids[e.strategy, e.symbol][k].add(e.trade_id)
    trades = []
    for (strategy, symbol, _), (left, right) in sorted(sides.items()):
        shared = bool(ids[strategy, symbol][0] & ids[strategy, symbol][1])
        trades += Side(left, right, shared_ids=shared, gap=settings.gap_of(strategy), tolerance=int(settings.tolerance * SECOND)).run()
    return sorted(trades, key=lambda t: (t.strategy, t.symbol, t.one.first, t.one.side, t.one.key))


def settle(trades: list[Trade], backtest: Book, live: Book, settings: Settings, at: int) -> None:
    """States as of `at` (choice D): single trades pend until the other watermark has passed them by the tolerance, or the grace."""
    tolerance, grace = int(settings.tolerance * SECOND), int(settings.grace * SECOND)
    for t in trades:
        when = max(e.first for e in (t.backtest, t.live) if e is not None)
        old = at - when >= grace

        def past(book: Book, t: Trade = t, when: int = when) -> bool:
            mark = book.watermark.get(t.strategy)
            return mark is not None and mark - when >= tolerance

        if t.backtest and t.live:
            t.state = "matched"
            t.settled = t.matched_by == "id" or old or (past(backtest) and past(live))
            continue
        final = old or past(live if t.backtest else backtest)
        t.state = ("missed" if t.backtest else "unexpected") if final else "pending"
        t.settled = final


@dataclass(kw_only=True)
class Judged:
    """Both books, read and matched."""

    backtest: Book
    live: Book
    trades: list[Trade]
    settings: Settings
    at: int

    def of(self, strategy: str) -> list[Trade]:
        return [t for t in self.trades if t.strategy == strategy]


def judge(backtest: Iterable[Record], live: Iterable[Record], settings: Settings | None = None, *, at: Any = None) -> Judged:
    """Match both books as of `at` (RFC 3339, epoch seconds; default: the newest timestamp in either book, plus the grace)."""
    settings = settings or Settings()
    books = Book("backtest", backtest, settings), Book("live", live, settings)
    value = Valuation(books, settings)
    newest = max([*books[0].watermark.values(), *books[1].watermark.values()], default=0)
    moment = newest + int(settings.grace * SECOND) if at is None else micros(at)
    trades = match(executions(books[0], books[1], value), executions(books[1], books[0], value), settings)
    settle(trades, *books, settings, moment)
    return Judged(backtest=books[0], live=books[1], trades=trades, settings=settings, at=moment)
