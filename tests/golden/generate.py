"""Seeded small scenarios that are awkward on purpose: native records of both books for comparing two computations.

`generate(seed)` is a pure function of its arguments: (backtest records, live records), numbers as strings, `ts` as RFC 3339 in microseconds. Every
record is valid by itself; some are duplicates, busts or paper fills. Price differences stay under 60 bps, so nothing is suspect data.
What the rules leave open (README.md, "Choices") is kept out unless `dense=True`: there trades of one side crowd within the gap.
"""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Record = dict[str, Any]
START = datetime(2026, 3, 2, 18, 30, tzinfo=UTC)
#: What `[symbols.<name>]` must say for a scenario, for a configuration and for `books.Settings(symbols=...)`.
SYMBOLS: dict[str, dict[str, Any]] = {
    "ES": {"currency": "USD", "multiplier": "50"},
    "XBT/USDT": {"alias": "BTC/USDT"},
}
MODES = ("ids", "times", "mixed", "fills")


def rfc(t: datetime) -> str:
    return t.isoformat(timespec="microseconds").replace("+00:00", "Z")


def text(value: float, places: int) -> str:
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-places)))


class Scene:
    """One scenario in the making."""

    def __init__(self, seed: int, trades: int, start: datetime, *, dense: bool) -> None:
        self.rng = random.Random(seed)
        self.trades = trades
        self.dense = dense
        self.now = start
        self.backtest: list[Record] = []
        self.live: list[Record] = []
        self.count = 0
        self.price = {"BTC/USDT": 60000.0, "ACME/USD": 101.0, "ES": 5200.0, "ETH-EUR": 2500.0}

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def step(self) -> None:
        """The next decision's time: mostly minutes later, sometimes the very same instant (then on another symbol)."""
        span = self.rng.uniform(5, 40) if self.dense else self.rng.uniform(700, 4000)
        self.now += timedelta(microseconds=int(span * 1e6))

    def later(self, t: datetime, low: float, high: float) -> datetime:
        return t + timedelta(microseconds=int(self.rng.uniform(low, high) * 1e6))

    def fee(self, symbol: str, money: float, price: float) -> dict[str, str]:
        """In quote, base or a third currency; zero, rebate, or absent."""
        if self.chance(0.1):
            return {}
        if self.chance(0.15):
            money = 0.0
        if self.chance(0.15):
            money = -money
        base, _, quote = symbol.replace("-", "/").partition("/")
        kind = (
            self.rng.choice(("plain", "quote", "quote", "base", "third", "unpriced"))
            if quote == "USDT"
            else self.rng.choice(("plain", "quote"))
        )
        if kind == "plain":
            return {"fee": text(money, 6)}
        if kind == "quote":
            return {"fee": text(money, 6), "fee_currency": quote or "USD"}
        if kind == "base":
            return {"fee": text(money / price, 8), "fee_currency": base}
        return {"fee": text(money / 600, 8), "fee_currency": "BNB" if kind == "third" else "DOGE"}

    def references(self, side: str, price: float, *, maker: bool) -> dict[str, str]:
        """Any subset of decision mark, arrival mark, bid and ask."""
        found: dict[str, float] = {
            "decision_mark": price * (1 + self.rng.uniform(-3, 3) / 1e4),
            "arrival_bid": price * (1 - self.rng.uniform(0, 2) / 1e4),
            "arrival_ask": price * (1 + self.rng.uniform(0, 2) / 1e4),
            "arrival_mark": price * (1 + self.rng.uniform(-2, 2) / 1e4),
        }
        kept = {k: text(v, 5) for k, v in found.items() if self.chance(0.6)}
        return {**kept, **({"liquidity": "maker" if maker else "taker"} if self.chance(0.8) else {})}

    def fills(self, head: Record, order: str, t: datetime, quantity: float, price: float, *, refs: bool, keep: bool) -> list[Record]:
        """One order's one to three fills, the quantity split exactly."""
        parts = self.rng.choice((1, 1, 2, 3))
        cuts = [round(quantity / parts, 4)] * (parts - 1)
        cuts.append(round(quantity - sum(cuts), 4))
        made, maker = [], self.chance(0.3)
        for part in cuts:
            self.count += 1
            paid = price * (1 + self.rng.uniform(-1, 1) / 1e4)
            made.append(
                {
                    "kind": "fill",
                    **head,
                    "fill_id": f"f{self.count}",
                    **({"order_id": order} if keep or parts > 1 else {}),
                    "quantity": text(part, 4),
                    "price": text(paid, 5),
                    "ts": rfc(t),
                    **self.fee(head["symbol"], part * paid * 5e-4, paid),
                    **(self.references(head["side"], price, maker=maker) if refs else {}),
                    **({"latency_ms": str(self.rng.randint(5, 400))} if refs and self.chance(0.5) and not maker else {}),
                }
            )
            t = self.later(t, 0, 3) if self.chance(0.7) else t
        return made

    def head(self, strategy: str, symbol: str, side: str, trade_id: str | None) -> Record:
        return {"strategy": strategy, "symbol": symbol, "side": side, **({"trade_id": trade_id} if trade_id else {})}

    def decision(self, head: Record, t: datetime, quantity: float, price: float, *, filled: bool = True) -> Record:
        record: Record = {"kind": "decision", **{k: v for k, v in head.items() if k != "side"}, "ts": rfc(t), "action": head["side"]}
        if self.chance(0.15):
            record |= {"action": "close", "side": head["side"]}
        record["quantity"] = text(quantity, 4)
        if filled:
            record |= {"price": text(price, 5), **({"fee": text(quantity * price * 4e-4, 6)} if self.chance(0.8) else {})}
        if self.chance(0.6):
            record["mark"] = text(price * (1 + self.rng.uniform(-2, 2) / 1e4), 5)
        return record

    def trade(self, strategy: str, mode: str, symbol: str) -> None:
        rng, t = self.rng, self.now
        self.price[symbol] *= 1 + rng.gauss(0, 0.004)
        price, side = self.price[symbol], rng.choice(("buy", "sell"))
        quantity = round(rng.uniform(0.5, 12), 2)
        given = mode == "ids" or (mode == "mixed" and self.chance(0.6))
        self.count += 1
        trade_id = f"t{self.count}" if given else None
        head = self.head(strategy, symbol, side, trade_id)
        fate = rng.choices(("both", "missed", "unexpected"), (8, 1, 1))[0]
        repeats = 2 if given and mode == "ids" and fate == "both" and self.chance(0.2) else 1
        alias = {**head, "symbol": "XBT/USDT"} if symbol == "BTC/USDT" and self.chance(0.2) else head
        for k in range(repeats):
            t = self.later(t, 700, 900) if k else t
            if fate != "unexpected":
                self._simulate(alias, mode, t, quantity, price, alone=repeats == 1)
            if fate != "missed":
                self._execute(head, mode, t, quantity * rng.choice((1, 1, 1, 0.5, 1.2)), price)
        self.now = t
        if mode == "ids" and self.chance(0.2):
            self.live.append(self._log(head, t))
        if given and repeats == 1 and self.chance(0.3):  # the live engine logs its decision too
            self.live.append(self.decision(head, self.later(t, 0, 0.05), quantity, price, filled=False))

    def _log(self, head: Record, t: datetime) -> Record:
        """A live `hold`: it is nobody's trade."""
        return {"kind": "decision", "strategy": head["strategy"], "symbol": head["symbol"], "ts": rfc(t), "action": "hold"}

    def _simulate(self, head: Record, mode: str, t: datetime, quantity: float, price: float, *, alone: bool) -> None:
        """The backtest's side: an executed decision, or fills of its own fill model."""
        if mode == "fills" or (alone and self.chance(0.2)):
            order = f"bo{self.count}"
            if mode != "fills" or self.chance(0.5):
                head = {**head, "decision_ts": rfc(t)}
            if "trade_id" in head and self.chance(0.5):
                self.backtest.append(self.decision({k: v for k, v in head.items() if k != "decision_ts"}, t, quantity, price))
            self.backtest += self.fills(head, order, self.later(t, 0, 2), quantity, price, refs=False, keep=True)
            return
        self.backtest.append(self.decision(head, t, quantity, price))

    def _execute(self, head: Record, mode: str, t: datetime, quantity: float, price: float) -> None:
        """The live side: one or two orders, some late, some with a submission, a stated decision time, or neither."""
        d = self.rng.uniform(-50, 50) / 1e4
        orders = 2 if self.chance(0.25) else 1
        late = self.chance(0.15)
        stated = rfc(self.later(t, 0, 1)) if mode != "fills" and self.chance(0.5) else None
        for k in range(orders):
            self.count += 1
            order, sent = f"o{self.count}", self.later(t, 0.1, 3)
            if stated is None and mode != "fills":
                self.live.append(
                    {
                        "kind": "order",
                        "strategy": head["strategy"],
                        "symbol": head["symbol"],
                        "order_id": order,
                        "status": "submitted",
                        "ts": rfc(sent),
                    }
                )
            filled = self.later(sent, 60, 240) if late and mode != "fills" else self.later(sent, 0, 4)
            own = {**head, **({"decision_ts": stated} if stated else {})}
            share = quantity / orders if k == 0 else quantity - quantity / orders
            self.live += self.fills(own, order, filled, share, price * (1 + d), refs=True, keep=stated is None or self.chance(0.7))

    def extras(self) -> None:
        """Busts, duplicates, a paper fill, marks, funding, and a last pulse of each book."""
        rng = self.rng
        fills = [r for r in self.live if r["kind"] == "fill"]
        for f in rng.sample(fills, k=min(len(fills), rng.choice((0, 1, 2)))):
            self.live.append({"kind": "bust", **{k: f[k] for k in ("strategy", "symbol", "fill_id")}, "ts": rfc(self.now)})
        self.live += [dict(r) for r in rng.sample(self.live, k=min(3, len(self.live)))]
        self.backtest += [dict(r) for r in rng.sample(self.backtest, k=min(3, len(self.backtest)))]
        if fills and self.chance(0.5):
            self.live.append({**rng.choice(fills), "fill_id": "paper", "shadow": True})
        for symbol, price in self.price.items():
            for book in (self.live, self.backtest):
                for _ in range(rng.choice((0, 0, 1, 3))):
                    book.append(
                        {"kind": "mark", "symbol": symbol, "price": text(price * (1 + rng.gauss(0, 0.002)), 5), "ts": rfc(self.moment())}
                    )
        self.live.append({"kind": "mark", "symbol": "BNB/USDT", "price": "600.5", "ts": rfc(START)})
        for book in (self.live, self.backtest):
            if self.chance(0.5):
                amount = text(rng.uniform(-3, 3), 4)
                book.append({"kind": "funding", "strategy": "alpha", "symbol": "BTC/USDT", "amount": amount, "ts": rfc(self.moment())})

    def moment(self) -> datetime:
        return self.later(START, 0, max(1.0, (self.now - START).total_seconds()))


def generate(
    seed: int, *, trades: int = 14, start: datetime = START, dense: bool = False, pulse: bool = True
) -> tuple[list[Record], list[Record]]:
    """(backtest records, live records), shuffled. With `pulse` both books end with a heartbeat an hour after everything."""
    scene = Scene(seed, trades, start, dense=dense)
    strategies = list(zip(("alpha", "beta", "gamma", "delta"), scene.rng.sample(MODES, k=4), strict=True))[: scene.rng.choice((1, 2, 3, 4))]
    for _ in range(trades):
        scene.step()
        strategy, mode = scene.rng.choice(strategies)
        first, second = scene.rng.sample(sorted(scene.price), k=2)
        scene.trade(strategy, mode, first)
        if scene.chance(0.15):  # the same instant, another symbol
            scene.trade(strategy, mode, second)
    scene.extras()
    if pulse:
        for strategy, _ in strategies:
            beat = {"kind": "heartbeat", "strategy": strategy, "ts": rfc(scene.now + timedelta(hours=1))}
            scene.live.append(beat)
            scene.backtest.append(dict(beat))
    scene.rng.shuffle(scene.live)
    scene.rng.shuffle(scene.backtest)
    return scene.backtest, scene.live
