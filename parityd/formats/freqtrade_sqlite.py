"""freqtrade's database: `trades` and `orders`, joined, and told as the REST interface tells them.

1. Rows come as they lie in the tables, the orders behind the trades; a trade and its orders are told together, under the trade's line.
2. Times are UTC without saying so.
3. An order whose trade is gone is refused: its strategy and pair are not known.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Block
from parityd.core.records import Native, Refusal
from parityd.formats.fields import Unfit, text
from parityd.formats.freqtrade import orders_of, owner_of
from parityd.formats.lines import cut
from parityd.formats.port import Context, Part, Sample, strategy_of
from parityd.formats.rows import batches, finished

Row = Mapping[str, Any]
TABLES = ("trades", "orders")
_TOGETHER = 500


def knows(sample: Sample) -> bool:
    return sample.shape == "database" and sample.keys >= {"trades", "orders"}


def read(part: Part, context: Context) -> Iterator[Block]:
    trades: dict[str, tuple[int, Row]] = {}
    orders: dict[str, list[Row]] = {}
    orphans: list[Refusal] = []
    for batch in batches(part, context):
        orphans += batch.refusals
        for line, entry in batch.rows:
            row = entry.get("row")
            if not isinstance(row, Mapping):
                continue
            if entry.get("table") == "trades":
                trades[str(row.get("id"))] = (line, row)
            elif str(row.get("ft_trade_id")) in trades:
                orders.setdefault(str(row.get("ft_trade_id")), []).append(row)
            else:
                orphans.append(_refused(line, row, "bad_value", "the order's trade is not in the database"))
    if trades and not text(next(iter(trades.values()))[1], "strategy"):
        strategy_of(context)
    together = list(trades.items())
    for at in range(0, len(together), _TOGETHER):
        yield _told([(line, row, orders.get(name, [])) for name, (line, row) in together[at : at + _TOGETHER]], context)
    if orphans:
        yield Block(decisions=None, fills=None, rare=[], refusals=sorted(orphans, key=lambda r: r.line))


def _told(trades: list[tuple[int, Row, list[Row]]], context: Context) -> Block:
    records: list[tuple[int, Native]] = []
    refusals: list[Refusal] = []
    for line, trade, orders in trades:
        try:
            records.extend([(line, r) for r in orders_of(trade, orders, owner_of(trade, context))])
        except Unfit as e:
            refusals.append(_refused(line, trade, e.code, e.reason))
    rows = {line: trade for line, trade, _ in trades}
    return finished(block(context.book, records, context.bounds), refusals, lambda line: _refused(line, rows[line], "", "").raw)


def _refused(line: int, row: Row, code: str, reason: str) -> Refusal:
    return Refusal(line=line, code=code, reason=reason, raw=cut(msgspec.json.encode(row).decode("utf-8", "backslashreplace")))
