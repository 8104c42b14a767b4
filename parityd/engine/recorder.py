"""What a strategy says to parityd: one method a record kind, the contract's fields by name.

1. A record is checked and encoded when it is recorded: a mistake is raised there, not at a later flush.
2. With `batch` records wait in memory until so many are there; `flush`, a heartbeat and the end of the `with` block write them all.
3. What could not be written stays, in order, for the next flush; the error goes to the caller. Written twice counts once.
4. A backtest execution goes to the backtest's inbox and a live one to the live engine's: of a spool folder named `live` or
   `backtest` the other is the neighbour, and a folder that holds both serves as both. Everything else goes to the recorder's own
   book: the named folder, `live` in one that holds both. Any other folder is one inbox for all.
5. Threads may share a recorder.
"""

import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from parityd.engine.gate import Verdict
from parityd.engine.native import Bust, Decision, Execution, Fill, Funding, Mark, Moment, Number, Order, native_record
from parityd.engine.publication import STRATEGY
from parityd.engine.spool import Spool, encode

Book = Literal["live", "backtest"]


class Recorder:
    """`Recorder(spool, strategy)`: spool is a `Spool` or its folder. Fields are the native records'; None means absent."""

    __slots__ = ("_batch", "_own", "_spools", "_waiting", "strategy")

    def __init__(self, spool: Spool | str | os.PathLike[str], strategy: str, *, batch: int = 1) -> None:
        if not isinstance(strategy, str) or not STRATEGY.fullmatch(strategy):
            raise ValueError(f"no possible name of a strategy: {strategy!r}")
        if batch < 1:
            raise ValueError("batch is at least 1")
        self.strategy = strategy
        self._batch = batch
        self._own, self._spools = _books(spool if isinstance(spool, Spool) else Spool(spool))
        self._waiting: dict[Book, deque[bytes]] = {book: deque() for book in self._spools}

    def record_backtest_execution(self, **fields: Unpack[Execution]) -> None:
        """What the backtest did: a filled decision at `price`, the simulated execution price. `action` (or `side`: buy, sell)."""
        action, side = fields.get("action"), fields.get("side")
        if fields.get("quantity") is None or fields.get("price") is None:
            raise TypeError("an execution needs quantity and price")
        if action in ("buy", "sell") and side not in (None, action):
            raise ValueError("action and side contradict each other")
        self._put("decision", {**fields, "action": action or side, "filled": True}, "backtest")

    def record_live_execution(self, **fields: Unpack[Fill]) -> None:
        """What the market did: one fill as the venue reported it, `fill_id` the venue's."""
        self._put("fill", fields, "live")

    def fill(self, **fields: Unpack[Fill]) -> None:
        """A fill of the recorder's own book: for a backtester with a fill model."""
        self._put("fill", fields)

    def decision(self, **fields: Unpack[Decision]) -> None:
        """What the strategy wanted, recorded before the Gate is asked."""
        self._put("decision", fields)

    def order(self, **fields: Unpack[Order]) -> None:
        self._put("order", fields)

    def bust(self, **fields: Unpack[Bust]) -> None:
        self._put("bust", fields)

    def funding(self, **fields: Unpack[Funding]) -> None:
        """`amount` paid; negative: received."""
        self._put("funding", fields)

    def mark(self, **fields: Unpack[Mark]) -> None:
        self._put("mark", fields)

    def position(
        self,
        *,
        symbol: str,
        quantity: Number,
        ts: Moment | None = None,
        average_price: Number | None = None,
        account: str | None = None,
    ) -> None:
        """What the venue says is held (signed), as of `ts` (now)."""
        ts = _now() if ts is None else ts
        self._put("position", {"symbol": symbol, "quantity": quantity, "ts": ts, "average_price": average_price, "account": account})

    def balance(
        self,
        *,
        equity: Number,
        ts: Moment | None = None,
        cash: Number | None = None,
        currency: str | None = None,
        account: str | None = None,
    ) -> None:
        """What the account is worth, as of `ts` (now)."""
        ts = _now() if ts is None else ts
        self._put("balance", {"equity": equity, "ts": ts, "cash": cash, "currency": currency, "account": account})

    def transfer(self, *, amount: Number, ts: Moment | None = None, currency: str | None = None) -> None:
        """Money paid in; negative: taken out. Without it a deposit looks like a profit that no trade explains."""
        self._put("transfer", {"amount": amount, "ts": _now() if ts is None else ts, "currency": currency})

    def heartbeat(
        self,
        verdict: Verdict | None = None,
        *,
        ts: Moment | None = None,
        override_sequence: int | Verdict | None = None,
        next_by: Moment | None = None,
        broker_connected: bool | None = None,
        position_tracker_ok: bool | None = None,
        order_book_connected: bool | None = None,
        balance_synced: bool | None = None,
        detail: str | None = None,
    ) -> None:
        """The pulse, written at once with all that waits. A verdict (or its `decision_sequence`) says that it is obeyed: give it
        after the orders have been brought in line with it. A Gate that has seen no publication acknowledges nothing.
        """
        fields: dict[str, Any] = {
            "ts": _now() if ts is None else ts,
            "override_sequence": _acknowledged(verdict, override_sequence),
            "next_by": next_by,
            "broker_connected": broker_connected,
            "position_tracker_ok": position_tracker_ok,
            "order_book_connected": order_book_connected,
            "balance_synced": balance_synced,
            "detail": detail,
        }
        self._put("heartbeat", fields, flush=True)

    def flush(self) -> list[Path]:
        """Write what waits; the files, one a book. Raises OSError when it could not be made durable, and keeps the records."""
        return [path for book, waiting in self._waiting.items() if (path := _write(self._spools[book], waiting)) is not None]

    def close(self) -> None:
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.flush()

    def _put(self, kind: str, fields: Any, book: Book | None = None, *, flush: bool = False) -> None:
        line = encode(native_record(kind, self.strategy, fields), kind)
        self._waiting[book if book in self._waiting else self._own].append(line)
        if flush or sum(map(len, self._waiting.values())) >= self._batch:
            self.flush()


def _books(spool: Spool) -> tuple[Book, dict[Book, Spool]]:
    folder = spool.folder
    if folder.name == "live":
        return "live", {"live": spool, "backtest": Spool(folder.with_name("backtest"))}
    if folder.name == "backtest":
        return "backtest", {"live": Spool(folder.with_name("live")), "backtest": spool}
    if (folder / "live").is_dir() and (folder / "backtest").is_dir():
        return "live", {"live": Spool(folder / "live"), "backtest": Spool(folder / "backtest")}
    return "live", {"live": spool}


def _write(spool: Spool, waiting: deque[bytes]) -> Path | None:
    lines: list[bytes] = []
    try:
        while waiting:
            lines.append(waiting.popleft())
    except IndexError:  # another thread took the last one
        pass
    try:
        return spool.write_lines(lines)
    except BaseException:
        waiting.extendleft(reversed(lines))
        raise


def _acknowledged(verdict: Verdict | None, sequence: int | Verdict | None) -> int | None:
    said = sequence.decision_sequence if isinstance(sequence, Verdict) else sequence
    if verdict is None:
        return None if isinstance(sequence, Verdict) and not sequence.sequence else said
    if said is not None and said != verdict.decision_sequence:
        raise ValueError("override_sequence is not the verdict's decision_sequence")
    return verdict.decision_sequence if verdict.sequence else None


def _now() -> datetime:
    return datetime.now(UTC)
