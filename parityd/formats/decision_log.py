"""A decision log: one JSON document that a backtester writes for each run.

1. In the backtest book it announces its run: `created` = `end_time`, [start_time, end_time] inclusive; `end_time` is a watermark too.
2. The k-th decision is line k. A decision that was not filled has `filled` false and no price; its quantity is what was decided.
3. A `close` trades against the position that its context names (long: sell, short: buy), else against what the log's own fills so far add up
   to; where neither is known its side is missing.
   `execution.other_fills`, where a backtester adds them, are fills of orders that earlier decisions left resting.
4. A time without an offset is in the source's time zone, UTC unless it says otherwise. `config`, `metrics` and `slippage` are not read.
5. A document without its head (run_id, strategy_name, symbol, start_time, end_time, decisions) is unreadable as a whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from parityd.core.accepting import block
from parityd.core.columns import Block
from parityd.core.instants import rfc3339
from parityd.core.owners import STRATEGY_NAME
from parityd.core.records import BACKTEST, NAN, Decision, Fill, Heartbeat, Native, Refusal, Run
from parityd.formats.documents import opened, raw_text, sliced, text_of, value
from parityd.formats.fields import Unfit, amount, as_number, flag, given, need, need_instant, side, text
from parityd.formats.lines import Long, chunks
from parityd.formats.port import Context, Part, Sample, Unreadable
from parityd.formats.rows import finished

_HEAD = ("run_id", "strategy_name", "symbol", "start_time", "end_time")
_ACTIONS = ("buy", "sell", "close", "hold")
_LONG, _SHORT = ("long", "buy"), ("short", "sell")


def knows(sample: Sample) -> bool:
    return "decisions" in sample.keys and bool({"run_id", "strategy_name"} & sample.keys)


@dataclass(frozen=True, slots=True)
class Head:
    """What the document says of all its decisions. Times in ns; `symbol` "" where each decision names its own."""

    run_id: str
    strategy: str
    symbol: str
    start: int
    end: int


def head_of(members: Mapping[str, msgspec.Raw], context: Context) -> Head:
    """The head of a document; `Unreadable` where it is not whole."""
    row = {name: value(members[name], context.limits.nesting)[0] if name in members else None for name in _HEAD}
    try:
        head = Head(
            need(row, "run_id"), need(row, "strategy_name"), text(row, "symbol"),
            need_instant(row, "start_time", context.timezone), need_instant(row, "end_time", context.timezone),
        )  # fmt: skip
    except Unfit as e:
        raise Unreadable("unreadable_file", f"decision log: {e.reason}") from None
    if not STRATEGY_NAME.match(head.strategy):
        raise Unreadable("unreadable_file", f"decision log: strategy_name {head.strategy[:80]!r} is no strategy's name")
    if head.end < head.start:
        raise Unreadable("unreadable_file", "decision log: end_time is before start_time")
    return head


def _section(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = row.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise Unfit("bad_value", f"{name} is no object")
    return found


def _held(state: Any) -> int:
    """+1 long, -1 short, 0 flat or not said: from a word, a signed quantity, or an object with either."""
    if isinstance(state, Mapping):
        for name in ("side", "direction", "state", "quantity", "size", "position", "qty"):
            if name in state and (held := _held(state[name])):
                quantity = state.get("quantity", state.get("size"))
                return 0 if quantity is not None and name in ("side", "direction", "state") and _is_zero(quantity) else held
        return 0
    if isinstance(state, str):
        word = state.strip().lower()
        if word in _LONG:
            return 1
        if word in _SHORT:
            return -1
    try:
        amount = float(state)
    except (TypeError, ValueError):
        return 0
    return (amount > 0) - (amount < 0)


def _is_zero(quantity: Any) -> bool:
    try:
        return float(quantity) == 0
    except (TypeError, ValueError):
        return False


def _executed(chosen: Mapping[str, Any], done: Mapping[str, Any], action: str) -> tuple[bool, dict[str, float]]:
    """(filled, quantity with price and fee where it was)."""
    quantity = amount(chosen, "quantity")
    if flag(done, "filled") is not True or action == "hold":
        return False, {"quantity": quantity or NAN}
    traded = amount(done, "filled_quantity")
    return True, {
        "quantity": traded if given(traded) else quantity, "price": amount(done, "fill_price"), "fee": amount(done, "commission")
    }  # fmt: skip


def _close_side(chosen: Mapping[str, Any], seen: Mapping[str, Any], done: Mapping[str, Any], net: float) -> str:
    """Buy or sell where it is said, or follows from what is held (by the context, else by the log's own fills so far)."""
    said = (text(chosen, "side") or text(done, "side")).strip().lower()
    if said in ("buy", "sell"):
        return said
    held = _held(seen.get("position_state")) or (net > 0) - (net < 0)
    return {1: "sell", -1: "buy", 0: ""}[held]


def decision(row: Mapping[str, Any], head: Head, context: Context, net: float = 0.0) -> Decision:
    """One entry of `decisions`; `net` is the position that the log's fills so far add up to. Raises `Unfit`."""
    seen, chosen, done = _section(row, "context"), _section(row, "decision"), _section(row, "execution")
    if not chosen:
        raise Unfit("missing_field", "decision is missing")
    action = need(chosen, "action").strip().lower()
    if action not in _ACTIONS:
        raise Unfit("bad_value", f"action is {action[:60]!r}: must be one of {' '.join(_ACTIONS)}")
    filled, executed = _executed(chosen, done, action)
    guards = chosen.get("guards")
    return Decision(
        ts=rfc3339(need_instant(seen, "timestamp", context.timezone)),
        strategy=head.strategy,
        symbol=text(seen, "symbol") or head.symbol,
        action=action,  # type: ignore[arg-type]
        side=_close_side(chosen, seen, done, net) if action == "close" else "",  # type: ignore[arg-type]
        trade_id=text(chosen, "trade_id") or text(row, "trade_id"),
        **executed,  # type: ignore[arg-type]
        mark=amount(seen, "current_mark"),
        filled=filled,
        equity=amount(seen, "equity"),
        reason=text(chosen, "reason"),
        guards=[str(g) for g in guards] if isinstance(guards, list) else None,
        run_id=head.run_id,
    )


def _announcement(head: Head, symbol: str) -> Run:
    created = rfc3339(head.end)
    return Run(
        ts=created, strategy=head.strategy, run_id=head.run_id, created=created, from_=rfc3339(head.start), to=rfc3339(head.end + 1),
        symbol=symbol,
    )  # fmt: skip


def _log(view: memoryview, context: Context, line: int | None, start: int = 1) -> Iterator[Block]:
    """One document, its first decision numbered `start`. `line`: the number of all its records, where it is one line of a file."""
    members = opened(view).members
    if members is None or "decisions" not in members:
        raise Unreadable("unreadable_file", "decision log: decisions is missing")
    head = head_of(members, context)
    try:
        elements = msgspec.json.decode(members["decisions"], type=list[msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise Unreadable("unreadable_file", "decision log: decisions is no list") from None
    if context.book == BACKTEST:
        yield block(
            context.book, [(line or start, _announcement(head, head.symbol if _one_symbol(elements, head) else ""))], context.bounds
        )
    reader = _Reader(head, context)
    for first, some in sliced(elements, start):
        records: list[tuple[int, Native]] = []
        refusals = []
        for k, raw in enumerate(some):
            at = line or first + k
            made = reader.entry(raw)
            if isinstance(made, list):
                records.extend([(at, r) for r in made])
            else:
                refusals.append(Refusal(line=at, code=made[0], reason=made[1], raw=raw_text(raw)))
        shown = lambda at, first=first, some=some: "" if line else raw_text(some[at - first])  # noqa: E731
        yield finished(block(context.book, records, context.bounds, head.run_id), refusals, shown)
    if context.book == BACKTEST:
        last = (line or start + max(1, len(elements)) - 1, Heartbeat(ts=rfc3339(head.end), strategy=head.strategy))
        yield block(context.book, [last], context.bounds)


@dataclass(slots=True)
class _Reader:
    """Entries of one document, in order: an order's decision is remembered for the fills that come later."""

    head: Head
    context: Context
    decided: dict[str, str] = field(default_factory=dict)
    net: dict[str, float] = field(default_factory=dict)

    def entry(self, raw: msgspec.Raw) -> list[Native] | tuple[str, str]:
        found, code, reason = value(raw, self.context.limits.nesting)
        if code:
            return code, reason
        if not isinstance(found, dict):
            return "bad_value", "a decision is an object"
        try:
            symbol = text(_section(found, "context"), "symbol") or self.head.symbol
            made = decision(found, self.head, self.context, self.net.get(symbol, 0.0))
            later = list(self._later(found, made))
        except Unfit as e:
            return e.code, e.reason
        for side_, quantity in [(made.side or made.action, made.quantity if made.filled else NAN), *((f.side, f.quantity) for f in later)]:
            sign = {"buy": 1.0, "sell": -1.0}.get(side_, 0.0)
            self.net[symbol] = self.net.get(symbol, 0.0) + (sign * quantity if quantity is not None and given(quantity) else 0.0)
        return [made, *later]

    def _later(self, row: Mapping[str, Any], made: Decision) -> Iterator[Fill]:
        done = _section(row, "execution")
        order = text(done, "order_id")
        if order:
            self.decided.setdefault(order, str(made.ts))
        others = done.get("other_fills")
        if others is None:
            return
        if not isinstance(others, list) or not all(isinstance(o, Mapping) for o in others):
            raise Unfit("bad_value", "other_fills is no list of objects")
        for k, other in enumerate(others):
            of = need(other, "order_id")
            yield Fill(
                ts=made.ts, strategy=made.strategy, symbol=made.symbol, fill_id=f"{of}@{made.ts}#{k}", order_id=of,
                side=side(other, "side"), quantity=as_number("filled_quantity", other.get("filled_quantity")),
                price=as_number("fill_price", other.get("fill_price")), fee=amount(other, "commission"), decision_ts=self.decided.get(of),
            )  # fmt: skip


class _Where(msgspec.Struct, gc=False):
    symbol: str | None = None


class _Placed(msgspec.Struct, gc=False):
    context: _Where | None = None


def _one_symbol(elements: list[msgspec.Raw], head: Head) -> bool:
    """Whether every decision is of the document's symbol: else the run is of all symbols of its strategy."""
    look = msgspec.json.Decoder(_Placed)
    for raw in elements:
        try:
            where = look.decode(raw).context
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            continue
        if where is not None and where.symbol and where.symbol != head.symbol:
            return False
    return True


def read(part: Part, context: Context) -> Iterator[Block]:
    """A document; or, where the container is one of lines, a document a line."""
    if part.shape == "document":
        yield from _log(text_of(part, context), context, None, part.first)
        return
    for piece in chunks(part.open(), context.limits.line, part.first):
        if isinstance(piece, Long):
            yield Block(decisions=None, fills=None, rare=[], refusals=[piece.refusal(context.limits.line)])
            continue
        for line, raw in piece.numbered():
            found, code, reason = value(raw, context.limits.nesting)
            try:
                if not code and not isinstance(found, dict):
                    code, reason = "bad_json", "not a JSON object"
                if not code:
                    yield from _log(memoryview(raw), context, line)
            except Unreadable as e:
                code, reason = "bad_value", e.reason
            if code:
                refused = [Refusal(line=line, code=code, reason=reason)]
                yield Block(decisions=None, fills=None, rare=[], refusals=piece.explain(refused))
