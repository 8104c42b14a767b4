"""The pages that are printed from the code: `python docs/reference/printed.py` writes commands.md and metrics.md; a test keeps them true."""

import re
from pathlib import Path

from typer.main import get_command

from parityd import cli
from parityd.web.metrics import FAMILIES

HERE = Path(__file__).parent
TYPES = {int: "N", float: "X", Path: "FILE"}
COMMANDS_HEAD = """\
# Commands

<!-- Printed by `python docs/reference/printed.py`; a test keeps it true. -->

Every command takes `--config FILE`; without it `/etc/parityd/parityd.toml` is read where it exists, and every key can be given in the
environment ([settings](settings.md)). With `--json` standard output is JSON and nothing else.

**Exit status.** 0 is success. 3 is bad input or a state that the command cannot work with: one line on standard error says what and where, and where it
can what mends it. `check` exits 1 at WARNING and 2 at anything worse; `compare` 2 for no-go; `audit verify` 2 for a broken chain; `doctor` 1 for warnings and
2 for problems.

**Owner and lock.** What changes the store or the published files (`run`, `check`, `report`, `restore`, `rebuild`, `init`) takes the lock of `data_dir`, so that one
process works there at a time, and runs as the owner of `data_dir`; so do `backup` and `requeue`, which need no lock. Anybody else is refused with the command that works, such as
`sudo -u parityd parityd backup /var/backups/parityd`. `override` is for every operator: who may write into `overrides/` may stop trading, and who may raise risk is said in
[files](files.md#overrides).

"""
METRICS_HEAD = """\
# Metrics

<!-- Printed by `python docs/reference/printed.py`; a test keeps it true. -->

`GET /metrics` serves these in the text format of Prometheus. Rules and a dashboard that use them are in `config/prometheus` and `config/grafana`.

A measure that could not be taken has no series at all, never a zero. `strategy="*"` stands for what is published to strategies that parityd has not seen. `book` is `live` or
`backtest`; a kind or code that is none of the documented ones counts as `other`. The number of strategies is bounded by `limits.strategies`.

| metric | type | labels | meaning | what to do |
|---|---|---|---|---|
"""


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def metrics() -> str:
    rows = [f"| `{f.full}` | {f.kind} | {' '.join(f'`{x}`' for x in f.labels)} | {cell(f.means)} | {cell(f.do)} |" for f in FAMILIES]
    return METRICS_HEAD + "\n".join(rows) + "\n"


def commands() -> str:
    cli.mount()
    return COMMANDS_HEAD + "\n".join(section(name, one) for name, one in walked(get_command(cli.app), ""))


def walked(group, before):
    for name, one in sorted(group.commands.items()):
        if hasattr(one, "commands"):
            yield from walked(one, f"{before}{name} ")
        else:
            yield before + name, one


def section(name: str, one) -> str:
    said = re.sub(r"\n\s*\n", "\n\n", "\n".join(line.strip() for line in (one.help or "").splitlines())).strip()
    parts = [p for p in said.split("\n\n") if not p.startswith("Example:")]
    example = next((" ".join(p.removeprefix("Example:").split()) for p in said.split("\n\n") if p.startswith("Example:")), "")
    arguments = [p for p in one.params if p.param_type_name == "argument"]
    options = [p for p in one.params if p.param_type_name == "option" and p.name != "config" and "--help" not in p.opts]
    usage = " ".join(["parityd", name, *(usage_of(p) for p in arguments), *(["[OPTIONS]"] if options else [])])
    out = [f"## `{name}`\n", "\n\n".join(" ".join(p.split()) for p in parts) + "\n", f"```text\n{usage}\n```\n"]
    if example:
        out.append(f"```sh\n{example}\n```\n")
    rows = [f"| `{usage_of(p)}` | {cell(getattr(p, 'help', None) or '')} |" for p in arguments if getattr(p, "help", None)]
    rows += [f"| {option(p)} | {cell(p.help or '')}{default(p)} |" for p in options]
    if rows:
        out.append("| | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(out)


def usage_of(p) -> str:
    return p.metavar or (p.name.upper() + ("..." if p.nargs == -1 else ""))


def option(p) -> str:
    value = "" if getattr(p, "is_flag", False) else " " + (p.metavar or TYPES.get(p.type_descriptor.annotation, "TEXT"))
    return ", ".join(f"`{o}{value}`" for o in p.opts)


def default(p) -> str:
    shown = p.default not in (None, "", False, [], ()) and not callable(p.default)
    return f" Default: `{p.default}`." if shown else ""


PAGES = {"commands.md": commands, "metrics.md": metrics}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (HERE / page).write_text(make(), encoding="utf-8")
