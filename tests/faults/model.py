"""What the totals must be: the records that were dropped, counted by hand. It shares no code with the product.

Every trade carries an id, all lie on one past UTC day, and both books say with a heartbeat that the day is over: then a trade is matched
where both books have it, missed or unexpected where one has it, and its price difference is plain arithmetic.
"""

import json
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

DAY = (datetime.now(UTC) - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
Record = dict[str, Any]
COUNTED = ("matched", "missed", "unexpected")


def rfc(t: datetime) -> str:
    return t.isoformat(timespec="microseconds").replace("+00:00", "Z")


def trades(
    n: int, bps: float = 5.0, *, strategy: str = "s", prefix: str = "t", seed: int = 7, hours: float = 18.0
) -> tuple[list[Record], list[Record]]:
    """n decisions and a fill for each; prices walk, differences alternate around 0 with the given size."""
    rng = random.Random(seed)
    decisions, fills, price = [], [], 50_000.0
    for i in range(n):
        t = DAY + timedelta(hours=1) + timedelta(hours=hours) * i / max(n, 1)
        price = round(price * math.exp(rng.gauss(0, 0.02)), 2)
        side = "buy" if i % 2 == 0 else "sell"
        sign = 1 if side == "buy" else -1
        d = bps * (1 if (i // 2) % 2 == 0 else -1)
        who = {"strategy": strategy, "symbol": "BTC/USD", "trade_id": f"{prefix}{i}"}
        decisions.append(
            who | {"kind": "decision", "ts": rfc(t), "action": side, "quantity": "1", "price": repr(price), "fee": "1", "mark": repr(price)}
        )
        fills.append(
            who | {"kind": "fill", "fill_id": f"{prefix}f{i}", "ts": rfc(t + timedelta(milliseconds=90)), "side": side, "quantity": "1",
                   "price": repr(price * (1 + sign * d / 1e4)), "fee": "1", "fee_currency": "USD"}
        )  # fmt: skip
    return decisions, fills


def over(strategy: str = "s") -> Record:
    """The day is over, as far as this book knows."""
    return {"kind": "heartbeat", "strategy": strategy, "ts": rfc(DAY + timedelta(hours=23))}


@dataclass
class Model:
    """All that was dropped, in order; the first of two contents under one id stands."""

    decisions: dict[str, Record] = field(default_factory=dict)
    fills: dict[str, Record] = field(default_factory=dict)

    def take(self, records: list[Record]) -> list[Record]:
        for r in records:
            if r["kind"] == "decision":
                self.decisions.setdefault(r["trade_id"], r)
            elif r["kind"] == "fill":
                self.fills.setdefault(r["fill_id"], r)
        return records

    def totals(self) -> dict[str, float]:
        live = {r["trade_id"]: r for r in self.fills.values()}
        both = [k for k in self.decisions if k in live]
        diffs = []
        for k in both:
            paper, real = float(self.decisions[k]["price"]), float(live[k]["price"])
            diffs.append((1 if live[k]["side"] == "buy" else -1) * (real - paper) / paper * 1e4)
        return {
            "matched": len(both),
            "missed": len(self.decisions) - len(both),
            "unexpected": len(live) - len(both),
            "mean": math.fsum(diffs) / len(diffs) if diffs else 0.0,
        }

    def agrees(self, box: Any, strategy: str = "s") -> None:
        """Drain what is left, take the day's report, compare; nothing may be left behind, and the trail must hold."""
        day = DAY.date().isoformat()
        done = box.cli(
            "check", "--json", "--then", "report", "--day", day, "--json", "--then", "audit", "verify", shim="plain", timeout=1800
        )
        assert done.returncode == 0, done.stderr[-1500:]
        (judged, _), (told, report), (proven, _) = json.loads(done.stdout)
        assert judged in (0, 1, 2), done.stderr[-1500:]
        assert not box.spooled(), box.spooled()
        assert (told, proven) == (0, 0), done.stderr[-1500:]
        found, want = json.loads(report)["strategies"].get(strategy), self.totals()
        if found is None:
            assert not self.decisions, "nothing of the strategy is known"
            assert not self.fills, "nothing of the strategy is known"
            return
        assert {k: found["trades"][k] for k in COUNTED} == {k: want[k] for k in COUNTED}
        if want["matched"]:
            assert abs(found["metrics"]["mean_price_diff_bps"] - want["mean"]) < 1e-6


def chunks(records: list[Record], size: int) -> list[list[Record]]:
    return [records[i : i + size] for i in range(0, len(records), size)]
