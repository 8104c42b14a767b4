"""One strategy's whole memory: executions, ledgers, watermarks, what its engine said. Rooms of judgement read it; `monitor` fills it."""

import msgspec

from parityd.core.books import Books, RunSpan
from parityd.core.busiest import Busiest
from parityd.core.cut import Cut
from parityd.core.index import Places
from parityd.core.ledger import Ledger
from parityd.core.parameters import Parameters
from parityd.core.publications import Publications
from parityd.core.records import BACKTEST, LIVE, NO_TS
from parityd.core.shelves import Load
from parityd.core.splits import Splits
from parityd.core.watch import Beat, Watch


class Pulse(msgspec.Struct):
    """What the heartbeats of one book said last, and the watermark."""

    watermark: int = NO_TS
    newest_live: int = NO_TS  # wall time of the newest ingest from this book
    heartbeat: int = NO_TS
    previous: int = NO_TS
    next_by: int = NO_TS
    acknowledged: int = -1
    acknowledged_at: int = NO_TS
    flags: dict[str, bool | None] = msgspec.field(default_factory=dict)
    false_since: dict[str, int] = msgspec.field(default_factory=dict)
    false_count: dict[str, int] = msgspec.field(default_factory=dict)
    detail: str = ""
    newest_fill: int = NO_TS
    beats: list[Beat] = msgspec.field(default_factory=list)  # heartbeats of the turn, read in order of time at its end
    gaps: list[int] = msgspec.field(default_factory=list)  # between the newest heartbeats

    def see(self, ts: int) -> None:
        self.watermark = max(self.watermark, ts)


class Reported(msgspec.Struct):
    """A position or balance that the live side reported, to be compared once its watermark has passed."""

    kind: str
    ts: int
    sym: int = 0
    quantity: float = 0.0
    equity: float = 0.0
    account: str = ""
    currency: str = ""
    multiplier: float = 1.0  # units of one contract, where no fill has said so


class Memory(msgspec.Struct):
    """The part of a strategy that is stored as one blob each turn: small, whatever the history."""

    pulses: dict[str, Pulse] = msgspec.field(default_factory=lambda: {LIVE: Pulse(), BACKTEST: Pulse()})
    cells: dict[int, tuple[bool, bool, bool, bool, int]] = msgspec.field(default_factory=dict)
    far: dict[int, dict[int, tuple[int, int]]] = msgspec.field(default_factory=dict)  # by symbol, see `shelves`
    runs: list[RunSpan] = msgspec.field(default_factory=list)
    opening: dict[int, list[int]] = msgspec.field(default_factory=dict)
    net: dict[int, list[int]] | None = None  # by symbol, what the ledger's opening and all its entries come to; None: not summed yet
    multi: dict[int, str] = msgspec.field(default_factory=dict)  # execution name -> trade id of trades with several decisions
    busted: list[int] = msgspec.field(default_factory=list)
    reports: list[Reported] = msgspec.field(default_factory=list)
    transfers: list[tuple[int, float]] = msgspec.field(default_factory=list)
    sends_holds: dict[str, bool] = msgspec.field(default_factory=dict)
    scales: list[tuple[int, float]] = msgspec.field(default_factory=list)  # (from ns, size multiplier) as the allowed book was made with
    publications: Publications = msgspec.field(default_factory=Publications)
    watch: Watch = msgspec.field(default_factory=Watch)
    cut: Cut = msgspec.field(default_factory=Cut)
    shadow: bytes = b""
    first_seen: int = NO_TS
    imported_until: int = NO_TS
    fee_until: dict[int, int] = msgspec.field(default_factory=dict)  # symbol FEE/QUOTE -> newest fill whose fee it priced, or should have
    unpriced_funding: list[int] = msgspec.field(default_factory=list)  # when funding was paid whose currency has no mark yet
    decided: list[str] = msgspec.field(default_factory=list)  # books that have sent decisions
    id_fills: bool = False  # the backtest has sent fills with trade ids
    line: int = NO_TS  # nothing before it raises anything (reset)
    orders: dict[str, int] = msgspec.field(default_factory=dict)  # by status, for the fill rate
    shadow_fills: int = 0


class Strategy:
    """A strategy: its books, its ledger, its memory."""

    def __init__(self, name: str, parameters: Parameters, places: Places, load: Load, splits: Splits | None = None) -> None:
        self.name = name
        self.books = Books(name, parameters, places, load)
        self.ledger = Ledger(splits)
        self.memory = Memory()
        self.busiest = Busiest()

    def post_overruled(self) -> None:
        """Simulated executions that fills replaced leave the ledger."""
        for rows in self.books.overruled:
            self.ledger.post_rows(rows, -1)
        self.books.overruled.clear()

    @property
    def live(self) -> Pulse:
        return self.memory.pulses[LIVE]

    @property
    def backtest(self) -> Pulse:
        return self.memory.pulses[BACKTEST]
