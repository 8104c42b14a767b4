"""The configuration as it was at each time, from the audit trail: what is held now, undone change by change.

1. The store keeps the configuration that it was last run with, and a line for each change with both values. Nothing is known of a store that kept none.
2. Where things lie, and what is told to whom, is no matter of judgement: that is the present configuration's throughout.
3. A past configuration that this version cannot take ends the way back there: the present one holds from the beginning, and `known` is false.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import ValidationError

from parityd.core.instants import parse_time
from parityd.service.configured import STATE
from parityd.settings import Settings
from parityd.settings_layers import Layer
from parityd.store.reads import Reads

PLACES = ("data_dir", "store", "http", "log", "notify", "ingest")
"""Sections that have no part in judgement."""


@dataclass(frozen=True, slots=True)
class Past:
    """(from when in ns, what was configured) in order of time, the first from the beginning; `known`: the trail could be followed."""

    steps: list[tuple[int, Settings]]
    known: bool = True


def path_of(key: str) -> tuple[str, ...]:
    """A dotted key as TOML writes it -> its parts; ValueError: it is none."""
    at: object = tomllib.loads(f"{key} = 0")
    path = []
    while isinstance(at, dict) and len(at) == 1:
        name, at = next(iter(at.items()))
        path.append(str(name))
    return tuple(path)


def past_settings(reads: Reads, present: Settings) -> Past:
    """Rules 1 to 3."""
    stored = reads.state(STATE)
    if stored is None:
        return Past([(0, present)])
    shown = msgspec.json.decode(stored, type=dict[str, Any])
    steps: list[tuple[int, Settings]] = []
    try:
        for since, changed in reversed(list(_changes(reads))):
            steps.append((since, _settings(shown, present)))
            shown = shown | {key: before for key, (before, _) in changed.items()}
        steps.append((0, _settings(shown, present)))
    except (ValidationError, ValueError):
        return Past([(0, present)], known=False)
    return Past(steps[::-1])


def _changes(reads: Reads) -> Iterator[tuple[int, dict[str, list[Any]]]]:
    for row in reads.audit_rows():
        if row["event"] == "config.changed":
            yield parse_time(row["ts"]), row["data"]["changed"]


def _settings(shown: dict[str, Any], present: Settings) -> Settings:
    layer = Layer()
    for origin, values in (("then", shown), ("now", present.shown())):
        for key, value in values.items():
            path = path_of(key)
            if value is not None and (path[0] in PLACES) == (origin == "now"):
                layer.put(path, value, origin)
    return Settings(layers=[layer])  # type: ignore[call-arg]  # as `load` makes them
