"""The same script with Polars: read JSONL, group fills, merge, differences, into SQLite. `python benchmarks/script_polars.py FOLDER DB`.

No validation, no refusals, no idempotence, no ledgers, no drift, nothing durable before the end. Prints how many trades matched.
"""

import sqlite3
import sys
from pathlib import Path

import polars as pl

KEYS = ["strategy", "symbol", "trade_id"]


def book(folder: Path, kind: str) -> pl.DataFrame:
    frames = [pl.read_ndjson(path) for path in sorted(folder.glob("*.jsonl"))]
    return pl.concat(frames, how="diagonal").filter(pl.col("kind") == kind)


def main(folder: Path, target: Path) -> None:
    decisions, fills = book(folder / "backtest", "decision"), book(folder / "live", "fill")
    when = pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ")
    grouped = fills.with_columns(at=when).group_by(KEYS).agg(
        side=pl.col("side").first(),
        filled=pl.col("quantity").sum(),
        vwap=(pl.col("price") * pl.col("quantity")).sum() / pl.col("quantity").sum(),
        fee_live=pl.col("fee").sum(),
        first=pl.col("at").min(),
        latency=pl.col("latency_ms").median(),
    )  # fmt: skip
    merged = decisions.with_columns(decided=when).join(grouped, on=KEYS, how="full", coalesce=True)
    sign = pl.when(pl.col("action") == "buy").then(1.0).otherwise(-1.0)
    merged = merged.with_columns(
        price_diff_bps=sign * (pl.col("vwap") - pl.col("price")) / pl.col("price") * 1e4,
        fee_diff=pl.col("fee_live") - pl.col("fee"),
        delay_s=(pl.col("first") - pl.col("decided")).dt.total_microseconds() / 1e6,
    )
    kept = [*KEYS, "ts", "action", "side", "quantity", "price", "filled", "vwap", "price_diff_bps", "fee_diff", "delay_s", "latency"]
    with sqlite3.connect(target) as db:
        db.execute(f"CREATE TABLE trade ({', '.join(kept)})")
        db.executemany(f"INSERT INTO trade VALUES ({','.join('?' * len(kept))})", merged.select(kept).iter_rows())
    print(merged.filter(pl.col("price").is_not_null() & pl.col("vwap").is_not_null()).height)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
