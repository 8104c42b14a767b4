"""What is remembered of the live side to the nanosecond: postings of late, positions and balances reported, heartbeats not yet read.

1. Totals are of everything; the tape holds the newest postings, so what stood at a time t >= `floor` is the total less what the tape has after t.
2. Postings are additive and are kept by their time, so the order in which they came does not matter.
3. Quantities are integers of 1e-8 units; `held` is what a venue reports (a fee taken in base is gone), `q` what the ledger posts.
4. All of it is small and stored with the strategy's memory.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.records import NO_TS

UNIT = 100_000_000
KEPT = 256
TAPE = np.dtype(
    [("ts", "i8"), ("sym", "i4"), ("account", "i4"), ("held", "i8"), ("q", "i8"), ("cash", "f8"), ("order", "u8"), ("reduces", "?")]
)
Tape = NDArray[np.void]


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """One heartbeat; `flags`: those that it gave."""

    ts: int
    override_sequence: int | None
    next_by: int
    flags: dict[str, bool]
    detail: str


class Total(msgspec.Struct):
    """One symbol and account: everything ever posted. `multiplier`: units of one contract, as its newest fill had it; 0 = no fill yet."""

    held: int = 0
    q: int = 0
    cash: float = 0.0  # after fees and funding
    ccy: int = 0
    multiplier: float = 0.0


class Seed(msgspec.Struct):
    """The first `position` record: what it said, and how much of that the fills until then do not explain."""

    ts: int
    reported: int
    offset: int


class Compared(msgspec.Struct, frozen=True, array_like=True):
    """A position record against what fills and seed add up to at its time."""

    ts: int
    reported: int
    expected: int

    @property
    def differs(self) -> bool:
        largest = max(abs(self.reported), abs(self.expected))
        return abs(self.reported - self.expected) > max(10, largest // 1_000_000)


class Aligned(msgspec.Struct):
    """Position records of one symbol and account: the newest two that were due, and what a reset put aside (`shift`)."""

    due: list[tuple[int, int]] = msgspec.field(default_factory=list)  # (ts, reported)
    compared: list[Compared] = msgspec.field(default_factory=list)
    shift: int = 0
    reset_ns: int = 0


class Anchor(msgspec.Struct):
    """A balance and what the ledger held as it was reported, by symbol: (quantity, cash, price or None)."""

    ts: int
    equity: float
    parts: dict[int, tuple[int, float, float | None]]


class Balances(msgspec.Struct):
    """One account's balances: the anchor, and the changes in a row that nothing explains, as (ts, share of equity)."""

    anchor: Anchor | None = None
    bad: list[tuple[int, float]] = msgspec.field(default_factory=list)


class Disobeyed(msgspec.Struct, frozen=True, array_like=True):
    """An order that added exposure under a stop, not told yet."""

    order: int
    ts: int
    action: str
    example: str


class Watch(msgspec.Struct):
    """All of it for one strategy. Tables are by symbol, then account (codes; account 0 = not named)."""

    tape: bytes = b""
    floor: int = NO_TS
    totals: dict[int, dict[int, Total]] = msgspec.field(default_factory=dict)
    seeds: dict[int, dict[int, Seed]] = msgspec.field(default_factory=dict)
    positions: dict[int, dict[int, Aligned]] = msgspec.field(default_factory=dict)
    balances: dict[int, dict[int, Balances]] = msgspec.field(default_factory=dict)  # by account, then currency
    opened: dict[int, int] = msgspec.field(default_factory=dict)  # what of the seeds the ledgers have taken, by symbol
    disobeyed: list[Disobeyed] = msgspec.field(default_factory=list)
    told: list[int] = msgspec.field(default_factory=list)
    recent: bool = False  # the live book has spoken within seven days of the clock: it is no imported history
    reset_ns: int = 0

    # --- postings -----------------------------------------------------------------------------------------------

    @property
    def rows(self) -> Tape:
        return np.frombuffer(self.tape, TAPE)

    def total(self, sym: int, account: int) -> Total:
        return self.totals.setdefault(sym, {}).setdefault(account, Total())

    def post(self, rows: Tape) -> None:
        """Add postings of one symbol and account, in any order of time."""
        if len(rows):
            self.count(rows)
            self.keep([rows])

    def count(self, rows: Tape) -> None:
        """Into the totals alone; `keep` has to follow."""
        sym, account = int(rows["sym"][0]), int(rows["account"][0])
        total = self.total(sym, account)
        total.held += int(rows["held"].sum())
        total.q += int(rows["q"].sum())
        total.cash += float(rows["cash"].sum())
        self._explain(sym, account, rows, 1)

    def keep(self, parts: Sequence[Tape]) -> None:
        """Onto the tape, postings of any symbols and accounts."""
        newer = [rows["ts"] > self.floor for rows in parts]
        self.tape += b"".join([(rows if new.all() else rows[new]).tobytes() for rows, new in zip(parts, newer, strict=True)])

    def take_back(self, row: np.void) -> None:
        """A posting that is no longer true."""
        sym, account = int(row["sym"]), int(row["account"])
        total = self.total(sym, account)
        total.held -= int(row["held"])
        total.q -= int(row["q"])
        total.cash -= float(row["cash"])
        self._explain(sym, account, np.array([row], TAPE), -1)
        tape = self.rows
        same = np.flatnonzero(np.logical_and.reduce([tape[f] == row[f] for f in ("ts", "sym", "account", "held")]))
        if len(same):
            self.tape = np.delete(tape, same[0]).tobytes()

    def _explain(self, sym: int, account: int, rows: Tape, sign: int) -> None:
        """What a first position record left unexplained, late fills may explain."""
        for name, seed in self.seeds.get(sym, {}).items():
            if account in self.accounts(sym, name):
                seed.offset -= sign * int(rows["held"][rows["ts"] <= seed.ts].sum())

    def trim(self) -> None:
        """Let all but the newest postings go into the totals alone."""
        tape = self.rows
        if len(tape) <= KEPT:
            return
        ts = tape["ts"].copy()
        self.floor = int(np.partition(ts, -KEPT - 1)[-KEPT - 1])
        newest = np.flatnonzero(ts > self.floor)
        self.tape = tape[newest[np.argsort(ts[newest], kind="stable")]].tobytes()

    # --- what stood ---------------------------------------------------------------------------------------------

    def accounts(self, sym: int, account: int) -> tuple[int, ...]:
        """Whose fills a record of this account speaks of: all where it names none; fills that name none count where only one account is named."""
        known = self.totals.get(sym, {})
        if account == 0:
            return tuple(known)
        named = {a for a in (*known, *self.seeds.get(sym, {}), *self.positions.get(sym, {})) if a}
        return (account, 0) if named <= {account} else (account,)

    def ambiguous(self, sym: int, account: int) -> bool:
        """Whether fills that name no account could be of this one or another."""
        return account != 0 and 0 in self.totals.get(sym, {}) and 0 not in self.accounts(sym, account)

    def filled(self, sym: int, account: int, t: int) -> int | None:
        """What the fills until t (inclusive) add up to in 1e-8 units; None where that is no longer, or not, known."""
        if t < self.floor or self.ambiguous(sym, account):
            return None
        mine = self.accounts(sym, account)
        tape = self.rows
        later = (tape["sym"] == sym) & (tape["ts"] > t) & np.isin(tape["account"], mine)
        table = self.totals.get(sym, {})
        return sum(table[a].held for a in mine if a in table) - int(tape["held"][later].sum())

    def opening(self, sym: int) -> int:
        """What the first position records add to both ledgers: that of all accounts, else those of each."""
        seeds = self.seeds.get(sym, {})
        return seeds[0].offset if 0 in seeds else sum(seed.offset for seed in seeds.values())

    def holding(self, sym: int) -> int:
        """The live position at present."""
        return self.opening(sym) + sum(total.held for total in self.totals.get(sym, {}).values())

    def exposed(self) -> bool:
        return any(self.holding(sym) for sym in {*self.totals, *self.seeds})

    def multiplier(self, sym: int, account: int, default: float) -> float:
        """Units of one contract: as the newest fill says, else as configured."""
        table = self.totals.get(sym, {})
        found = [table[a].multiplier for a in self.accounts(sym, account) if a in table and table[a].multiplier]
        return found[0] if found else default
