"""`parityd doctor FILE...`: what files hold, what would be taken of them, what refused and why, and how two books fit together.

1. Files are read by the same code as the spool's, into a state of their own that ends with the command; nothing is stored, moved or published.
2. Of refusals the first of each code are shown with their lines; all are counted.
3. A shift between the clocks is told where most of what does not match would match shifted by the same whole minutes.
"""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from parityd.core.instants import rfc3339
from parityd.core.intake import Counted, FileBatch
from parityd.core.measures import coverage, match_rate
from parityd.core.monitor import Monitor
from parityd.core.records import BOOKS, LIVE, NO_TS, Refusal
from parityd.core.rows import DEAD, PART, Rows
from parityd.core.strategy import Strategy
from parityd.core.window import summed
from parityd.formats import ANONYMOUS
from parityd.problem import Problem
from parityd.service import memory
from parityd.service.doctor_checks import OK, PROBLEM, WARNING, Check, Findings, worst
from parityd.service.doctor_reading import Asked, Seen, seen
from parityd.service.sessions import parameters_of
from parityd.settings import Settings
from parityd.store import MEMORY, Store

SHOWN = 5  # refusals of one code
FAR = 2**61
MOST_PAIRED = 400
MINUTE = 60_000_000_000
DAY = 1440


def look(settings: Settings, asked: list[Asked], now_ns: int) -> Findings:
    """What the files hold, and how both sides match where both are there. Problem where one is not there at all."""
    for one in asked:
        if not one.path.is_file():
            raise Problem(f"{one.path}: {'it is no regular file' if one.path.exists() else 'no such file'}")
    found = [seen(settings, one, now_ns) for one in asked]
    with Store.open(MEMORY, now_ns=now_ns) as store:
        m = memory.fold(store, parameters_of(settings)).m
        good = [s for s in found if s.batch is not None]
        counted = m.apply([s.batch for s in good if s.batch is not None], now_ns).counted if good else []
        told = dict(zip(map(id, good), counted, strict=True))
        checks: list[Check] = []
        files = []
        for s in found:
            shown, own = _file(s, told.get(id(s)))
            files.append(shown)
            checks += own
        both = {s.book for s in good} == set(BOOKS)
        books = [_pair(m, own) for _, own in sorted(m.strategies.items())] if both else []
        checks += [c for b in books for c in _judged(b)]
        if not both and good:
            checks.append(
                Check(area="books", state=OK, text=f"only {good[0].book} was given: name files of both books to see how they match")
            )
    return Findings(worst=worst(checks), checks=checks, files=files, books=books)


# --- telling --------------------------------------------------------------------------------------------------------


def _file(seen: Seen, got: Counted | None) -> tuple[dict[str, Any], list[Check]]:
    path, area = seen.asked.path, "file"
    shown: dict[str, Any] = {"file": str(path), "book": seen.book or None, "format": seen.format or None, "bytes": seen.size}
    if seen.problem is not None or seen.batch is None or got is None:
        code, reason = seen.problem or ("unreadable_file", "it could not be read")
        return {**shown, "refused_whole": {"code": code, "reason": reason}}, [
            Check(
                area=area, state=PROBLEM, text=f"{path}: refused whole, {code}: {reason}", mend=_mend_whole(code, reason, path, seen.book)
            )
        ]
    refusals = sorted([*seen.batch.refusals, *got.refusals], key=lambda r: r.line)
    codes = Counter(r.code for r in refusals)
    taken = sum(got.accepted.values())
    names = sorted({*_strategies(seen.batch)})
    shown |= {
        "source": seen.source, "takes": dict(got.accepted), "duplicates": got.duplicates, "refuses": dict(codes), "strategies": names,
        "from": None if seen.first == NO_TS else rfc3339(seen.first), "to": None if seen.last == NO_TS else rfc3339(seen.last),
        "refusals": [{"line": r.line, "code": r.code, "reason": r.reason} for r in _first_of_each(refusals)],
    }  # fmt: skip
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(got.accepted.items())) or "nothing"
    text = f"{path}: {seen.book}, {seen.format}: takes {kinds}" + (f" of {', '.join(names[:5])}" if names else "")
    text += f", {shown['from']} to {shown['to']}" if taken and seen.first != NO_TS else ""
    text += f"; {got.duplicates} duplicates" if got.duplicates else ""
    checks = [Check(area=area, state=OK if taken or not refusals else PROBLEM, text=text)]
    share = len(refusals) / (len(refusals) + taken) if refusals else 0.0
    for r in _first_of_each(refusals):
        state = PROBLEM if share > 0.2 else WARNING
        checks.append(
            Check(area=area, state=state, text=f"{path}:{r.line}: {r.code}: {r.reason} ({codes[r.code]} such)", mend=_mend(r.code, path))
        )
    return shown, checks


def _strategies(batch: FileBatch) -> Iterator[str]:
    for columns in (batch.decisions, batch.fills):
        if columns is not None:
            yield from dict.fromkeys(columns.strategy)
    yield from (name for line in batch.rare if (name := getattr(line.record, "strategy", "")))


def _first_of_each(refusals: list[Refusal]) -> list[Refusal]:
    told: Counter[str] = Counter()
    out = []
    for r in refusals:
        told[r.code] += 1
        if told[r.code] <= SHOWN:
            out.append(r)
    return out


_MENDS = {
    "unknown_format": "name the format and columns in [sources.<name>]",
    "unknown_kind": "see docs/reference/files.md for the kinds",
    "missing_field": "see docs/reference/files.md for the fields a kind needs",
    "bad_encoding": "iconv -t UTF-8, or the writer's encoding",
    "future_timestamp": "the writer's clock or time zone: [sources.<name>] timezone",
    "too_old": "the unit of the timestamps: seconds, not milliseconds or days",
    "conflict": "one id for two contents: the writer must give each fill an id of its own",
    "too_long": "raise [limits], or split the file",
}


def _mend_whole(code: str, reason: str, path: Path, book: str) -> str:
    """Of a file that is refused whole."""
    if ANONYMOUS in reason:
        place = f'path = "spool/{book or LIVE}/*{"".join(path.suffixes[-2:])}", book = "{book or LIVE}"'
        return f'in the configuration: [sources.mine] {place}, strategy = "its name here" (--config FILE)'
    if reason.startswith("no known container"):
        return "give the file the suffix of what it is"
    return _mend(code, path)


def _mend(code: str, path: Path) -> str:
    return _MENDS.get(code, f"mend the line and drop the file again: head -c 4096 {shlex.quote(str(path))}")


# --- both books -----------------------------------------------------------------------------------------------------


def _pair(m: Monitor, s: Strategy) -> dict[str, Any]:
    """How one strategy's books match, with everything counted as settled."""
    sums, _ = summed(s.books, -FAR, FAR, None)
    rows = [r[places] for r, places in _living(s)]
    r = np.concatenate(rows) if rows else None
    offset, shift = _offset(r), _shift(r)
    return {
        "strategy": s.name, "matched": int(sums["matched"]), "missed": int(sums["missed"]), "unexpected": int(sums["unexpected"]),
        "match_rate": match_rate(sums), "matched_by": {"id": int(sums["by_id"]), "decision": int(sums["by_decision"]), "fill": int(sums["by_fill"])},
        "suspect": int(sums["suspect"]), "coverage": coverage(sums), "offset_seconds": offset, "shift_minutes": shift,
        "symbols": sorted({m.names[int(k)] for k in np.unique(r["sym"])}) if r is not None else [],
    }  # fmt: skip


def _living(s: Strategy) -> Iterator[tuple[Rows, Any]]:
    for shelf, _ in s.books.rows_between(-FAR, FAR):
        r = shelf.rows
        yield r, np.flatnonzero(((r["flags"] & (DEAD | PART)) == 0) & ((r["b_q"] > 0) | (r["l_q"] > 0)))


def _offset(r: Rows | None) -> float | None:
    """Median of live time less backtest time of matched trades, in seconds."""
    if r is None:
        return None
    b = np.where(r["b_ts"] != NO_TS, r["b_ts"], r["b_first"])
    both = (r["b_q"] > 0) & (r["l_q"] > 0) & (b != NO_TS) & (r["l_first"] != NO_TS)
    return float(np.median(r["l_first"][both] - b[both])) / 1e9 if both.any() else None


def _shift(r: Rows | None) -> int | None:
    """Whole minutes by which the live clock seems to be ahead: the shift that most trades of one book only share, None where there is none."""
    if r is None:
        return None
    b_only, l_only = (r["l_q"] == 0) & (r["b_q"] > 0), (r["b_q"] == 0) & (r["l_q"] > 0)
    n = min(int(b_only.sum()), int(l_only.sum()))
    if n < 3:
        return None
    votes: Counter[int] = Counter()
    for sym in np.unique(r["sym"]).tolist():
        for side in (-1, 1):
            mine = (r["sym"] == sym) & (r["side"] == side)
            b = np.where(r["b_ts"] != NO_TS, r["b_ts"], r["b_first"])[b_only & mine][:MOST_PAIRED]
            live = r["l_first"][l_only & mine][:MOST_PAIRED]
            minutes = np.rint((live[:, None] - b[None, :]) / MINUTE).astype(np.int64).ravel()
            votes.update(minutes[np.abs(minutes) <= DAY].tolist())
    if not votes:
        return None
    best, count = votes.most_common(1)[0]
    return int(best) if best != 0 and count >= max(3, 0.6 * min(n, MOST_PAIRED)) else None


def _judged(b: dict[str, Any]) -> Iterator[Check]:
    total = b["matched"] + b["missed"] + b["unexpected"]
    if not total:
        yield Check(
            area="books", state=WARNING, text=f"{b['strategy']}: no trade in either book", mend="do both books name the strategy alike?"
        )
        return
    rate = b["match_rate"] or 0.0
    by = ", ".join(f"{n} by {how}" for how, n in b["matched_by"].items() if n)
    text = f"{b['strategy']}: {rate:.1%} matched ({b['matched']} matched{': ' + by if by else ''}; {b['missed']} missed, {b['unexpected']} unexpected)"
    state = OK if rate >= 0.9 else WARNING if rate >= 0.5 else PROBLEM
    mend = "" if state == OK else "ids on one side only, an alias in [symbols], or a time zone in [sources.<name>]"
    yield Check(area="books", state=state, text=text, mend=mend)
    measured = {k.removesuffix("_impact"): v for k, v in b["coverage"].items() if v is not None and k.endswith("_impact")}
    if measured:
        yield Check(area="books", state=OK, text=f"{b['strategy']}: measured " + ", ".join(f"{k} {v:.0%}" for k, v in measured.items()))
    if b["offset_seconds"] is not None:
        far = abs(b["offset_seconds"]) > 600
        yield Check(
            area="books", state=WARNING if far else OK, text=f"{b['strategy']}: live is {b['offset_seconds']:+.3f} s from the backtest (median)",
            mend="compare the clocks of both machines, and [sources.<name>] timezone" if far else "",
        )  # fmt: skip
    if b["shift_minutes"] is not None:
        hours = b["shift_minutes"] / 60
        yield Check(
            area="books", state=PROBLEM, text=f"{b['strategy']}: unmatched trades would match with the live clock {b['shift_minutes']:+d} min ({hours:+.2f} h) shifted",
            mend="set [sources.<name>] timezone of the book whose times carry no offset",
        )  # fmt: skip
    if b["suspect"]:
        yield Check(
            area="books",
            state=WARNING,
            text=f"{b['strategy']}: {b['suspect']} pairs differ by over 3,000 bps",
            mend="symbol, multiplier, split: [symbols]",
        )


__all__ = ["Asked", "look"]
