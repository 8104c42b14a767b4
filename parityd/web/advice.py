"""What to do about each finding and each action, in the words an operator reads at 3 a.m.

1. Every code of the judgement has a meaning, what to look at first, and how it is left; a code added later has a text for all.
2. These texts are shown on pages and in reports; operations says the same at length.
"""

from typing import NamedTuple


class Advice(NamedTuple):
    """`means` says what was seen, `do` what to look at first, `ends` how it is left."""

    means: str
    do: str
    ends: str


_PARITY = "Ends one rung at a time after four checks in a row that are clear of the threshold by a fifth."
_STATE = "Ends by itself after four clean checks."
_UNKNOWN = Advice("A finding without a text of its own.", "Read its detail and the log around its time.", _STATE)

ADVICE: dict[str, Advice] = {
    "tracking_error": Advice(
        "Live prices differ from the backtest's by more than the threshold (root mean square over the window).",
        "Open the attribution: the largest component names the cause. Then look at the worst trades and whether they share a symbol or an hour.",
        _PARITY,
    ),
    "correlation": Advice(
        "The two books no longer earn and lose together.",
        "Check missed and unexpected trades, then whether both books see the same data (data impact) and the same positions.",
        _PARITY,
    ),
    "slippage": Advice(
        "Crossing the spread costs more than the backtest charges itself.",
        "Compare order types and the hours of the costly trades with the backtest's fill model; widen the model or trade less urgently.",
        _PARITY,
    ),
    "fee_impact": Advice(
        "Fees are higher than in the backtest.", "Compare the fee tier and the maker share with the backtest's settings.", _PARITY
    ),
    "timing_impact": Advice(
        "The market moves against the orders while they travel.",
        "Look at latency and at the time between signal and submission; check the host, the network and the venue's status.",
        _PARITY,
    ),
    "latency": Advice(
        "The median fill that is not a maker's takes over a second.",
        "Check the engine's load, the network and the venue's status page.",
        _PARITY,
    ),
    "cumulative_drift": Advice(
        "A small daily bias has added up over seven days.",
        "Look at the daily means by symbol: a constant sign points to fees, spread or data that the backtest does not model.",
        _PARITY,
    ),
    "unmatched": Advice(
        "Too many trades exist in one book only.",
        "Missed: look for rejected orders and engine downtime. Unexpected: look for manual trades and a second engine. Check the clocks of both.",
        _PARITY,
    ),
    "decision_parity": Advice(
        "The live signal decides differently from the backtest's.",
        "Run `parityd compare` on two decision logs of the same hours; look at the first difference: data, warm-up, version or parameters.",
        _PARITY,
    ),
    "action_parity": Advice(
        "Where either book acts, they act differently.",
        "Run `parityd compare` on two decision logs of the same hours; look at the first difference: data, warm-up, version or parameters.",
        _PARITY,
    ),
    "drift": Advice(
        "The differences have changed against their own past, beyond what chance shows.",
        "Note the time of change, its size and its direction; ask what changed then: a release, a venue, fees, volatility.",
        "An adverse alarm stays until `parityd override reset` or for seven days; a favourable one starts a new reference by itself.",
    ),
    "max_trade_diff": Advice(
        "One settled pair of trades differs enormously in price.",
        "Run `parityd explain TRADE`: a wrong price in either book, a flash move, or a pair that does not belong together.",
        _PARITY,
    ),
    "suspect_data": Advice(
        "A price difference of over 3000 bps, which is hardly a market: it is kept out of every other measure.",
        "Run `parityd explain TRADE`; look for a wrong symbol, currency, multiplier or an unannounced split.",
        _PARITY,
    ),
    "runaway": Advice(
        "The engine trades far more often than it or its backtest ever did.",
        "Look at the engine now: a loop of orders, a duplicated signal, two engines on one account. When in doubt: `touch overrides/HALT`.",
        _PARITY,
    ),
    "stale_engine": Advice(
        "The engine has fallen silent although it promised a pulse.",
        "See whether the engine runs and writes into spool/live; check its positions at the broker by hand.",
        _STATE,
    ),
    "stale_backtest": Advice(
        "Live trades wait for a backtest that does not come.",
        "Run the backtest or mend its job; it must send records or heartbeats that reach past the waiting trades.",
        _STATE,
    ),
    "lagging": Advice(
        "A file has waited in spool/live for minutes: the judgement is late.",
        "Look at free space, at the size of the waiting file and at the log; from 15 minutes no permission is renewed.",
        _STATE,
    ),
    "position_mismatch": Advice(
        "The position that the engine reports is not what its fills add up to.",
        "Compare with the broker: a fill not reported, a manual trade, a transfer or a split not announced.",
        _STATE,
    ),
    "balance_mismatch": Advice(
        "The equity changed by something other than the trades.",
        "Look for fees, funding or transfers not reported, and for trades outside the engine.",
        _STATE,
    ),
    "engine_unhealthy": Advice(
        "The engine itself reports a broken part.",
        "Read the heartbeat's detail: broker connection, position tracker, order book or balance.",
        _STATE,
    ),
    "not_obeyed": Advice(
        "The engine added exposure after it had acknowledged a stop.",
        "Stop the engine by hand and cancel its orders at the broker; then find out why it does not ask the Gate.",
        "Latched: only `parityd override reset` lifts it.",
    ),
    "unacknowledged": Advice(
        "The engine has not acknowledged the newest decision.",
        "See whether the engine reads trading_override.json (path, permissions) and sends heartbeats with override_sequence.",
        _STATE,
    ),
    "broken_source": Advice(
        "A fifth or more of a source's records is refused.",
        "Read rejected/<book>/: the code and reason of each. Mend the writer, then `parityd requeue FILE`.",
        _STATE,
    ),
    "degraded": Advice(
        "An outer part of parityd fails: HTTP, notices, the directory watch, or the disk is nearly full.",
        "Run `parityd doctor`: it names the part and the mend. Trading is judged all the same.",
        _STATE,
    ),
}

ACTIONS: dict[str, str] = {
    "CONTINUE": "Trade as usual.",
    "WARNING": "Trade as usual, and look: something left its band.",
    "REDUCE_SIZE": "New exposure is scaled down; exits are full.",
    "DISABLE_TRADING": "No new exposure; exits are full; working entries are cancelled.",
    "EMERGENCY_STOP": "No new exposure, exits reduce only, all entries cancelled now; stays until `parityd override reset`, after a HALT until its file is gone.",
}


REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("closed days in a row",), "Read the reports of those days: the finding that came back names the cause. Mend it; then shadow fills or `parityd override reset` lead back."),
    (("the store could not be read",), "Run `parityd doctor`, then `parityd rebuild`; `parityd override reset --acknowledge BROKEN_STORE` ends it."),
    (("first start",), "Run `parityd doctor`; where it finds nothing, `parityd init` ends the first start."),
    (("force_disable by", "reduce_size by", "force_enable by"), "An operator ordered it: ask the one who is named. It ends at its time, or by `parityd override reset`."),
)  # fmt: skip
"""What to do about reasons that are no finding's, by words that they hold."""


def first(reason: str) -> str:
    """What to do, by the words of a reason or the first code that it names; "" where it names none."""
    if reason.upper().startswith("HALT") or " HALT" in reason:
        return "Settle what it was touched for, then remove its file from `overrides/`."
    for words_of, do in REASONS:
        if any(one in reason for one in words_of):
            return do
    words = reason.replace(":", " ").replace(";", " ").replace(",", " ").split()
    return next((ADVICE[word].do for word in words if word in ADVICE), "")


def of(code: str) -> Advice:
    """The text of a finding's code."""
    return ADVICE.get(code, _UNKNOWN)
