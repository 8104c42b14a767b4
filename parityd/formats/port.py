"""What a format is: the shapes that go in and come out of every reader in this package.

1. A reader turns one `Part` (plain bytes with a name) into `Block`s and never raises on content other than `Unreadable`.
2. `Unreadable` is said of a whole file, before its first block wherever that can be known: nothing of it is then applied.
3. A record that cannot be taken is a `Refusal` with its line, and costs only itself.
4. What a format does not know stays absent. It reads no clock and no settings: all it may know is in its `Context`.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from parityd.core.columns import Block, Bounds

RAW_BYTES = 64 << 10
"""Of a refused record at most so much text is kept."""

Shape = Literal["lines", "table", "document", "text", "database"]
"""lines: JSON, one object a line; table: CSV; document: one JSON value; text: a log; database: rows of an SQLite file, as JSON lines."""


class Unreadable(Exception):  # noqa: N818  # it says what a file is, not what went wrong here
    """A whole file that cannot be read: `code` is unreadable_file, unknown_format, too_long or poison, `reason` is for the operator."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes, but for `nesting` (levels), `members` (of a zip) and `child_seconds`."""

    line: int = 1 << 20
    file: int = 1 << 30
    expanded: int = 4 << 30
    nesting: int = 32
    members: int = 1000
    child_memory: int = 1 << 30
    child_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What `[sources.<name>]` says about a file."""

    name: str
    format: str | None = None
    strategy: str | None = None
    timezone: str | None = None
    columns: Mapping[str, str] | None = None
    symbol: str | None = None
    timeframe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """All that a reader may know beside the bytes. `name` is the file's (its suffix picks the container), `scratch` where temporary files may lie.

    `told`: what the file's source has told of its orders so far (`increments`); the reader changes it, and the caller keeps it in the transaction
    that keeps the records. None for a file that is read alone. `notes`: the same for what later files refer back to (`fix`).
    """

    book: str
    name: str
    bounds: Bounds = field(default_factory=Bounds)
    limits: Limits = field(default_factory=Limits)
    source: Source | None = None
    scratch: str | None = None
    told: MutableMapping[str, tuple[float, float, float]] | None = None
    notes: MutableMapping[str, str] | None = None

    @property
    def strategy(self) -> str | None:
        return self.source.strategy if self.source else None

    @property
    def timezone(self) -> str:
        return (self.source.timezone if self.source else None) or "UTC"

    @property
    def symbol(self) -> str:
        return (self.source.symbol if self.source else None) or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Plain bytes to read: a file, or a member of one. `open` gives them from the start, as often as asked; `first` is the number of its first
    line; `tables` are those of a database, whether any row of them was asked for or not.
    """

    name: str
    shape: Shape
    open: Callable[[], BinaryIO]
    first: int = 1
    tables: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What recognition looks at: the first thing in a part that looks like a record.

    `keys` are the names of its fields (or columns, or of a database's tables), `row` its values, `head` the first bytes.
    """

    shape: Shape
    keys: frozenset[str]
    row: Mapping[str, Any]
    head: bytes
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format: how it is recognised and how it is read. `tables`: what it needs of an SQLite file; `companion`: whether a neighbour in
    a zip belongs to it and holds no records; `anonymous`: it names no strategy, so its source must.
    """

    name: str
    knows: Callable[[Sample], bool]
    read: Callable[[Part, Context], Iterator[Block]]
    tables: tuple[str, ...] = ()
    companion: Callable[[str], bool] | None = None
    anonymous: bool = False


ANONYMOUS = "this format names no strategy"


def strategy_of(context: Context) -> str:
    """The strategy that the source names, for a format that names none."""
    if context.strategy is None:
        key = f"[sources.{context.source.name if context.source else '<name>'}] strategy"
        raise Unreadable("unreadable_file", f"{ANONYMOUS}: set {key}")
    return context.strategy
