"""The configuration as the audit trail tells it: every change of a key is a line, be it by reload or between two runs.

1. Compared is what is shown, by dotted key: the value of a secret is never told, that it changed is, where a reload saw it.
2. What was told last is kept in the store with the line, so that a restart with another file is a change like any other, and told once.
3. A folder's first configuration is no change.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from parityd.service.brain import Brain
from parityd.settings import Settings
from parityd.store.entries import AuditDraft

STATE = "configuration"


def changes(before: Mapping[str, Any], after: Mapping[str, Any], also: Iterable[str] = ()) -> dict[str, list[Any]]:
    """Dotted key -> [before, after], null where there was, or is, none; what is equal is left out, but for `also`."""
    keys = {key for key in {*before, *after} if before.get(key) != after.get(key)} | set(also)
    return {key: [before.get(key), after.get(key)] for key in sorted(keys)}


def tell(brain: Brain, settings: Settings, also: Iterable[str] = ()) -> None:
    """Put what changed into the audit trail; `also`: keys that changed without showing it."""
    raw = msgspec.json.encode(settings.shown(), order="sorted")
    stored, now = brain.store.state(STATE), msgspec.json.decode(raw, type=dict[str, Any])
    if stored is None:
        brain.extra_states[STATE] = raw
        return
    changed = changes(msgspec.json.decode(stored, type=dict[str, Any]), now, also)
    if changed:
        draft = AuditDraft(ts_ns=brain.now(), event="config.changed", actor="operator", data={"changed": changed})
        brain.told(draft, {STATE: raw})
