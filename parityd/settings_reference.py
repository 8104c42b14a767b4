"""The page and the annotated file that tell every key, printed from the settings themselves.

1. `python -m parityd.settings_reference FOLDER` writes `docs/reference/settings.md` and `config/parityd.toml` below the folder.
2. In the file, "# " begins prose and "#" without a space a key that is not set: take the "#" away to set it.
3. What can be set to its default without changing anything is set; what depends on something else (data_dir on systemd, the bands on the
   profile), or has no default, is not.
"""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from parityd.settings import Settings
from parityd.settings_judgement import PROFILES, Section, Thresholds
from parityd.settings_layers import Model, bare_type, kind_word, section_of, table_of

PAGE, FILE = Path("docs/reference/settings.md"), Path("config/parityd.toml")
_EXAMPLE_NAMES = {"strategies": "momentum", "symbols": '"BTC/USD"', "sources": "desk"}
_DEFAULTS = Settings().masked()
_INTRODUCTION = """\
# Settings

<!-- Printed by `python -m parityd.settings_reference .`; a test keeps it true. -->

parityd reads one TOML file: the one given with `--config FILE`, else `/etc/parityd/parityd.toml` where that exists, else none at all. Every
key has a default, so an empty file is a valid one. `config/parityd.toml` is this page as such a file. Keys and names are matched exactly,
upper and lower case included.

**Environment.** Every key is also a variable: `PARITYD_`, the section and the key in capitals, with two underscores between them, as in
`PARITYD_HTTP__PORT=9816` or `PARITYD_DATA_DIR=/srv/parityd`. The name of a strategy, symbol or source stays as it is:
`PARITYD_STRATEGIES__momentum__CAPITAL=100000`. Lists are separated by commas or written as JSON; a whole table can be given as JSON:
`PARITYD_STRATEGIES='{"momentum": {"capital": 100000}}'`. A variable wins over the file, key by key.

**Mistakes.** An unknown key, an unknown variable that starts with `PARITYD_`, a bad value or two values that contradict each other end the
start with one line that names it, and exit code 3. `parityd config check` says the same without starting anything; `parityd config show` prints
every value with its origin.

**Values.** A *duration* is text with a unit: `"90s"`, `"15m"`, `"36h"`, `"2d"`, `"1h30m"` (units `ms s m h d w`). A *size* is a number of
bytes, or text such as `"64KiB"`, `"16MiB"`, `"1GB"`. Relative paths are relative to the working directory, except where the key says otherwise.
`bps` are basis points of cost: positive means that live was worse than the backtest.

**Reload.** SIGHUP reads the file again. A bad one is refused whole and the old settings stay. Keys marked *restart* cannot change in a running
parityd.

**systemd.** Under systemd `data_dir` defaults to the unit's state directory. The credentials `parityd.notify_urls` (one address a line) and
`parityd.allowed_signers` stand in for `notify.urls` and `overrides.allowed_signers` where those are not set.
"""
_FILE_HEAD = """\
# parityd: every key, with its default.
#
# A line that begins with "#" and no space is a key that is not set: take the "#" away to set it. Names are matched exactly. Every key is also an
# environment variable, which wins over this file: PARITYD_HTTP__PORT for port in [http]. Check a changed file with: parityd config check
"""


def page() -> str:
    """The reference as Markdown."""
    top = [n for n in Settings.model_fields if section_of(Settings, n) is None and table_of(Settings, n) is None]
    parts = [_INTRODUCTION, "## At the top of the file\n\n" + _table({n: Settings.model_fields[n] for n in top}, _DEFAULTS)]
    for name in Settings.model_fields:
        if (section := section_of(Settings, name)) is not None:
            parts.append(f"## `[{name}]`\n\n{_prose(section)}\n\n{_table(section.model_fields, _DEFAULTS[name])}")
        elif (entry := table_of(Settings, name)) is not None:
            own = {k: f for k, f in entry.model_fields.items() if k not in Thresholds.model_fields}
            more = "\nAnd every key of `[thresholds]`, for this strategy alone.\n" if len(own) < len(entry.model_fields) else ""
            parts.append(f"## `[{name}.<name>]`\n\n{_prose(entry)}\n\n{_table(own, _entry_defaults(entry))}{more}")
    return "\n".join(parts)


def annotated() -> str:
    """The file with every key."""
    top, rest = [], []
    for name, info in Settings.model_fields.items():
        if (section := section_of(Settings, name)) is not None:
            head = f"\n{_comment(_prose(section))}\n[{name}]"
            rest += [head, *(_line(k, f, _DEFAULTS[name].get(k), off=k in PROFILES["strict"]) for k, f in section.model_fields.items())]
        elif (entry := table_of(Settings, name)) is not None:
            rest += [f"\n{_comment(_prose(entry))}\n#[{name}.{_EXAMPLE_NAMES[name]}]", *_entry_lines(entry)]
        else:
            top.append(_line(name, info, _DEFAULTS.get(name), off=name == "data_dir"))
    return "\n".join([_FILE_HEAD, *top, *rest]) + "\n"


def _entry_lines(entry: Model) -> Iterator[str]:
    defaults = _entry_defaults(entry)
    for k, info in entry.model_fields.items():
        if k not in Thresholds.model_fields:
            yield _line(k, info, defaults.get(k), off=True)
    if "profile" in entry.model_fields:
        yield '# Every key of [thresholds] can stand here too, for this strategy alone.\n#profile = "strict"'


def _entry_defaults(entry: Model) -> Mapping[str, Any]:
    return entry.model_construct().model_dump(mode="json", exclude_none=True, warnings=False)


def _line(name: str, info: FieldInfo, default: object, *, off: bool = False) -> str:
    shown = default if default is not None else _extra(info, "example")
    if (default in ([], {}) or off) and _extra(info, "example") is not None:
        shown = _extra(info, "example")
    mark = "#" if default is None or off else ""
    if default in ([], {}) and not off:
        return f"{_comment(info.description or '')}\n{name} = {_toml(default)}  # such as {_toml(shown)}"
    return f"{_comment(info.description or '')}\n{mark}{name} = {_toml(shown)}"


def _table(fields: Mapping[str, FieldInfo], defaults: Mapping[str, Any]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, info in fields.items():
        default = f"`{_toml(defaults[name])}`" if name in defaults else "needed" if info.is_required() else "none"
        restart = " *Restart.*" if _extra(info, "restart") else ""
        rows.append(f"| `{name}` | {_value(info)} | {default} | {info.description}{restart} |")
    return "\n".join(rows) + "\n"


def _value(info: FieldInfo) -> str:
    found = bare_type(info.annotation)
    if get_origin(found) is Literal:
        return " ".join(f"`{choice}`" for choice in get_args(found))
    return kind_word(info) or {bool: "`true` `false`", dict: "table of text"}.get(get_origin(found) or found, "text")


def _extra(info: FieldInfo, name: str) -> Any:
    return info.json_schema_extra.get(name) if isinstance(info.json_schema_extra, dict) else None


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }" if value else "{}"
    return json.dumps(value, ensure_ascii=False)


def _prose(section: Model) -> str:
    return " ".join((section.__doc__ or Section.__doc__ or "").split())


def _comment(text: str) -> str:
    return textwrap.fill(text.replace("`", ""), 118, initial_indent="# ", subsequent_indent="# ")


def write(root: Path) -> None:
    """Both files below `root`."""
    for place, text in ((PAGE, page()), (FILE, annotated())):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
