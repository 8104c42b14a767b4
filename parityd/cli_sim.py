"""`parityd simulate` and `parityd backtest`: parse, call, print; decide nothing.

1. Bad input is one line on standard error (what and where) and exit 3; no traceback.
2. `register` hangs these two and `compare` into an application. They touch neither store nor daemon; `--config` is taken and not needed.
"""

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from parityd.backtest import (
    BacktestConfig,
    BacktestResult,
    Bars,
    BarsError,
    DecisionError,
    ExecutionSimulator,
    MarketDataError,
    Strategy,
    load_bars,
    load_orders,
    load_quotes,
    load_strategy,
    records,
    run_backtest_production,
    write_records,
)
from parityd.cli_compare import ConfigOption, compare, input_checked
from parityd.edges.clock import now
from parityd.edges.market_data import lines, read_table
from parityd.sim import (
    FeeSchedule,
    FixedSpread,
    LatencyModel,
    ProbabilisticQueue,
    QueueModel,
    RecordedLatency,
    SlippageModel,
    SquareRootImpact,
    WalkTheBook,
    by_symbol,
    fill_record,
    run_orders,
)

_LATENCY_NAMES = ("submit_ms", "market_data_ms", "notice_ms")
_SLIPPAGE: Mapping[str, Callable[[], Any]] = {
    "reference": SlippageModel,
    "book": WalkTheBook,
    "square-root": SquareRootImpact,
    "almgren": SquareRootImpact.fitted,
}
_QUEUES: Mapping[str, Callable[[], Any]] = {
    "reference": QueueModel,
    "power": ProbabilisticQueue,
    "log": lambda: ProbabilisticQueue(function="log"),
}


class UsageError(ValueError):
    """An option that cannot be: which, and why."""


def _chosen(option: str, value: str, table: Mapping[str, Callable[[], Any]]) -> Any:
    if value not in table:
        raise UsageError(f"{option}: {value!r} is none of {', '.join(table)}")
    return table[value]()


def _fees(text: str) -> FeeSchedule:
    if not text:
        return FeeSchedule()
    try:
        maker, taker, market = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--fees: {text!r} is not maker,taker,market in bps") from None
    return FeeSchedule(maker_bps=maker, taker_bps=taker, market_bps=market)


def _latency(path: Path | None) -> LatencyModel | RecordedLatency:
    if path is None:
        return LatencyModel()
    rows = read_table(path)
    names = [n for n in _LATENCY_NAMES if rows and n in rows[0]]
    if "submit_ms" not in names:
        raise UsageError(f"{path}: no column submit_ms")
    try:
        return RecordedLatency(np.array([[float(row[n] or 0.0) if n in names else 0.0 for n in _LATENCY_NAMES] for row in rows]))
    except (TypeError, ValueError) as e:
        raise UsageError(f"{path}: {e}") from None


def _simulator(*, seed: int, slippage: str, queue: str, latency: Path | None, fees: str, preset: str) -> ExecutionSimulator:
    return ExecutionSimulator(
        seed, preset=preset, fees=_fees(fees), latency=_latency(latency),
        slippage=_chosen("--slippage", slippage, _SLIPPAGE), queue=_chosen("--queue", queue, _QUEUES),
    )  # fmt: skip


def _put(out: Path | None, data: list[dict[str, Any]]) -> None:
    if out is None or str(out) == "-":
        sys.stdout.write(lines(data).decode())
    else:
        write_records(out, data)


SeedOption = Annotated[int, typer.Option("--seed", help="Seed of every draw: the same seed gives the same output.")]
SlippageOption = Annotated[str, typer.Option("--slippage", help="reference, book, square-root or almgren.")]
QueueOption = Annotated[str, typer.Option("--queue", help="reference, power or log.")]
LatencyOption = Annotated[
    Path | None, typer.Option("--latency", help="Recorded latencies to draw from: submit_ms [market_data_ms notice_ms].")
]
FeesOption = Annotated[str, typer.Option("--fees", help="maker,taker,market in bps (reference: 5,10,15).")]
SpreadOption = Annotated[float, typer.Option("--spread-bps", help="Spread where the data gives only bars.")]
PresetOption = Annotated[str, typer.Option("--preset", help="reference.")]


def simulate(
    orders: Annotated[
        Path, typer.Argument(help="Orders: ts symbol side quantity [order_type limit_price ...]; CSV, JSON lines or Parquet.")
    ],
    quotes: Annotated[Path, typer.Argument(help="Quotes, L2 levels, or bars.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the native records here (else to standard output).")] = None,
    strategy: Annotated[str, typer.Option("--strategy", help="Strategy of orders that name none.")] = "simulated",
    symbol: Annotated[str, typer.Option("--symbol", help="Symbol of quotes that name none.")] = "",
    seed: SeedOption = 0,
    preset: PresetOption = "reference",
    slippage: SlippageOption = "reference",
    queue: QueueOption = "reference",
    latency: LatencyOption = None,
    fees: FeesOption = "",
    spread_bps: SpreadOption = 2.0,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the execution statistics as JSON (to standard error where the records go to standard output)."),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Simulate orders against quotes; writes fills (and orders that never filled) as native records.

    Example: parityd simulate orders.csv quotes.csv --out fills.jsonl
    """
    del config
    with input_checked():
        simulator = _simulator(seed=seed, slippage=slippage, queue=queue, latency=latency, fees=fees, preset=preset)
        wanted = load_orders(orders, strategy=strategy)
        table = by_symbol(load_quotes(quotes, symbol=symbol, spread=FixedSpread(spread_bps)))
        outcome = run_orders(simulator, wanted, table)
        _put(out, [fill_record(f) for f in outcome.fills] + outcome.records())
    statistics = simulator.get_execution_statistics()
    beside = out is None or str(out) == "-"
    if as_json:
        typer.echo(json.dumps(statistics.to_dict()), err=beside)
        return
    t = statistics.total

    def shown(value: float | None, form: str) -> str:
        return "n/a" if value is None else format(value, form)

    typer.echo(
        f"{t.orders} orders, {t.fills} fills; fill rate {shown(t.fill_rate, '.1%')}, partial {shown(t.partial_fill_rate, '.1%')}, mean fee "
        f"{shown(t.mean_fee, '.4f')}, mean slippage {shown(t.mean_slippage_bps, '.2f')} bps, mean latency {shown(t.mean_latency_ms, '.1f')} ms",
        err=beside,
    )


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--param: {text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _gather(paths: list[Path], symbol: str) -> dict[str, Bars]:
    found: dict[str, Bars] = {}
    for path in paths:
        for name, one in load_bars(path, symbol=symbol).items():
            if name in found:
                raise MarketDataError(path, f"{name} was given by an earlier file")
            found[name] = one
    return found


def backtest(
    data: Annotated[list[Path], typer.Argument(help="Bars or marks; CSV, JSON lines or Parquet; one file a symbol, or a column symbol.")],
    strategy: Annotated[str, typer.Option("--strategy", help="crossover, module:Name, or file.py:Name.")] = "crossover",
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="NAME=VALUE for the strategy, any number of times.")] = None,
    fast: Annotated[int | None, typer.Option("--fast", help="crossover: the fast window.")] = None,
    slow: Annotated[int | None, typer.Option("--slow", help="crossover: the slow window.")] = None,
    symbol: Annotated[str, typer.Option("--symbol", help="The symbol of a file that names none, or the one to take.")] = "",
    capital: Annotated[float, typer.Option("--capital", help="Initial capital.")] = 10_000.0,
    commission: Annotated[float, typer.Option("--commission", help="Commission as a share of the notional.")] = 0.001,
    slippage_rate: Annotated[float, typer.Option("--slippage-rate", help="Slippage as a share of the price.")] = 0.0005,
    fill_at: Annotated[str, typer.Option("--fill-at", help="close or next_open.")] = "close",
    leverage: Annotated[float, typer.Option("--leverage", help="Gross exposure over equity, at most.")] = 1.0,
    log_directory: Annotated[Path, typer.Option("--log-directory", help="Where the decision logs go.")] = Path("decision_logs"),
    no_log: Annotated[bool, typer.Option("--no-log", help="Write no decision log.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--records", "-o", help="Write native records to this file (a spool's folder: a file of the run's name in it)."),
    ] = None,
    holds: Annotated[bool, typer.Option("--holds", help="Native records with the decisions to hold.")] = False,
    simulated: Annotated[bool, typer.Option("--simulator", help="Fill through the execution simulator instead of fixed rates.")] = False,
    seed: SeedOption = 0,
    preset: PresetOption = "reference",
    slippage: SlippageOption = "reference",
    queue: QueueOption = "reference",
    latency: LatencyOption = None,
    fees: FeesOption = "",
    spread_bps: SpreadOption = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Backtest the very strategy that trades live; writes its decision log, and native records with their run.

    Example: parityd backtest BTC-USD.csv --strategy mine.py:Mine -p window=24
    """
    del config
    with input_checked():
        given = dict(_parameter(p) for p in param or [])
        given |= {k: v for k, v in (("fast", fast), ("slow", slow)) if v is not None}
        chosen = load_strategy(strategy, given)
        settings = BacktestConfig(
            initial_capital=capital, commission_rate=commission, slippage_rate=slippage_rate, fill_at=fill_at, leverage=leverage,  # type: ignore[arg-type]
            simulator=_simulator(seed=seed, slippage=slippage, queue=queue, latency=latency, fees=fees, preset=preset) if simulated else None,
            spread=FixedSpread(spread_bps) if simulated else None, enable_decision_logging=not no_log, log_directory=str(log_directory),
        )  # fmt: skip
        table = _gather(data, symbol)
        result = _run(strategy, chosen, table, settings)
        written = _write_native(result, out, holds=holds) if out is not None else None
    if as_json:
        typer.echo(msgspec.json.encode({**result.to_dict(), "records": str(written) if written else None}).decode())
        return
    typer.echo(result.summary())
    for path in result.log_paths:
        typer.echo(f"  decision log {path}")
    if written is not None:
        typer.echo(f"  native records {written}")


def _run(name: str, strategy: Strategy, table: Mapping[str, Bars], settings: BacktestConfig) -> BacktestResult:
    """The run; what the strategy's own code raises becomes one line that names its place."""
    try:
        return run_backtest_production(strategy, table, settings)
    except (BarsError, DecisionError, OSError):
        raise
    except Exception as e:
        place = traceback.extract_tb(e.__traceback__)[-1]
        raise UsageError(f"{name} raised {type(e).__name__}: {e} ({place.filename}:{place.lineno})") from e


def _write_native(result: BacktestResult, out: Path, *, holds: bool) -> Path:
    target = out / f"{result.run_id}.jsonl" if out.is_dir() else out
    return write_records(target, list(records(result, created_ns=now(), holds=holds)))


def register(app: typer.Typer) -> None:
    """Hang the commands into an application."""
    app.command("simulate")(simulate)
    app.command("backtest")(backtest)
    app.command("compare")(compare)
