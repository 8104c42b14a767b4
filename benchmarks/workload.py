"""A day of trades as native JSONL, from a seed: `python benchmarks/workload.py FOLDER [--trades 1000000] [--seed 1] [--strategies 10]`.

One decision each, one to three fills, 1 % missed, 0.5 % unexpected, ten strategies, twenty symbols; files of one book in order of time, each book
ending with heartbeats. Prints the totals that an independent count gives.
"""

import argparse
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path


def rfc(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def generate(
    folder: Path,
    trades: int,
    seed: int,
    *,
    end: float,
    files: int = 21,
    hours: float = 24.0,
    strategies: int = 10,
    symbols: int = 20,
    first: int = 0,
) -> dict[str, int]:
    """Write the files; returns the totals. `first` is the number of the first trade's id."""
    rng = random.Random(seed)
    prices = [rng.uniform(10, 50_000) for _ in range(symbols)]
    names = [f"strategy-{k}" for k in range(strategies)]
    start = end - hours * 3600
    per = -(-trades // files)
    total = {"decisions": 0, "fills": 0, "missed": 0, "unexpected": 0, "matched": 0}
    for book in ("backtest", "live"):
        (folder / book).mkdir(parents=True, exist_ok=True)
    for k in range(files):
        b, l = [], []
        for i in range(k * per, min(trades, (k + 1) * per)):
            t = start + hours * 3600 * (i + rng.random()) / trades
            s, y = names[i % strategies], rng.randrange(symbols)
            prices[y] *= 1 + rng.gauss(0, 2e-5)
            p, q = prices[y], rng.choice([0.5, 1.0, 2.0, 3.5])
            side = "buy" if rng.random() < 0.5 else "sell"
            sign = 1 if side == "buy" else -1
            fate = rng.random()
            n0 = first + i
            tid = f"t-{n0:07d}"
            if fate >= 0.005:
                total["decisions"] += 1
                b.append(
                    json.dumps(
                        {
                            "kind": "decision",
                            "strategy": names[i % strategies],
                            "symbol": f"SYM{y:02d}/USD",
                            "trade_id": tid,
                            "ts": rfc(t),
                            "action": side,
                            "quantity": q,
                            "price": round(p, 4),
                            "fee": round(p * q * 1e-3, 6),
                            "mark": round(p * (1 - sign * 1e-4), 4),
                        }
                    )
                )
            if fate >= 0.015 or fate < 0.005:
                n = rng.choice([1, 1, 2, 3]) if q > 0.5 else 1
                slip = rng.gauss(3, 6) / 1e4
                total["fills"] += n
                total["matched" if fate >= 0.015 else "unexpected"] += 1
                for j in range(n):
                    at = t + 0.05 + 0.1 * j + rng.random() * 0.05
                    l.append(
                        json.dumps(
                            {
                                "kind": "fill",
                                "strategy": s,
                                "symbol": f"SYM{y:02d}/USD",
                                "fill_id": f"f-{n0:07d}-{j}",
                                "trade_id": tid,
                                "order_id": f"o-{n0:07d}",
                                "side": side,
                                "quantity": q / n,
                                "price": round(p * (1 + sign * slip), 4),
                                "ts": rfc(at),
                                "fee": round(p * q / n * 1.1e-3, 6),
                                "fee_currency": "USD",
                                "liquidity": "taker",
                                "latency_ms": round(50 + rng.random() * 50, 3),
                                "decision_mark": round(p * (1 - sign * 1e-4), 4),
                                "arrival_bid": round(p * (1 - 1e-4), 4),
                                "arrival_ask": round(p * (1 + 1e-4), 4),
                            }
                        )
                    )
            else:
                total["missed"] += 1
        beat = (
            [
                json.dumps({"kind": "heartbeat", "strategy": x, "ts": rfc(start + hours * 3600 * min(trades, (k + 1) * per) / trades)})
                for x in names
            ]
            if b
            else []
        )
        for book, lines in (("backtest", b), ("live", l)):
            (folder / book / f"{k:03d}.jsonl").write_text("\n".join([*lines, *beat]) + "\n")
    return total


def main() -> None:
    a = argparse.ArgumentParser()
    a.add_argument("folder", type=Path)
    a.add_argument("--trades", type=int, default=1_000_000)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--files", type=int, default=21)
    a.add_argument("--end", default="", help="time of the last trade, else ten minutes ago")
    a.add_argument("--hours", type=float, default=24.0)
    a.add_argument("--strategies", type=int, default=10)
    o = a.parse_args()
    end = datetime.fromisoformat(o.end).timestamp() if o.end else (datetime.now(UTC) - timedelta(minutes=10)).timestamp()
    print(json.dumps(generate(o.folder, o.trades, o.seed, end=end, files=o.files, hours=o.hours, strategies=o.strategies)))


if __name__ == "__main__":
    main()
