"""What stands in a command file: bytes -> its fields, as carefully as the most careful reading of them.

1. UTF-8, UTF-16 and UTF-32 are read, with or without a mark; wrong bytes are replaced, and `readable` tells.
2. A name given twice is said; where one of the values lowers, that one is taken.
3. In what is no JSON object a lowering command can still be made out (`torn_stop`): by its name alone, nothing else of it is believed.
4. Pure; it knows the names of the commands and nothing of who may give them.
"""

import json
import re
from typing import Any

from parityd.edges.commands import LOWERING

_TORN = re.compile(r"""["']?\bcommand\b["']?\s*[:=]\s*["']?\s*(force[_-]disable|reduce[_-]size)\b""", re.ASCII | re.IGNORECASE)


def fields(raw: bytes) -> tuple[dict[str, Any], list[str]] | str:
    """The fields and the names given twice, or why it is no command file."""
    pairs: list[tuple[str, Any]] = []

    def outermost(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = found  # the outermost object is closed last
        return dict(found)

    try:
        body = json.loads(_decoded(raw), object_pairs_hook=outermost, parse_int=_whole)
    except (ValueError, RecursionError):
        return "it is no JSON"
    if not isinstance(body, dict):
        return "it is no JSON object"
    names = [name for name, _ in pairs]
    lowering = [value for name, value in pairs if name == "command" and verb_of(value) in LOWERING]
    if lowering:
        body["command"] = lowering[0]
    return body, sorted({name for name in names if names.count(name) > 1})


def torn_stop(raw: bytes) -> str:
    """The lowering command that stands in what is no JSON object; "" where none does."""
    named = _TORN.search(raw.replace(b"\0", b"").decode("latin-1"))  # whatever the encoding: its letters are ASCII
    return named.group(1) if named else ""


def readable(raw: bytes) -> bool:
    """Whether it is UTF-8, as everything that raises risk has to be."""
    try:
        raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return json.detect_encoding(raw).startswith("utf-8")


def verb_of(value: object) -> str:
    """The command's name; spelling is forgiven to a command that lowers, not to one that raises."""
    if not isinstance(value, str):
        return ""
    plain = value.strip().lower().replace("-", "_")
    return plain if plain in LOWERING else value


def _whole(text: str) -> int | float:
    return int(text) if len(text) < 19 else float(text)


def _decoded(raw: bytes) -> str:
    return raw.decode(json.detect_encoding(raw), "replace").removeprefix("\ufeff")
