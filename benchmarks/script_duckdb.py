"""The same script with DuckDB: read JSONL, group fills, merge, differences, into SQLite. `python benchmarks/script_duckdb.py FOLDER DB`.

Into SQLite by the standard library, so that no extension has to be fetched. No validation, no refusals, no idempotence, no ledgers, no drift, nothing
durable before the end. Prints how many trades matched.
"""

import sqlite3
import sys
from pathlib import Path

import duckdb

MERGED = """
WITH decision AS (SELECT * FROM read_json('{folder}/backtest/*.jsonl', format = 'newline_delimited', union_by_name = true, columns = {decision}) WHERE kind = 'decision'),
fill AS (SELECT * FROM read_json('{folder}/live/*.jsonl', format = 'newline_delimited', union_by_name = true, columns = {fill}) WHERE kind = 'fill'),
live AS (
  SELECT strategy, symbol, trade_id, first(side) AS side, sum(quantity) AS filled, sum(price * quantity) / sum(quantity) AS vwap,
         sum(fee) AS fee_live, min(ts) AS first, median(latency_ms) AS latency
  FROM fill GROUP BY strategy, symbol, trade_id
)
SELECT strategy, symbol, trade_id, CAST(ts AS VARCHAR) AS ts, action, side, quantity, price, filled, vwap,
       CASE action WHEN 'buy' THEN 1 ELSE -1 END * (vwap - price) / price * 1e4 AS price_diff_bps,
       fee_live - fee AS fee_diff, epoch(first) - epoch(ts) AS delay_s, latency
FROM decision FULL JOIN live USING (strategy, symbol, trade_id)
"""
NAMES = "kind: 'VARCHAR', strategy: 'VARCHAR', symbol: 'VARCHAR', trade_id: 'VARCHAR', ts: 'TIMESTAMP', quantity: 'DOUBLE', price: 'DOUBLE', fee: 'DOUBLE'"
DECISION = "{" + NAMES + ", action: 'VARCHAR'}"
FILL = "{" + NAMES + ", side: 'VARCHAR', latency_ms: 'DOUBLE'}"
WIDTH, CHUNK = 14, 50_000


def main(folder: Path, target: Path) -> None:
    found = duckdb.connect().execute(MERGED.format(folder=folder, decision=DECISION, fill=FILL))
    matched = 0
    with sqlite3.connect(target) as db:
        db.execute(f"CREATE TABLE trade ({', '.join(c[0] for c in found.description)})")
        while rows := found.fetchmany(CHUNK):
            matched += sum(row[7] is not None and row[9] is not None for row in rows)
            db.executemany(f"INSERT INTO trade VALUES ({','.join('?' * WIDTH)})", rows)
    print(matched)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
