"""A desk with invented content, for the tests and for looking at the pages: `python tests/web/fake_desk.py SCENE [PORT]`."""

import asyncio
import math
import random
import sys
import time
from pathlib import Path

from parityd.core.instants import SECOND, parse_time, rfc3339
from parityd.web import report_page

T0 = parse_time("2026-11-20T10:15:00Z")
HOUR = 3600 * SECOND
LIMITS = {"CONTINUE": 3.0, "WARNING": 27.0, "REDUCE_SIZE": 62.1, "DISABLE_TRADING": 64.0, "EMERGENCY_STOP": 131.0}
SIZES = {"CONTINUE": 1.0, "WARNING": 1.0, "REDUCE_SIZE": 0.5, "DISABLE_TRADING": 0.0, "EMERGENCY_STOP": 0.0}
LEVEL = {"CONTINUE": "OK", "WARNING": "WARNING", "REDUCE_SIZE": "CRITICAL", "DISABLE_TRADING": "CRITICAL", "EMERGENCY_STOP": "EMERGENCY"}
COSTS = {"data_impact": 4.2, "timing_impact": 11.0, "slippage_impact": 31.5, "market_impact": 9.3, "fee_impact": 6.1, "sizing_impact": -2.4,
         "model_impact": None, "funding_impact": 1.2, "carry_impact": 0.0}  # fmt: skip


def series(rng, error, start=T0, hours=72):
    stamps = [rfc3339(start - (hours - i) * HOUR) for i in range(hours)]
    back, live, pnl = 0.0, 0.0, []
    for ts in stamps:
        step = rng.gauss(4, 30)
        back, live = back + step, live + step - abs(rng.gauss(error / 12, 3))
        pnl.append({"ts": ts, "backtest": back, "allowed": back, "live": live})
    counts = [round(90 * math.exp(-(((i - 14) / 4.5) ** 2))) for i in range(30)]
    shares = {"mean": 0.0, "scale": 0.0, "correlation": 0.0, "hit": 0.0}
    drift = []
    for ts in stamps:
        shares = {k: max(0.0, v + rng.gauss(0.004 + error / 9000, 0.03)) for k, v in shares.items()}
        drift.append({"ts": ts, "channels": dict(shares)})
    return {
        "tracking_error": [{"ts": ts, "value": None if i == 20 else max(0.5, error + rng.gauss(0, error / 6))} for i, ts in enumerate(stamps)],
        "pnl": pnl,
        "price_diff": {"edges_bps": [(i - 12) * 5.0 for i in range(31)], "counts": counts, "outliers": [{"trade_id": "t-77", "symbol": "ACME/USD", "value_bps": 231.4}]},
        "drift": drift,
        "correlation": [{"ts": ts, "correlation": 0.93 + rng.gauss(0, 0.02), "hit_rate": 0.88 + rng.gauss(0, 0.02)} for ts in stamps],
        "costs_by_hour": [{"hour": h, "total_bps": rng.gauss(error / 10, 5)} for h in range(0, 24, 2)],
        "costs_by_symbol": [{"symbol": s, "total_bps": rng.gauss(error / 10, 5), "total_pnl_diff": 32_487.5 * k, "currency": "USD"} for k, s in enumerate(("ACME/USD", "BTC/USD", "ETH/USD"), -1)],
        "best_trades": trades(rng, 3),
        "missed": [{"ts": T0 - HOUR, "trade_id": "m-1", "symbol": "BTC/USD", "side": "buy", "state": "missed", "backtest_quantity": 1.0,
                    "backtest_price": 50000.0, "total_pnl_diff": 12.5, "currency": "USD", "components": {"model_impact": 12.5}}],
        "unexpected": [],
    }  # fmt: skip


def trades(rng, n, symbol="ACME/USD"):
    return [
        {
            "trade_id": f"t-{i}", "strategy": "s", "symbol": symbol, "side": "buy" if i % 2 else "sell", "state": "matched", "matched_by": "id", "ts": rfc3339(T0 - i * HOUR // 4),
            "backtest_quantity": 10.0, "backtest_price": 100.1, "backtest_fee": 1.0, "live_quantity": 9.0, "live_price": 100.13, "live_fee": 1.2,
            "price_diff_bps": rng.gauss(3, 9), "total_pnl_diff": rng.gauss(1, 3), "currency": "USD", "components": {"slippage_impact": 0.8, "fee_impact": 0.3, "data_impact": None},
        }
        for i in range(n)
    ]  # fmt: skip


def entry(action, rng, reason="tracking_error 62.1 bps >= 50"):
    error = LIMITS[action] * rng.uniform(0.8, 1.1)
    judged = [] if action == "CONTINUE" else [
        {"code": "tracking_error", "level": LEVEL[action], "value": error, "threshold": 50.0, "detail": reason},
        {"code": "drift", "level": "WARNING", "value": 0.83, "threshold": 0.8, "detail": "mean channel, adverse, since 2026-11-19"},
    ]  # fmt: skip
    return {
        "level": LEVEL[action], "grade": "EXCELLENT" if action == "CONTINUE" else None, "action": action, "would_be_action": action, "since": rfc3339(T0 - rng.randrange(1, 200) * HOUR // 7),
        "evidence": "sufficient", "findings": judged, "reason": reason, "trading_enabled": SIZES[action] > 0, "size_multiplier": SIZES[action],
        "metrics": {"tracking_error_bps": error, "mean_price_diff_bps": error / 4, "std_price_diff_bps": error * 0.9, "max_price_diff_bps": -error * 3, "match_rate": 0.987,
                    "correlation": 0.94, "hit_rate": 0.88, "decision_parity": None, "action_parity": None, "cumulative_drift_bps": error / 3, "mean_fee_diff_bps": 0.4,
                    "median_latency_ms": 118.0, "mean_timing_diff_ms": 131.0, "tracking_error_returns_bps": 17.0},
        "trades": {"matched": 240, "missed": 2, "unexpected": 1, "pending": 3, "suppressed": 0, "ambiguous": 0}, "quality_score": max(0.0, 98 - error), "quality_grade": "A",
        "streaks": {"WARNING": 1, "CRITICAL": 0}, "override": None, "acknowledged_sequence": 17,
        "drift": {"confidence": 0.4, "alarm": False, "channels": {"mean": {"evidence": error / 12, "limit": 11.5, "confidence": 0.41, "alarm": None}, "hit": {"evidence": -1.0, "limit": 10.6, "confidence": 0.0, "alarm": None}},
                  "rules": {"tracking_error": {"value": error, "baseline": 4.0, "change": 0.2, "crossed": False}}},
    }  # fmt: skip


def report_of(strategies, rng, day="2026-11-19"):
    found = {}
    for name, e in strategies.items():
        total = sum(v for v in COSTS.values() if v is not None)
        found[name] = {
            **e, "series": series(rng, e["metrics"]["tracking_error_bps"]), "worst_trades": trades(rng, 10),
            "attribution": {**{k + "_bps": v for k, v in COSTS.items()}, "total_pnl_diff_bps": total, "action_impact_bps": 0.0, "currency": {**COSTS, "total_pnl_diff": total, "action_impact": 0.0}, "pnl": {"backtest": 812.5, "live": 812.5 - total}},
            "coverage": {"data_impact": 0.9, "timing_impact": 0.9, "slippage_impact": 1.0, "market_impact": 0.9, "fee_impact": 1.0}, "matched_by": {"id": 238, "decision": 2, "fill": 0},
            "markouts": {"maker": {"1m": 0.8, "5m": 1.2, "30m": None}, "taker": {"1m": -0.5, "5m": -0.9, "30m": -2.0}}, "unpriced_fees": {"BNB": 2}, "unmarked": 0, "mark_age": 31.0,
            "performance": {"win_rate": 0.54, "average_profit": 12.4, "profit_factor": 1.31, "sharpe": 1.8, "maximum_drawdown": -310.0, "fill_rate": 0.991, "fee_efficiency": None},
        }  # fmt: skip
    head = "Live trails the backtest by 60.9 USD a day (95 % 41.2 to 80.6): 62.1 execution, -2.4 opportunity, 1.2 funding; for 0.0 of 62.1 the split was not measured (merged links)."
    return {
        "schema": "parityd/report/1",
        "day": day,
        "revision": 2,
        "generated_at": rfc3339(T0),
        "headline": head,
        "strategies": found,
        "portfolio": next(iter(found.values()), {}),
    }


class FakeDesk:
    """A Desk over a dict of strategies. `events` holds what subscribers are told; None ends a stream."""

    def __init__(self, strategies=None, *, status=None, reasons=(), seed=7):
        self.rng = random.Random(seed)
        self.strategies = strategies or {}
        self.reasons = list(reasons)
        self.more = status or {}
        self.reports = {}
        self.clock = lambda: T0
        self.beat = 0.2
        self.asked = []
        self.failure = None

    def now(self):
        return self.clock()

    def not_ready(self):
        return self.reasons

    def _top(self):
        return max(self.strategies.values(), key=lambda e: list(SIZES).index(e["action"]), default=None)

    def action(self):
        head = {k: v for k, v in self.override().items() if k != "strategies"}
        return {**head, "strategies": self.strategies}

    def override(self):
        top, now = self._top(), self.now()
        action = top["action"] if top else "CONTINUE"
        fields = ("action", "trading_enabled", "size_multiplier", "reason")
        return {
            "schema": "parityd/trading_override/1", "sequence": 1234, "decision_sequence": 17, "instance": "desk-1", "issued_at": rfc3339(now - 6 * SECOND), "ttl_seconds": 60,
            "expires_at": rfc3339(now + 54 * SECOND), "action": action, "trading_enabled": SIZES[action] > 0, "size_multiplier": SIZES[action], "reason": top["reason"] if top else "nothing to judge yet",
            "strategies": {n: {k: e[k] for k in fields} for n, e in self.strategies.items()}, "default": {"action": "CONTINUE", "trading_enabled": True, "size_multiplier": 1.0, "reason": ""},
        }  # fmt: skip

    def status(self):
        return {"version": "0.1.0", "instance": "desk-1", "uptime_seconds": 93_000, "last_check": rfc3339(T0 - 60 * SECOND), "last_report": "2026-11-19", "lag": {"live": 0, "backtest": None},
                "backlog": {"live": 0, "backtest": 3}, "watermarks": {"live": rfc3339(T0 - 20 * SECOND)}, "free_bytes": 81_000_000_000, "advisory": False, **self.more}  # fmt: skip

    def strategy(self, name):
        found = self.strategies.get(name)
        return None if found is None else dict(found)

    def series(self, name):
        return series(random.Random(name), self.strategies[name]["metrics"]["tracking_error_bps"])

    def trades(self, strategy, day, limit, cursor):
        if self.failure:
            raise self.failure
        self.asked.append((strategy, day, limit, cursor))
        if cursor is not None and not cursor.isdigit():
            raise ValueError("none of ours")
        start, found = int(cursor or 0), trades(random.Random(1), 130)
        page = found[start : start + limit]
        return page, str(start + limit) if start + limit < len(found) else None

    def report_days(self):
        return [
            {"day": d, "revision": r["revision"], "generated_at": r["generated_at"], "headline": r["headline"]}
            for d, r in sorted(self.reports.items(), reverse=True)
        ]

    def report(self, day):
        return self.reports.get(day)

    def report_html(self, day):
        found = self.reports.get(day)
        return None if found is None else report_page.render(found)

    async def subscribe(self):
        yield {"type": "change", "sequence": 1234}
        while True:
            await asyncio.sleep(self.beat)
            yield {"type": "heartbeat", "sequence": 1234}


def scene(name):
    rng = random.Random(3)
    if name == "empty":
        return FakeDesk(reasons=["the first check has not finished yet"])
    if name == "one":
        return FakeDesk({"momentum": entry("CONTINUE", rng, "")})
    acts = ["CONTINUE"] * 40 + ["WARNING"] * 6 + ["REDUCE_SIZE"] * 3 + ["DISABLE_TRADING"]
    changes = [
        {
            "ts": rfc3339(T0 - i * HOUR),
            "strategy": f"strategy-{i:02d}",
            "from": "CONTINUE",
            "to": ("WARNING", "REDUCE_SIZE", "CONTINUE")[i % 3],
            "reason": "tracking_error 62.1 bps >= 50",
        }
        for i in range(8)
    ]
    if name == "fifty":
        return FakeDesk({f"strategy-{i:02d}": entry(a, rng) for i, a in enumerate(acts)}, status={"last_actions": changes})
    if name == "long":
        many = "mean-reversion.eu-equities.small-caps@venue-7:long-short.v2026-x"[:64]
        reason = "tracking_error 62.1 bps >= 50, slippage 41.3 bps > 30, " + "VeryLongUnbrokenToken" * 12
        return FakeDesk(
            {many: entry("REDUCE_SIZE", rng, reason), "a": entry("WARNING", rng, "x" * 300)},
            status={"last_actions": [{**changes[0], "strategy": many, "reason": reason}]},
        )
    found = {n: entry("EMERGENCY_STOP", rng, "HALT: the file overrides/HALT stands") for n in ("momentum", "carry", "pairs")}
    found["momentum"]["override"] = {"command": "force_disable", "operator": "ops", "reason": "drill", "expires_at": rfc3339(T0 + HOUR)}
    stop = {
        "strategy": "*",
        "command": "force_disable",
        "operator": "ops",
        "reason": "market data outage at the venue",
        "expires_at": rfc3339(T0 + HOUR),
    }
    return FakeDesk(
        found,
        status={
            "halts": [{"name": "HALT", "strategy": "*", "since": rfc3339(T0 - HOUR)}],
            "commands": [stop],
            "last_actions": changes,
            "degraded": ["notices: the chat service does not answer"],
        },
    )


def with_report(desk):
    desk.reports["2026-11-19"] = report_of(desk.strategies, random.Random(5))
    return desk


async def _run(name, port):
    from parityd.web.api import Web
    from parityd.web.metrics import Metrics
    from parityd.web.server import serve

    desk = with_report(scene(name))
    started = time.time_ns()
    desk.clock, desk.beat = (lambda: T0 + time.time_ns() - started), 3.0
    metrics = Metrics("0.1.0")
    metrics.follow(desk.action())
    web = Web(desk, metrics)
    try:
        await serve(web, "127.0.0.1", port, asyncio.Event(), lambda host, at: print(f"http://{host}:{at}/", flush=True))
    finally:
        web.close()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    asyncio.run(_run(sys.argv[1] if len(sys.argv) > 1 else "fifty", int(sys.argv[2]) if len(sys.argv) > 2 else 9815))
