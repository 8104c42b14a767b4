"""`parityd compare`, and how the commands that need no daemon refuse bad input.

1. Bad input is one line on standard error (what and where) and exit 3; no traceback.
2. `compare` exits 0 for go, 2 for no-go. `--config` is taken and not needed.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from parityd.backtest import Comparison, LogError, Side, compare_sides, load_decision_log, read_side

BAD_INPUT, NO_GO = 3, 2

ConfigOption = Annotated[Path | None, typer.Option("--config", help="Configuration file; these commands need none of it.")]


@contextmanager
def input_checked() -> Iterator[None]:
    """Rule 1 for what is done inside."""
    try:
        yield
    except ValueError as e:  # every error of data, logs and options is one
        typer.echo(f"parityd: {' '.join(str(e).split())}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as e:
        typer.echo(f"parityd: {e.filename or 'file'}: {e.strerror or e}", err=True)
        raise typer.Exit(BAD_INPUT) from None


def _read(path: Path) -> tuple[Side, bool]:
    """What is compared of a log, and whether it is cut short; the document itself is let go."""
    log = load_decision_log(path)
    try:
        return read_side(log), bool(log.get("truncated"))
    except LogError as e:
        raise LogError(f"{path}: {e}") from None


def _plain(line: str) -> str:
    """A line without what would move a terminal's cursor: symbols and reasons are a log's own words."""
    return "".join(c if c.isprintable() else " " for c in line)


def _described(result: Comparison) -> list[str]:
    rate = "n/a" if result.parity_rate is None else f"{result.parity_rate:.4%}"
    text = [
        f"{'GO' if result.go else 'NO-GO'}: parity rate {rate}, {result.mismatch_count} mismatches in {result.decisions} decisions over {result.hours:.1f} h; guards {result.guards}"
    ]
    text += [f"  {reason}" for reason in result.reasons]
    if result.mismatches:
        m = result.mismatches[0]
        text.append(f"  first mismatch {m.ts} {m.symbol}:")
        for side, action, quantity, reason in (("A", m.action_a, m.quantity_a, m.reason_a), ("B", m.action_b, m.quantity_b, m.reason_b)):
            size = "" if quantity is None else f" {quantity:g}"
            text.append(f"    {side} {action or 'no decision'}{size}" + (f": {reason}" if reason else ""))
    if result.cause:
        text.append(f"  likely cause: {result.cause}: {result.cause_detail}")
    if result.outside_a or result.outside_b:
        text.append(f"  outside the common time: {result.outside_a} decisions of A, {result.outside_b} of B")
    return text


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A decision log.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Compare two decision logs: exit 0 for go, 2 for no-go.

    Example: parityd compare backtest.json live.json
    """
    del config
    with input_checked():
        (first, cut_a), (second, cut_b) = _read(a), _read(b)
        result = compare_sides(first, second)
    if as_json:
        typer.echo(json.dumps({**result.to_dict(), "truncated_a": cut_a, "truncated_b": cut_b}))
    else:
        typer.echo("\n".join(_plain(line) for line in _described(result)))
        for path, cut in ((a, cut_a), (b, cut_b)):
            if cut:
                typer.echo(f"  {path} is cut short: read up to its last whole decision")
    raise typer.Exit(0 if result.go else NO_GO)
