"""A monitor that is told trades, and the drift that is fed from it: builders for the tests of what the detectors are fed, say and draw."""

import random

import msgspec
import numpy as np

from parityd.core.accepting import block
from parityd.core.columns import Bounds
from parityd.core.drift_feed import DriftFeed
from parityd.core.intake import FileBatch
from parityd.core.monitor import Monitor
from parityd.core.parameters import Parameters, StrategyTerms
from parityd.core.rebuild import Rebuilder
from parityd.core.records import BACKTEST, LIVE, Native
from parityd.core.returns import measured_returns
from parityd.core.terms import Names
from parityd.core.window import settling

S = 1_000_000_000
T0 = 1_790_035_200  # midnight
DAY = 86_400
P = Parameters(strategies={"s": StrategyTerms(capital=100_000.0)})


class Desk:
    def __init__(self, parameters=P):
        self.given, self.files = [], 0
        self.monitor = Monitor(parameters, Names(), lambda _s, _n: None, Rebuilder(lambda _s: iter(list(self.given))))
        self.parameters = parameters

    def give(self, book, records):
        self.files += 1
        rows = [(i, msgspec.convert(r, Native, strict=False)) for i, r in enumerate(records, 1)]
        made = block(book, rows, Bounds())
        assert not made.refusals, made.refusals[:3]
        name = str(self.files)
        batch = FileBatch(
            book=book, name=name, sha256=name, source="", decisions=made.decisions, fills=made.fills, rare=made.rare, refusals=[]
        )
        applied = self.monitor.apply([batch], 0)
        self.given += [(book, g.decisions, g.fills, g.rare) for g in applied.counted]

    @property
    def s(self):
        return self.monitor.strategy("s")

    def beat(self, ts):
        for book in (BACKTEST, LIVE):
            self.give(book, [{"kind": "heartbeat", "strategy": "s", "ts": ts}])

    def feed(self, drift, now, *, intervals=True):
        until = settling(self.s, self.parameters, round(now * S), waiting=False)
        capital = self.parameters.of("s").capital
        r = measured_returns(self.s, self.monitor.marks, capital=capital, now=round(now * S)).returns if intervals else None
        return drift.feed(self.s, r, until, round(now * S))


def trades(d, *, every=1800.0, start=T0, seed=0, quotes=True, ids=True, first=0):
    """One matched trade a number of `d` (bps): (backtest decision, live fill); `quotes`: all references, so that slippage is measured alone."""
    rng = random.Random(seed)
    out, price = [], 100.0
    for k, bps in enumerate(d, first):
        t = start + (k - first) * every + 60.0
        price = round(price * (1 + rng.gauss(0, 0.002)), 4)
        side = "buy" if k % 2 == 0 else "sell"
        sign = 1 if side == "buy" else -1
        paid = price * (1 + sign * bps / 1e4)
        b = {
            "kind": "decision",
            "strategy": "s",
            "symbol": "BTC/USDT",
            "ts": t,
            "action": side,
            "quantity": 10,
            "price": price,
            "mark": price,
        }
        l = {
            "kind": "fill",
            "strategy": "s",
            "symbol": "BTC/USDT",
            "fill_id": f"f{k}",
            "side": side,
            "quantity": 10,
            "price": paid,
            "ts": t + 0.4,
        }
        if ids:
            b["trade_id"] = l["trade_id"] = f"t{k}"
        if quotes:
            l |= {
                "decision_mark": price,
                "arrival_mark": price,
                "arrival_bid": price - (paid - price) * sign,
                "arrival_ask": price + (paid - price) * sign,
            }
        out.append((b, l))
    return out


def noise(n, seed=1, mean=3.0, sd=10.0):
    return (np.random.default_rng(seed).standard_normal(n) * sd + mean).tolist()


def whole(made, now, parameters=P):
    desk, drift = Desk(parameters), DriftFeed("s")
    desk.give(BACKTEST, [b for b, _ in made])
    desk.give(LIVE, [l for _, l in made])
    desk.beat(now)
    return desk, drift, desk.feed(drift, now)


def known(drift):
    """All that the trades' detectors know, and their alarms."""
    alarms = [one for one in drift.raised if one.side == "trades"]
    return msgspec.msgpack.encode([drift.detectors.trades.state(), msgspec.to_builtins(alarms), drift.trades.days, drift.trades.head])
