"""Every metric of parityd: its name, what it means and what to do when it moves.

1. `FAMILIES` is the whole list; nothing is exported that does not stand in it, and each name carries the prefix `parityd_`.
2. A measure that was not taken has no series: None and NaN are never exported, and a strategy that is gone takes its series along.
3. Labels are bounded: books, kinds and codes are closed sets (what is foreign counts as `other`), strategies are limited by the daemon.
4. What belongs to strategies is written out once per change (`follow`), so that a scrape only joins prepared text.
5. This room reads content and keeps numbers; it knows neither files nor time.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from parityd.core.records import BOOKS, CODES, Record

PREFIX = "parityd_"
ACTIONS = ("CONTINUE", "WARNING", "REDUCE_SIZE", "DISABLE_TRADING", "EMERGENCY_STOP")
KINDS = tuple(sorted(str(c.__struct_config__.tag) for c in Record.__subclasses__()))
OTHER = "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Row = tuple[str, tuple[str, ...], float]  # family, label values after `strategy`, value


class Family(NamedTuple):
    """One metric: name without prefix, kind, labels, meaning, and what to do when it moves."""

    name: str
    kind: str
    labels: tuple[str, ...]
    means: str
    do: str

    @property
    def full(self) -> str:
        return PREFIX + self.name

    @property
    def help(self) -> str:
        return f"{self.means} {self.do}"


S = ("strategy",)
# fmt: off
FAMILIES = (
    Family("records_ingested_total", "counter", ("book", "kind"), "Records accepted into the store.",
           "Flat while the engine trades: look for files that wait in the spool and at records_rejected_total."),
    Family("records_rejected_total", "counter", ("book", "code"), "Records refused, by refusal code.",
           "Rising: read rejected/<book>/, mend the writer, then `parityd requeue FILE`."),
    Family("records_duplicate_total", "counter", ("book",), "Records seen before with the same content; they count once.",
           "Harmless; a steep rise means that a writer sends everything again."),
    Family("files_ingested_total", "counter", ("book",), "Files whose records are durable and that left the spool.",
           "Flat while files are dropped: see spool_backlog_files."),
    Family("spool_backlog_files", "gauge", ("book",), "Files that wait in the spool.",
           "Above 0 for minutes: the disk is full, a file is huge, or the daemon is slow; from 5 min of waiting in spool/live strategies are lagging."),
    Family("ingest_lag_seconds", "gauge", ("book",), "Age of the oldest file that waits in the spool, 0 when none waits.",
           "Over 300 in live the judgement is late; over 900 permissions are not renewed: find what blocks intake in the log."),
    Family("trades", "gauge", (*S, "state"), "Trades of the window by state: matched missed unexpected pending suppressed ambiguous.",
           "Missed or unexpected growing: compare the trade lists of engine and backtest; pending growing: one book has fallen silent."),
    Family("match_rate", "gauge", S, "Matched / settled executions of the window, 0 to 1.",
           "Falling: trades exist in one book only; see the missed and unexpected lists of the report."),
    Family("tracking_error_bps", "gauge", S, "Root mean square of the price difference of matched trades, in bps.",
           "20 warns, 50 reduces, 100 stops (profile standard): read the attribution to see which component grew."),
    Family("mean_price_diff_bps", "gauge", S, "Mean signed price difference, cost bps: positive = live is worse.",
           "A steady positive value is a bias: compare slippage and fees with what the backtest assumes."),
    Family("attribution_bps", "gauge", (*S, "component"), "Cost of live against the backtest by component, bps of notional; they add up to total_pnl_diff, action_impact stands beside it.",
           "The largest component names the cause; operations explains each."),
    Family("correlation", "gauge", S, "Correlation of interval returns of the two books.",
           "Below 0.8 the books no longer earn at the same times: check data feeds and missed trades."),
    Family("hit_rate", "gauge", S, "Share of active intervals in which both books have the same sign of return.",
           "Falling with a stable tracking error: look at sizing and missed trades."),
    Family("decision_parity", "gauge", S, "Share of decisions alike in both books.",
           "Below 0.99: the live signal differs from the backtest's; run `parityd compare A B` on two decision logs."),
    Family("action_parity", "gauge", S, "The same over the decisions in which either book acts.",
           "Below 0.99: as decision_parity."),
    Family("cumulative_drift_bps", "gauge", S, "Sum of the daily mean price differences of the last 7 days, bps.",
           "Beyond 100 either way warns, 200 asks to disable trading: a persistent bias that daily figures hide."),
    Family("quality_score", "gauge", S, "Parity in one number, 0 to 100.",
           "Falling over days: open the strategy's page and see which part fell."),
    Family("drift_evidence", "gauge", (*S, "channel"), "Evidence of drift by channel as a share of its alarm limit: 1 is an alarm.",
           "Rising towards 1: see the strategy's page for the time of change and its size."),
    Family("action_level", "gauge", S, "Action in force: 0 CONTINUE 1 WARNING 2 REDUCE_SIZE 3 DISABLE_TRADING 4 EMERGENCY_STOP; strategy * is what an unknown strategy obeys.",
           "Any rise: read the reason on the status page, then the action's page in operations."),
    Family("trading_enabled", "gauge", S, "1 while the strategy may take new risk, else 0.",
           "0: entries are refused by the engine's Gate; see the reason in trading_override.json."),
    Family("size_multiplier", "gauge", S, "Factor on orders that add exposure, 0 to 1.",
           "Below 1: parityd has reduced or stopped the strategy."),
    Family("override_active", "gauge", (*S, "command"), "1 while an operator's command is in force; strategy * = for all.",
           "Make sure that somebody owns it; it ends at its expiry or by `reset` (a HALT: by removing its file)."),
    Family("escalation_streak", "gauge", (*S, "level"), "Closed periods in a row at this level or worse.",
           "3 at WARNING reduce, 2 at CRITICAL disable: act before the next period closes."),
    Family("finding_active", "gauge", (*S, "code"), "1 while a finding of this code stands.",
           "Each code has its page in operations: meaning, first three checks, how to leave it."),
    Family("free_bytes", "gauge", (), "Free bytes on the file system of data_dir.",
           "Under 10 % is a finding, under limits.min_free intake pauses: free space or enlarge the volume."),
    Family("acknowledged_sequence", "gauge", S, "Newest decision_sequence that the engine says it obeys.",
           "Behind the published one for a minute: the engine does not read its file; check its heartbeats and path."),
    Family("check_duration_seconds", "histogram", (), "Time of one check of all strategies.",
           "Growing: too many strategies or a slow disk; checks must finish within their interval."),
    Family("report_duration_seconds", "histogram", (), "Time to make one daily report.",
           "Growing with the trades of a day is normal; minutes are not: look at the disk."),
    Family("last_check_timestamp_seconds", "gauge", (), "When the last check finished, epoch seconds.",
           "Older than two intervals: permissions stop being renewed; read the log."),
    Family("last_report_timestamp_seconds", "gauge", (), "When the last daily report was written, epoch seconds.",
           "Older than 26 h: run `parityd report` and read what it says."),
    Family("publish_timestamp_seconds", "gauge", (), "When trading_override.json was last replaced, epoch seconds.",
           "Older than its ttl: engines stop by themselves (dead man's switch); see readyz for the reason."),
    Family("publish_failures_total", "counter", (), "Publications that failed.",
           "Any increase: disk full, read-only or permissions of system_actions/."),
    Family("config_last_reload_successful", "gauge", (), "1 if the last reload of the configuration was taken, else 0.",
           "0: the old configuration runs on; `parityd config check` names the mistake."),
    Family("audit_entries_total", "counter", (), "Lines added to the audit since start.",
           "A burst: read the newest audit file; something changes back and forth."),
    Family("build_info", "gauge", ("version",), "1, labelled with the running version.",
           "Changes with an upgrade; two versions on one instance: a restart is missing."),
)
# fmt: on
_BY_NAME = {f.name: f for f in FAMILIES}
_PLAIN = (
    "match_rate",
    "tracking_error_bps",
    "mean_price_diff_bps",
    "correlation",
    "hit_rate",
    "decision_parity",
    "action_parity",
    "cumulative_drift_bps",
)
_STATES = ("matched", "missed", "unexpected", "pending", "suppressed", "ambiguous")
COMPONENTS = {
    "data": "data_impact", "timing": "timing_impact", "slippage": "slippage_impact", "impact": "market_impact", "fee": "fee_impact",
    "sizing": "sizing_impact", "model": "model_impact", "funding": "funding_impact", "carry": "carry_impact",
    "total_pnl_diff": "total_pnl_diff", "action_impact": "action_impact",
}  # fmt: skip
"""Label of a component -> its name in reports, without `_bps`."""
_PER_STRATEGY = tuple(f for f in FAMILIES if f.labels[:1] == S)
_PLACE = {f.name: i for i, f in enumerate(_PER_STRATEGY)}


def number(value: Any) -> float | None:
    """A finite number, or None for what was not measured."""
    if isinstance(value, bool | int):
        return float(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    return None


def escape(text: str) -> str:
    """A label value as the exposition format wants it."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def size_of(entry: Mapping[str, Any]) -> float | None:
    """The published size of an entry; where it is not said, what its action fixes."""
    given = number(entry.get("size_multiplier"))
    fixed = {"CONTINUE": 1.0, "WARNING": 1.0, "DISABLE_TRADING": 0.0, "EMERGENCY_STOP": 0.0}
    return given if given is not None else fixed.get(str(entry.get("action")))


def evidence_of(drift: Any) -> dict[str, float]:
    """Evidence by channel as a share of the limit, from `drift.channels.<name>` = {evidence, limit}, {share} or a plain share."""
    channels = drift.get("channels") if isinstance(drift, Mapping) else None
    found: dict[str, float] = {}
    for name, c in channels.items() if isinstance(channels, Mapping) else ():
        if isinstance(c, Mapping):
            value, limit = number(c.get("evidence")), number(c.get("limit"))
            share = value / limit if value is not None and limit else number(c.get("share"))
        else:
            share = number(c)
        if share is not None:
            found[str(name)] = max(share, 0.0)  # evidence is a logarithm: below 0 there is none
    return found


def commands_of(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The operators' commands on an entry: its list `overrides`, else its `override` (one, several or none)."""
    given = entry.get("overrides") or entry.get("override")
    return [c for c in (given if isinstance(given, list | tuple) else [given]) if isinstance(c, Mapping) and c.get("command")]


def _rows(entry: Mapping[str, Any]) -> Iterable[tuple[str, tuple[str, ...], Any]]:
    metrics, trades = entry.get("metrics") or {}, entry.get("trades") or {}
    for state in _STATES:
        yield "trades", (state,), trades.get(state)
    for name in _PLAIN:
        yield name, (), metrics.get(name)
    yield "quality_score", (), entry.get("quality_score", metrics.get("quality_score"))
    attribution = entry.get("attribution") or metrics.get("attribution") or metrics
    for component, name in COMPONENTS.items():
        yield "attribution_bps", (component,), attribution.get(name + "_bps")
    for channel, share in evidence_of(entry.get("drift")).items():
        yield "drift_evidence", (channel,), share
    for level, n in (entry.get("streaks") or {}).items():
        yield "escalation_streak", (str(level).upper(),), n
    for code in sorted({str(f["code"]) for f in entry.get("findings") or () if f.get("code")}):
        yield "finding_active", (code,), 1.0
    yield "acknowledged_sequence", (), entry.get("acknowledged_sequence")
    yield from _standing(entry)


def _standing(entry: Mapping[str, Any]) -> Iterable[tuple[str, tuple[str, ...], Any]]:
    action = entry.get("action")
    if action in ACTIONS:
        yield "action_level", (), ACTIONS.index(action)
        yield "trading_enabled", (), entry.get("trading_enabled", ACTIONS.index(action) < 3)
        yield "size_multiplier", (), size_of(entry)
    for command in sorted({str(c["command"]) for c in commands_of(entry)}):
        yield "override_active", (command,), 1.0


def _text(strategy: str, rows: Iterable[Row]) -> tuple[str, ...]:
    """One strategy's lines, one text per family in the order of the list."""
    lines = [""] * len(_PER_STRATEGY)
    label = escape(strategy)
    for name, values, value in rows:
        family = _BY_NAME[name]
        rest = "".join(f',{k}="{escape(v)}"' for k, v in zip(family.labels[1:], values, strict=True))
        lines[_PLACE[name]] += f'{family.full}{{strategy="{label}"{rest}}} {value!r}\n'
    return tuple(lines)


class _Gauges(Collector):
    """Gauges that exist only while they have a value."""

    def __init__(self) -> None:
        self.values: dict[str, dict[tuple[str, ...], float]] = {}

    def put(self, name: str, value: float | None, *labels: str) -> None:
        at, found = self.values.setdefault(name, {}), number(value)
        if found is None:
            at.pop(labels, None)
        else:
            at[labels] = found

    def collect(self) -> Iterable[Metric]:
        for name, at in sorted(self.values.items()):
            family = GaugeMetricFamily(PREFIX + name, _BY_NAME[name].help, labels=_BY_NAME[name].labels)
            for labels, value in sorted(at.items()):
                family.add_metric(labels, value)
            yield family


class Metrics:
    """The daemon's numbers for Prometheus. Not for several writers at once; `render` may run beside them."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._gauges = _Gauges()
        self.registry.register(self._gauges)
        self._counters = {f.name: Counter(f.full, f.help, f.labels, registry=self.registry) for f in FAMILIES if f.kind == "counter"}
        self._histograms = {
            f.name: Histogram(f.full, f.help, registry=self.registry, buckets=_BUCKETS) for f in FAMILIES if f.kind == "histogram"
        }
        self._rows: dict[str, tuple[list[Row], tuple[str, ...]]] = {}
        self._prepared = b""
        self._gauges.put("build_info", 1.0, version)
        for book in BOOKS:
            self._start(book)

    def _start(self, book: str) -> None:
        """Counters begin at 0, so that their first increase is seen as one."""
        for kind in KINDS:
            self._counters["records_ingested_total"].labels(book, kind)
        for code in CODES:
            self._counters["records_rejected_total"].labels(book, code)
        for name in ("records_duplicate_total", "files_ingested_total"):
            self._counters[name].labels(book)

    def ingested(self, book: str, kind: str, n: int = 1) -> None:
        self._counters["records_ingested_total"].labels(book, kind if kind in KINDS else OTHER).inc(n)

    def rejected(self, book: str, code: str, n: int = 1) -> None:
        self._counters["records_rejected_total"].labels(book, code if code in CODES else OTHER).inc(n)

    def duplicates(self, book: str, n: int = 1) -> None:
        self._counters["records_duplicate_total"].labels(book).inc(n)

    def files(self, book: str, n: int = 1) -> None:
        self._counters["files_ingested_total"].labels(book).inc(n)

    def backlog(self, book: str, files: int, oldest_seconds: float | None) -> None:
        """Files waiting in a book's spool and the age of the oldest; None where the spool could not be read."""
        self._gauges.put("spool_backlog_files", files, book)
        self._gauges.put("ingest_lag_seconds", oldest_seconds, book)

    def free(self, size: float | None) -> None:
        self._gauges.put("free_bytes", size)

    def checked(self, at_ns: int, seconds: float) -> None:
        self._histograms["check_duration_seconds"].observe(seconds)
        self._gauges.put("last_check_timestamp_seconds", at_ns / 1e9)

    def reported(self, at_ns: int, seconds: float | None = None) -> None:
        """A report was written; without its duration where it is only remembered at start."""
        if seconds is not None:
            self._histograms["report_duration_seconds"].observe(seconds)
        self._gauges.put("last_report_timestamp_seconds", at_ns / 1e9)

    def published(self, at_ns: int) -> None:
        self._gauges.put("publish_timestamp_seconds", at_ns / 1e9)

    def publish_failed(self) -> None:
        self._counters["publish_failures_total"].inc()

    def reloaded(self, *, successful: bool) -> None:
        self._gauges.put("config_last_reload_successful", float(successful))

    def audited(self, n: int = 1) -> None:
        self._counters["audit_entries_total"].inc(n)

    def follow(self, action: Mapping[str, Any]) -> None:
        """Take all that belongs to strategies from the content of `parity_action.json`; what it no longer names is dropped."""
        entries = dict(action.get("strategies") or {})
        everyone = {"override": action.get("override"), **(action.get("default") or {})}
        known: dict[str, tuple[list[Row], tuple[str, ...]]] = {}
        for name, entry in entries.items():
            self._keep(known, str(name), _rows(entry))
        if "*" not in entries:
            self._keep(known, "*", _standing(everyone))
        if known.keys() != self._rows.keys() or any(known[k] is not self._rows[k] for k in known):
            self._rows = known
            self._prepared = _join(known.values())

    def _keep(
        self, known: dict[str, tuple[list[Row], tuple[str, ...]]], name: str, raw: Iterable[tuple[str, tuple[str, ...], Any]]
    ) -> None:
        rows = [(family, labels, v) for family, labels, value in raw if (v := number(value)) is not None]
        old = self._rows.get(name)
        known[name] = old if old is not None and old[0] == rows else (rows, _text(name, rows))

    def render(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry) + self._prepared


_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


def _join(chunks: Iterable[tuple[list[Row], tuple[str, ...]]]) -> bytes:
    texts = [text for _, text in chunks]
    parts: list[str] = []
    for i, family in enumerate(_PER_STRATEGY):
        lines = [text[i] for text in texts if text[i]]
        if lines:
            parts += [f"# HELP {family.full} {family.help}\n# TYPE {family.full} gauge\n", *lines]
    return "".join(parts).encode()
