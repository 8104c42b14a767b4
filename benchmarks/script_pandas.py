"""The script a desk would write with pandas: read JSONL, group fills, merge, differences, into SQLite. `python benchmarks/script_pandas.py FOLDER DB`.

No validation, no refusals, no idempotence, no ledgers, no drift, nothing durable before the end. Prints how many trades matched.
"""

import sqlite3
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def book(folder: Path, kind: str) -> pd.DataFrame:
    frames = [pd.read_json(path, lines=True) for path in sorted(folder.glob("*.jsonl"))]
    every = pd.concat(frames, ignore_index=True)
    return every[every["kind"] == kind]


def main(folder: Path, target: Path) -> None:
    decisions, fills = book(folder / "backtest", "decision"), book(folder / "live", "fill")
    fills = fills.assign(paid=fills["price"] * fills["quantity"], at=pd.to_datetime(fills["ts"], format="ISO8601"))
    keys = ["strategy", "symbol", "trade_id"]
    grouped = fills.groupby(keys, sort=False).agg(
        side=("side", "first"),
        filled=("quantity", "sum"),
        paid=("paid", "sum"),
        fee=("fee", "sum"),
        first=("at", "min"),
        latency=("latency_ms", "median"),
    )
    grouped["vwap"] = grouped["paid"] / grouped["filled"]
    merged = decisions.merge(grouped.reset_index(), on=keys, how="outer", suffixes=("", "_live"), indicator="state")
    sign = np.where(merged["action"] == "buy", 1.0, -1.0)
    merged["price_diff_bps"] = sign * (merged["vwap"] - merged["price"]) / merged["price"] * 1e4
    merged["fee_diff"] = merged["fee_live"] - merged["fee"]
    merged["delay_s"] = (merged["first"] - pd.to_datetime(merged["ts"], format="ISO8601")).dt.total_seconds()
    kept = [
        *keys,
        "ts",
        "action",
        "side",
        "quantity",
        "price",
        "filled",
        "vwap",
        "price_diff_bps",
        "fee_diff",
        "delay_s",
        "latency",
        "state",
    ]
    with sqlite3.connect(target) as db:
        merged[kept].astype({"state": str}).to_sql("trade", db, index=False)
    print(int((merged["state"] == "both").sum()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
