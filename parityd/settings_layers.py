"""Where values come from: a TOML file, the environment, what systemd hands over; each becomes a layer of nested values.

1. Names are matched exactly here (keys of the file in lower case, variables in upper case, names of strategies, symbols and sources as
   they are): an unknown one is an error that names it and its likely meaning, never ignored.
2. Every leaf remembers its origin: "file", "environment NAME", "credential NAME".
3. A renamed key works, with a warning, throughout the minor version that renamed it; later it is an error that names the new one.
4. The text of a variable is read by the type of its key; a list or table is JSON or separated by commas.
5. What a value may be is the sections' affair, not decided here.
"""

import difflib
import json
import re
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from parityd.settings_values import Kind

PREFIX = "PARITYD_"
KeyPath = tuple[str, ...]
Model = type[BaseModel]
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class SettingsError(Exception):
    """A configuration that cannot be used; the message is one line: where, which key, which value, why."""

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
        super().__init__(line if len(line) <= 480 else f"{line[:477]}...")


@dataclass(frozen=True)
class Renamed:
    """`new` is the key's present dotted name, `since` the version that renamed it ("0.2")."""

    new: str
    since: str


@dataclass(frozen=True)
class Renames:
    """Old dotted name -> what became of it (`*` stands for the name of a strategy, symbol or source), judged at `version`."""

    table: Mapping[str, Renamed]
    version: str

    def of(self, path: KeyPath) -> tuple[KeyPath, Renamed] | None:
        names = (path[0], "*", *path[2:]) if len(path) == 3 else path
        found = self.table.get(".".join(names)) or self.table.get(".".join(path))
        if found is None:
            return None
        new = found.new.split(".")
        return tuple(path[1] if part == "*" else part for part in new), found

    def in_force(self, renamed: Renamed) -> bool:
        return tuple(map(int, self.version.split(".")[:2])) <= tuple(map(int, renamed.since.split(".")[:2]))


@dataclass
class Layer:
    """Values of one origin, nested as the model is; `origins` by path of leaf; `warnings` for the operator."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def put(self, path: KeyPath, value: object, origin: str) -> None:
        at = self.values
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = value
        self.origins[path] = origin


def dotted(path: KeyPath) -> str:
    """The key as TOML writes it: strategies."my strategy".capital."""
    return ".".join(p if _BARE.fullmatch(p) else json.dumps(p, ensure_ascii=False) for p in path)


def bare_type(annotation: Any) -> Any:
    """An annotation without `Annotated` and `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in {Union, types.UnionType} and type(None) in get_args(annotation):
            annotation = next(a for a in get_args(annotation) if a is not type(None))
        else:
            return annotation


def kind_word(info: FieldInfo) -> str | None:
    """The word of the outermost `Kind` in a field's annotations."""
    pending: list[Any] = [Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation]
    while pending:
        at = pending.pop(0)
        if get_origin(at) is Annotated:
            words = [m.word for m in get_args(at)[1:] if isinstance(m, Kind)]
            if words:
                return str(words[-1])
            pending.append(get_args(at)[0])
        elif get_origin(at) in {Union, types.UnionType}:
            pending.extend(get_args(at))
    return None


def section_of(model: Model, name: str) -> Model | None:
    """The model of a section `[name]`, or None where the key is none."""
    info = model.model_fields.get(name)
    found = bare_type(info.annotation) if info else None
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def table_of(model: Model, name: str) -> Model | None:
    """The model of the entries of `[name.<any>]`, or None where the key is no such table."""
    info = model.model_fields.get(name)
    found = bare_type(info.annotation) if info else None
    entry = get_args(found)[-1] if get_origin(found) is dict else None
    return entry if isinstance(entry, type) and issubclass(entry, BaseModel) else None


def field_of(model: Model, path: KeyPath) -> FieldInfo | None:
    """The field that a path ends at, None where the path is no leaf of the model."""
    section, table = section_of(model, path[0]), table_of(model, path[0])
    if section is not None:
        return section.model_fields.get(path[1]) if len(path) == 2 else None
    if table is not None:
        return table.model_fields.get(path[2]) if len(path) == 3 else None
    return model.model_fields.get(path[0]) if len(path) == 1 else None


def all_keys(model: Model) -> list[KeyPath]:
    """Every leaf of the model; the entries of a table stand under `*`."""
    found: list[KeyPath] = []
    for name in model.model_fields:
        section, table = section_of(model, name), table_of(model, name)
        found += (
            [(name, k) for k in section.model_fields] if section else [(name, "*", k) for k in table.model_fields] if table else [(name,)]
        )
    return found


def _suggestion(model: Model, path: KeyPath) -> str:
    keys = all_keys(model)
    same = [k for k in keys if k[-1] == path[-1]]
    names = {".".join(k).replace(".*.", ".<name>."): k for k in keys}
    near = [names[n] for n in difflib.get_close_matches(".".join(path), names, n=1, cutoff=0.75)]
    if not near and len(path) > 1 and (section := section_of(model, path[0]) or table_of(model, path[0])):
        near = [(*path[:-1], n) for n in difflib.get_close_matches(path[-1], section.model_fields, n=1, cutoff=0.6)]
    chosen = (near or same)[:1]
    return f"; did you mean {'.'.join(chosen[0]).replace('.*.', '.<name>.')}?" if chosen else ""


def _resolve(model: Model, path: KeyPath, renames: Renames, layer: Layer, where: str) -> KeyPath:
    """The path itself where it is a leaf, its new name where it was renamed; SettingsError where it is unknown."""
    if field_of(model, path) is not None:
        return path
    found = renames.of(path)
    if found is None:
        raise SettingsError(f"{where}: unknown key {dotted(path)}{_suggestion(model, path)}")
    new, renamed = found
    if not renames.in_force(renamed):
        raise SettingsError(f"{where}: {dotted(path)} is called {dotted(new)} since version {renamed.since}")
    layer.warnings.append(f"{where}: {dotted(path)} is called {dotted(new)} now; the old name ends after version {renamed.since}")
    if new in layer.origins:
        raise SettingsError(f"{where}: both {dotted(path)} and its new name {dotted(new)} are given")
    return new


def _leaves(model: Model, document: Mapping[str, Any], where: str, at: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Leaves of a document; what the model does not know is descended to its own leaves. An empty entry of a table comes as a path of two."""
    for name, value in document.items():
        path = (*at, name)
        inner = bool(at) and table_of(model, at[0]) is not None and len(path) == 2
        branch = inner or (not at and (section_of(model, name) or table_of(model, name)) is not None)
        if branch and not isinstance(value, dict):
            raise SettingsError(f"{where}: {dotted(path)} must be a table, [{dotted(path)}]")
        if inner and not value:
            yield path, None
        elif isinstance(value, dict) and field_of(model, path) is None:
            yield from _leaves(model, value, where, path) if value or branch else [(path, value)]
        else:
            yield path, value


def _take(layer: Layer, model: Model, document: Mapping[str, Any], renames: Renames, where: str, origin: str) -> None:
    leaves = list(_leaves(model, document, where))
    known_first = sorted(leaves, key=lambda leaf: field_of(model, leaf[0]) is None)
    for path, value in known_first:
        if len(path) == 2 and value is None and table_of(model, path[0]) is not None:
            layer.values.setdefault(path[0], {}).setdefault(path[1], {})
        else:
            layer.put(_resolve(model, path, renames, layer, where), value, origin)


def from_file(file: Path, model: Model, renames: Renames) -> Layer:
    """The layer of a TOML file; SettingsError where it cannot be read, is no TOML or holds an unknown key."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as problem:
        raise SettingsError(f"{file}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: is not UTF-8 text") from None
    except (ValueError, RecursionError) as problem:
        raise SettingsError(f"{file}: is not valid TOML: {str(problem).splitlines()[0]}") from None
    layer = Layer()
    _take(layer, model, document, renames, str(file), "file")
    return layer


def variable(path: KeyPath) -> str:
    """The name of the environment variable of a key."""
    parts = [p if len(path) == 3 and n == 1 else p.upper() for n, p in enumerate(path)]
    return PREFIX + "__".join(parts)


def _path_of(model: Model, name: str, renames: Renames) -> KeyPath | None:
    """The path that a variable's name spells; None where no key can be spelt so."""
    parts = name.removeprefix(PREFIX).split("__")
    top, last = parts[0], parts[-1]
    if not all(parts) or top != top.upper():
        return None
    if table_of(model, top.lower()) is None or len(parts) == 1:
        return tuple(p.lower() for p in parts) if all(p == p.upper() for p in parts) else None
    key = (top.lower(), "__".join(parts[1:-1]), last.lower())
    spells_a_key = len(parts) > 2 and last == last.upper() and (field_of(model, key) is not None or renames.of(key) is not None)
    return key if spells_a_key else (top.lower(), "__".join(parts[1:]))


def from_environment(variables: Mapping[str, str], model: Model, renames: Renames) -> Layer:
    """The layer of every PARITYD_ variable; SettingsError where one names no key or its text cannot be one."""
    layer = Layer()
    for name in sorted((n for n in variables if n.startswith(PREFIX)), key=lambda n: (n.count("__"), n)):
        path, text = _path_of(model, name, renames), variables[name]
        if path is not None and field_of(model, path) is None and renames.of(path) is None:
            _take(layer, model, _whole_table(model, name, path, text), renames, name, f"environment {name}")
        elif path is not None:
            path = _resolve(model, path, renames, layer, name)
            info = field_of(model, path)
            layer.put(path, _from_text(name, text, info) if info else text, f"environment {name}")
        else:
            raise _unknown(model, name)
    return layer


def _whole_table(model: Model, name: str, path: KeyPath, text: str) -> dict[str, Any]:
    """The document of a variable that names a section, a table or an entry of one, as JSON."""
    is_entry = len(path) == 2 and table_of(model, path[0]) is not None
    if not is_entry and (len(path) > 1 or path[0] not in model.model_fields):
        raise _unknown(model, name)
    if not text.lstrip().startswith("{"):
        raise _unknown(model, name) if is_entry else SettingsError(f"{name}: must be a JSON object; or name one of its keys, {name}__...")
    document = _json(name, text)
    for part in reversed(path):
        document = {part: document}
    return dict(document)


def _unknown(model: Model, name: str) -> SettingsError:
    return SettingsError(f"unknown environment variable {name}{_similar(model, name)}")


def _similar(model: Model, name: str) -> str:
    near = difflib.get_close_matches(name.upper(), [variable(k) for k in all_keys(model)], n=1, cutoff=0.8)
    return f"; did you mean {near[0].replace('*', '<name>')}?" if near else ""


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise SettingsError(f"{name}: is not valid JSON") from None


def _from_text(name: str, text: str, info: FieldInfo) -> object:
    """What a variable's text stands for; text that is no such value is passed on, to be refused as the value it is."""
    found = bare_type(info.annotation)
    if get_origin(found) is tuple:
        return _json(name, text) if text.lstrip().startswith("[") else [part.strip() for part in text.split(",") if part.strip()]
    if get_origin(found) is dict:
        if text.lstrip().startswith("{"):
            return _json(name, text)
        return dict(part.strip().partition("=")[::2] for part in text.split(",") if part.strip())
    if found is bool:
        return _WORDS.get(text.strip().lower(), text)
    if found in {int, float}:
        worded = kind_word(info) in {"duration", 'duration or "forever"'}
        try:
            return text.strip() if worded else found(text.strip())
        except ValueError:
            return text
    return text
