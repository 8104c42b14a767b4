"""A data directory in which a daemon's turns were made on a clock of the past, and what it had to judge."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parityd.app import built, drain
from parityd.core.instants import parse_time, rfc3339
from parityd.service import obeying
from parityd.service.workplace import App
from parityd.settings import Settings, load

HOUR = 3600 * 10**9
DAY = 24 * HOUR
START = parse_time("2026-03-02T00:00:00Z")


class Clock:
    def __init__(self, ns: int = START) -> None:
        self.ns = ns

    def __call__(self) -> int:
        return self.ns


class Desk:
    """The folder, its settings and its clock."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder, self.clock = folder, Clock()
        self.file = folder / "parityd.toml"
        folder.mkdir(exist_ok=True)
        self.file.write_text(
            f'data_dir = "{folder / "data"}"\n[thresholds]\nmin_trades = 20\n[schedule]\ncheck_interval = "1h"\n', encoding="utf-8"
        )
        self.settings: Settings = load(self.file, env)

    @contextmanager
    def open(self) -> Iterator[App]:
        with built(self.settings, command="test", evaluation=self.clock) as app:
            yield app

    def drop(self, book: str, name: str, lines: list[dict]) -> None:
        text = "".join(json.dumps(x) + "\n" for x in lines)
        (self.settings.data_dir / "spool" / book / name).write_text(text, encoding="utf-8")

    def changes(self) -> list[tuple]:
        """Every change of action that the audit trail of a closed store tells."""
        with built(self.settings, command="test", evaluation=self.clock) as app:
            rows = [r for r in app.store.audit_rows() if r["event"] == "action.changed"]
            return [(r["ts"], r["strategy"], r["data"]["from"], r["data"]["to"], r["data"]["reason"]) for r in rows]


def pair(k: int, t: int, slip_bps: float, strategy: str = "momentum") -> tuple[dict, dict]:
    """A decision and its fill, `slip_bps` worse."""
    side = "buy" if k % 2 else "sell"
    sign = 1 if side == "buy" else -1
    base = {"strategy": strategy, "symbol": "BTC/USD", "trade_id": f"t-{k}", "quantity": 1.0, "side": side}
    decision = {**base, "kind": "decision", "action": side, "ts": rfc3339(t), "price": 100.0, "mark": 100.0, "fee": 0.1}
    fill = {
        **base,
        "kind": "fill",
        "fill_id": f"f-{k}",
        "order_id": f"o-{k}",
        "ts": rfc3339(t + 10**9),
        "price": 100.0 * (1 + sign * slip_bps / 1e4),
        "fee": 0.1,
    }
    return decision, fill


def live_through(desk: Desk, slips: list[float], *, an_hour: int = 4, operator: bool = False) -> None:
    """Days of trading, `slips[d]` bps worse on day d: files every hour, a scan after each, a check every hour, a report at 08:00."""
    k = 0
    with desk.open() as app:
        b = app.brain
        for hour in range(24 * len(slips) + 9):
            desk.clock.ns = START + hour * HOUR
            if hour < 24 * len(slips):
                trades = [
                    pair(k + i, desk.clock.ns + (i + 1) * HOUR // (an_hour + 1), slips[hour // 24] * (1 if i % 2 else 0.8))
                    for i in range(an_hour)
                ]
                k += an_hour
                desk.clock.ns += HOUR - 10**9
                desk.drop("backtest", f"{hour:04d}.jsonl", [d for d, _ in trades])
                desk.drop("live", f"{hour:04d}.jsonl", [f for _, f in trades])
                drain(app, at=desk.clock.ns)
                desk.clock.ns += 10**6
                b.evaluate(reports=False)
            if operator and hour == 5:
                _order(app, "force_disable")
            if operator and hour == 9:
                _order(app, "reset")
            desk.clock.ns = START + (hour + 1) * HOUR
            b.check()
            if (hour + 1) % 24 == 8 and hour > 24:
                b.reporter.of_day(rfc3339(desk.clock.ns - DAY)[:10], desk.clock.ns)


def _order(app: App, command: str) -> None:
    from parityd.core.commands import Command

    b = app.brain
    given = Command(command=command, strategy="*", operator="ann", reason="a try", accepted_ns=b.now(), accepted_boottime_ns=0, boot_id="")
    assert not obeying.command(b, given, "ann.json").failed
