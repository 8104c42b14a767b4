"""Why a configuration was refused, in one line: where, which key, which value, what it must be.

1. The first error is told, the others are counted.
2. A secret's value is never part of the message.
3. `where` is the file or the variable that gave the key; nothing where a default is at fault.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from parityd.settings_layers import KeyPath, Layer, Model, dotted, field_of, kind_word
from parityd.settings_values import format_duration


class ContradictionError(ValueError):
    """Two values that cannot both hold; `keys` names them, the first given one tells where to look."""

    def __init__(self, message: str, *keys: KeyPath) -> None:
        super().__init__(message)
        self.keys = keys


_WHY = {
    "missing": "is needed",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "holds characters that a name must not have",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}


def explain(problem: ValidationError, model: Model, layers: list[Layer], file: Path | None) -> str:
    """One line for the first error, saying how many more there are."""
    errors = problem.errors(include_url=False)
    first = errors[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ContradictionError):
        text = f"{_place(cause.keys, layers, file)}{cause}"
    else:
        path = _leaf_of(model, first["loc"])
        known = _WHY.get(first["type"])
        why = known.format(**_readable(model, first.get("ctx", {}), path)) if known else first["msg"].removeprefix("Value error, ")
        info = field_of(model, path)
        secret = info is not None and "secret" in (kind_word(info) or "")
        given = "" if secret or first["type"] == "missing" else f" = {_brief(first['input'])}"
        text = f"{_place((path, path[:-1]), layers, file)}{dotted(path)}{given}: {why}"
    more = len({_leaf_of(model, e["loc"]) for e in errors}) - 1
    return text + (f" (and {more} more)" if more > 0 else "")


def _leaf_of(model: Model, loc: tuple[int | str, ...]) -> KeyPath:
    parts = tuple(str(p) for p in loc)
    return next((parts[:n] for n in (1, 2, 3) if parts[:n] and field_of(model, parts[:n]) is not None), parts[:3])


def _readable(model: Model, context: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    info = field_of(model, path)
    word = kind_word(info) if info is not None else None
    as_text = format_duration if word and word.startswith("duration") else lambda v: f"{v:g}" if isinstance(v, float) else v
    return {k: as_text(v) if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) else v for k, v in context.items()}


def _brief(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _place(keys: tuple[KeyPath, ...], layers: list[Layer], file: Path | None) -> str:
    for path in filter(None, keys):
        for layer in layers:
            origin = next((o for p, o in layer.origins.items() if p[: len(path)] == path), None)
            if origin == "file":
                return f"{file}: "
            if origin is not None:
                return f"{origin.partition(' ')[2]}: "
    return ""
