"""A daemon on this machine, asked over HTTP by the commands that run beside it.

1. The answer never comes from a proxy, whatever the environment names.
2. Where the daemon listens on every address, it is asked on this machine's own.
3. Who answers on a port may be another parityd: it is ours when it tells the instance that is published in the folder and the process that holds it.
"""

import json
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from parityd.edges.lock import holder

STATUS = "/api/v1/status"
_OWN = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104  asked of, not listened on


def address(host: str, port: int) -> str:
    """`http://...` of a daemon that listens on `host`."""
    name = _OWN.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def ask(host: str, port: int, path: str, seconds: float) -> dict[str, Any]:
    """The JSON object that it answers; OSError where it does not (urllib's HTTPError is one), ValueError where that is something else."""
    try:
        with build_opener(ProxyHandler({})).open(address(host, port) + path, timeout=seconds) as answer:
            found = json.loads(answer.read())
    except HTTPException as e:
        raise OSError(f"{address(host, port)} does not speak HTTP: {type(e).__name__}") from e
    if not isinstance(found, dict):
        raise ValueError(f"{address(host, port)}{path} is no parityd's")  # noqa: TRY004
    return found


def ask_ours(data_dir: Path, host: str, port: int, path: str, seconds: float) -> dict[str, Any]:
    """As `ask`, of the daemon that works in `data_dir`; OSError where it is another one that answers."""
    told = ask(host, port, STATUS, seconds)
    held, published = holder(data_dir), _instance(data_dir)
    if (published and told.get("instance") != published) or (held and told.get("pid", held) != held):
        raise OSError(f"{address(host, port)} is another parityd's")
    return told if path == STATUS else ask(host, port, path, seconds)


def _instance(data_dir: Path) -> str:
    """The instance that publishes there; "" where that cannot be told."""
    try:
        told = json.loads((data_dir / "system_actions/trading_override.json").read_bytes())
    except (OSError, ValueError):
        return ""
    return str(told.get("instance") or "") if isinstance(told, dict) else ""
