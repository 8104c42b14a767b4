"""Is the store sound? Everything that can be checked, said in words.

1. Pages and references are SQLite's to check; checksums of blobs and the chain of the audit trail are ours.
2. What is found is returned; nothing is mended and nothing is raised.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from parityd.core.chain import entry
from parityd.store.errors import StoreBroken
from parityd.store.reads import Reads

Ask = Callable[..., list[tuple[Any, ...]]]


def check(store: Reads, ask: Ask) -> list[str]:
    """What is wrong; empty = sound."""
    try:
        found = [str(row[0]) for row in ask("PRAGMA integrity_check(20)") if row[0] != "ok"]
        found += [f"{row[0]}: row {row[1]} refers to a missing {row[2]}" for row in ask("PRAGMA foreign_key_check")]
    except StoreBroken as error:
        return [str(error)]
    return [*found, *_blobs(store), *_audit(store)]


def _drain(values: Iterable[object]) -> None:
    for _ in values:
        pass


def _shelves(store: Reads) -> Iterator[object]:
    for strategy in store.strategies():
        for number in store.shelf_numbers(strategy):
            yield store.load_shelf(strategy, number)
        yield from store.ledgers(strategy)


def _blobs(store: Reads) -> Iterator[str]:
    readers: dict[str, Callable[[], Iterable[object]]] = {
        "names": store.names, "states": store.states, "identities": store.identities, "records": store.records, "places": store.places,
        "shelves": lambda: _shelves(store), "summaries": store.summaries, "marks": store.marks, "events": store.events,
        "reports": lambda: (store.report(r.day, r.revision) for r in store.reports()),
    }  # fmt: skip
    for what, read in readers.items():
        try:
            _drain(read())
        except (StoreBroken, ValueError, KeyError) as error:
            yield f"{what}: {error}"


def _audit(store: Reads) -> Iterator[str]:
    try:
        sequence, previous = store.first_audit()
        for row in store.audit_rows():
            stated = row.pop("hash")
            if row["sequence"] != sequence + 1 or row["previous"] != previous:
                yield f"audit entry {row['sequence']} does not continue entry {sequence}"
                return
            if entry(**row)["hash"] != stated:
                yield f"audit entry {row['sequence']} was changed: its hash does not fit"
                return
            sequence, previous = row["sequence"], stated
    except (StoreBroken, ValueError, KeyError, TypeError) as error:
        yield f"audit: {error}"
