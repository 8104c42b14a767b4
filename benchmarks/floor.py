"""The floor: bare msgspec decode and `executemany` into SQLite (WAL, FULL), a commit a file, no matching. `python benchmarks/floor.py FOLDER DB`."""

import sqlite3
import sys
from pathlib import Path

import msgspec

from parityd.core.records import Decision, Fill, Native


def main(folder: Path, target: Path) -> None:
    db = sqlite3.connect(target, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE decision (strategy, symbol, trade_id, ts, action, quantity, price, fee, mark)")
    db.execute(
        "CREATE TABLE fill (strategy, symbol, fill_id, trade_id, order_id, side, quantity, price, ts, fee, fee_currency, liquidity, latency)"
    )
    decoder = msgspec.json.Decoder(Native, strict=False)
    for path in sorted(folder.glob("*/*.jsonl")):
        records = decoder.decode_lines(path.read_bytes())
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO decision VALUES (?,?,?,?,?,?,?,?,?)",
            (
                (r.strategy, r.symbol, r.trade_id, r.ts, r.action, r.quantity, r.price, r.fee, r.mark)
                for r in records
                if type(r) is Decision
            ),
        )
        db.executemany(
            "INSERT INTO fill VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    r.strategy,
                    r.symbol,
                    r.fill_id,
                    r.trade_id,
                    r.order_id,
                    r.side,
                    r.quantity,
                    r.price,
                    r.ts,
                    r.fee,
                    r.fee_currency,
                    r.liquidity,
                    r.latency_ms,
                )
                for r in records
                if type(r) is Fill
            ),
        )
        db.execute("COMMIT")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
