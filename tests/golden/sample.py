"""Cuts `data/sample/` from one pair of runs: the orders initialised in its first 42 hours, with all their events and fills.

`python tests/golden/sample.py FOLDER`, the folder that holds the pairs. Lines are copied byte for byte, so the sample is what the engine wrote; only whole orders are left out.
"""

import gzip
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
CASE = "limitfade_6EH4_2024-01-08"
CUT_NS = 1_704_823_200_000_000_000  # 2024-01-09T18:00Z


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt") as f:
        return f.readlines()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    folder = Path(sys.argv[1])
    for side in ("backtest", "live"):
        source, target = folder / CASE / side, HERE.parents[1] / "data" / "sample" / side
        events = lines(source / "order_events.jsonl.gz")
        kept = {e["client_order_id"] for e in map(json.loads, events) if e["type"] == "OrderInitialized" and e["ts_init"] < CUT_NS}
        for name, all_lines in (("order_events.jsonl.gz", events), ("fills_report.jsonl.gz", lines(source / "fills_report.jsonl.gz"))):
            write(target / name, "".join(x for x in all_lines if json.loads(x)["client_order_id"] in kept))


if __name__ == "__main__":
    main()
