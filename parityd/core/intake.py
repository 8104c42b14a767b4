"""Accepted records of one turn -> what every room learns of them: identities, executions, marks, ledgers, watermarks.

1. A record counts once: what is known (same key, same content) is a duplicate, same key with other content a conflict, refused.
2. The order of files and records within a turn does not matter, except between two contents of one key: the first stands.
3. What names a strategy moves that book's watermark of it; marks and splits name none.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from parityd.core.columns import DecisionColumns, FillColumns
from parityd.core.hashing import U64, hash_text, seed
from parityd.core.index import CONFLICT, NEW, Known
from parityd.core.records import BOOKS, Bust, Decision, Fill, Funding, Line, Rare, Refusal, Run

_ENCODER = msgspec.json.Encoder(order="sorted")


@dataclass(slots=True, kw_only=True)
class FileBatch:
    """One file's accepted records, as the formats gave them."""

    book: str
    name: str
    sha256: str
    source: str
    decisions: DecisionColumns | None
    fills: FillColumns | None
    rare: list[Line]
    refusals: list[Refusal]


@dataclass(slots=True, kw_only=True)
class Counted:
    """What became of a file's records."""

    accepted: dict[str, int] = field(default_factory=dict)  # by kind
    duplicates: int = 0
    refusals: list[Refusal] = field(default_factory=list)  # conflicts and too many strategies; without their raw text
    keys: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    contents: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    decisions: DecisionColumns | None = None
    fills: FillColumns | None = None
    rare: list[Line] = field(default_factory=list)
    shadows: FillColumns | None = None


def rare_names(book: str, lines: Iterable[Line]) -> tuple[U64, U64]:
    """(key, content) of rare records: a record is its content, but for those that carry an id of their own."""
    keys: list[str] = []
    contents: list[str] = []
    for line in lines:
        record = line.record
        said = _ENCODER.encode(_without_ts(record)).decode("utf-8", "replace") + f"\0{line.ts}"
        contents.append(said)
        keys.append(_identity(record) or said)
    start = seed(f"rare\0{book}")
    return hash_text(keys, start), hash_text(contents, start)


def _without_ts(record: Rare) -> Rare:
    return msgspec.structs.replace(record, ts=0.0)


def _identity(record: Rare) -> str:
    if isinstance(record, Funding) and record.funding_id not in ("", None):
        return f"funding\0{record.strategy}\0{record.symbol}\0{record.funding_id}"
    if isinstance(record, Bust):
        return f"bust\0{record.strategy}\0{record.symbol}\0{record.account}\0{record.venue}\0{record.fill_id}"
    if isinstance(record, Run):
        return f"run\0{record.strategy}\0{record.run_id}\0{record.symbol}"
    return ""


def take(batch: FileBatch, known: Known, strategies: Callable[[str], bool]) -> Counted:
    """Judge one file's records against what is known, and remember the new ones. `strategies(name)` says whether a (new) strategy may come in."""
    out = Counted(refusals=[])
    columns: list[tuple[str, DecisionColumns | FillColumns]] = []
    if batch.decisions is not None and len(batch.decisions):
        columns.append(("decision", batch.decisions))
    if batch.fills is not None and len(batch.fills):
        columns.append(("fill", batch.fills))
    rare_keys, rare_contents = rare_names(batch.book, batch.rare)
    keys = np.concatenate([*[c.key for _, c in columns], rare_keys]) if columns or batch.rare else np.zeros(0, np.uint64)
    contents = np.concatenate([*[c.content for _, c in columns], rare_contents]) if columns or batch.rare else np.zeros(0, np.uint64)
    if len(keys) == 0:
        return out
    state = known.judge(keys, contents)
    admitted = _admit(columns, batch.rare, state, strategies, out)
    at = 0
    for kind, c in columns:
        mine, ok = state[at : at + len(c)], admitted[at : at + len(c)]
        at += len(c)
        out.refusals += [_conflict(int(line), kind) for line in c.line[mine == CONFLICT].tolist()]
        kept = c if ok.all() else c.take(ok)
        if not len(kept):
            continue
        if isinstance(kept, FillColumns):
            paper = kept.shadow
            out.accepted["fill"] = len(kept)
            out.shadows = kept.take(paper) if paper.any() else None
            out.fills = kept.take(~paper) if paper.any() else kept
        else:
            out.accepted["decision"] = len(kept)
            out.decisions = kept
    for line, s, ok in zip(batch.rare, state[at:].tolist(), admitted[at:].tolist(), strict=True):
        kind = str(line.record.__struct_config__.tag)
        if ok:
            out.rare.append(line)
            out.accepted[kind] = out.accepted.get(kind, 0) + 1
        elif s == CONFLICT:
            out.refusals.append(_conflict(line.line, kind))
    out.duplicates = int((state == 1).sum())
    out.keys, out.contents = (keys, contents) if admitted.all() else (keys[admitted], contents[admitted])
    known.add(out.keys, out.contents)
    return out


def _admit(
    columns: list[tuple[str, DecisionColumns | FillColumns]],
    rare: list[Line],
    state: NDArray[np.int8],
    strategies: Callable[[str], bool],
    out: Counted,
) -> NDArray[np.bool_]:
    """Which records are new and of a strategy that may come in."""
    new: NDArray[np.bool_] = state == NEW
    names = {s for _, c in columns for s in c.strategies()} | {getattr(line.record, "strategy", "") for line in rare} - {""}
    closed = {s for s in sorted(names) if not strategies(s)}
    if not closed:
        return new
    at = 0
    for _, c in columns:
        for i, s in enumerate(c.strategy):
            if s in closed and new[at + i]:
                new[at + i] = False
                out.refusals.append(_too_many(int(c.line[i]), s))
        at += len(c)
    for i, line in enumerate(rare):
        s = getattr(line.record, "strategy", "")
        if s in closed and new[at + i]:
            new[at + i] = False
            out.refusals.append(_too_many(line.line, s))
    return new


def _conflict(line: int, kind: str) -> Refusal:
    return Refusal(line=line, code="conflict", reason=f"a {kind} with this identity and other content was taken before; the first stands")


def _too_many(line: int, strategy: str) -> Refusal:
    return Refusal(line=line, code="bad_value", reason=f"strategy {strategy!r} would exceed the limit on strategies ([limits] strategies)")


__all__ = ["BOOKS", "Counted", "Decision", "FileBatch", "Fill", "rare_names", "take"]
