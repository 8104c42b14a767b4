"""What a trading engine imports: ask the Gate before an order, record what happened, acknowledge in the heartbeat.

Standard library only: importing this loads nothing else of parityd, so it runs inside any engine's interpreter.
`schemas()` gives the JSON Schemas of both action files and of the native records, for engines in other languages.
"""

from typing import Any

from parityd.engine.gate import Gate, Verdict
from parityd.engine.publication import ACTIONS
from parityd.engine.recorder import Recorder
from parityd.engine.spool import Spool

__all__ = ["ACTIONS", "Gate", "Recorder", "Spool", "Verdict", "schemas"]


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schemas (draft 2020-12) by name: `trading_override`, `parity_action`, `records`."""
    import json
    from importlib.resources import files

    folder = files("parityd.engine") / "schemas"
    return {
        name: json.loads((folder / f"{name}.schema.json").read_text("utf-8")) for name in ("trading_override", "parity_action", "records")
    }
