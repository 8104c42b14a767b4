"""The orders of fields that stored blobs were written in, frozen.

1. A small blob says a layout's number instead of its field names. A number means its layout for ever: a changed record gets a new entry.
2. What matches no layout is written with its names, so a field that was added to a record is stored before anybody thinks of this room.
"""

FILL_1 = (
    "line", "strategy", "symbol", "ts", "fill_id", "trade_id", "order_id", "parent_id", "account", "venue", "side", "quantity", "price", "fee",
    "decision_ts", "multiplier", "latency_ms", "decision_mark", "arrival_mark", "arrival_bid", "arrival_ask", "liquidity", "shadow",
    "reduce_only", "currency", "fee_currency", "order_type", "agent", "run_id",
)  # fmt: skip
DECISION_1 = (
    "line", "strategy", "symbol", "ts", "action", "side", "trade_id", "quantity", "price", "fee", "mark", "filled", "equity", "multiplier",
    "currency", "agent", "reason", "guards", "run_id",
)  # fmt: skip
ROW_1 = (
    "t", "sym", "ccy", "tid_at", "tid_len", "unpriced", "side", "how", "flags", "n_fills", "part_of", "b_ts", "b_sub", "b_first", "b_q", "b_not",
    "b_fee", "b_mark", "b_run", "alpha", "l_dts", "l_sub", "l_first", "l_last", "l_q", "l_not", "l_fee", "l_mq", "l_aq", "l_tq", "l_dm",
    "latency", "d", "n", "x", "ln", "fee_bps", "timing_ms", "data", "timing", "slip", "impact", "fee", "oa", "ob", "own",
)  # fmt: skip
ROW_2 = (
    "t", "sym", "ccy", "tid_at", "tid_len", "unpriced", "side", "how", "flags", "n_fills", "l_n", "part_of", "b_trade", "l_trade",
    "parent", "link", "b_unp", "l_unp", "b_ts", "b_sub", "b_first", "b_last", "b_q", "b_not", "b_fee", "b_mark", "b_mq", "b_run",
    "alpha", "l_dts", "l_sub", "l_first", "l_last", "l_q", "l_not", "l_fee", "l_mq", "l_mu", "l_aq", "l_tq", "l_dm", "l_wait",
    "fq", "fn", "ff", "lq", "latency", "d", "n", "x", "ln", "fee_bps", "timing_ms", "data", "timing", "slip", "impact", "fee",
    "oa", "ob", "own",
)  # fmt: skip
MARK_1 = ("ts", "px")

LAYOUTS: dict[int, tuple[str, ...]] = {1: FILL_1, 2: DECISION_1, 3: ROW_1, 4: MARK_1, 5: ROW_2}
NUMBERS = {names: number for number, names in LAYOUTS.items()}
