"""Four strategies, six full days each, from outside: good, warning, critical, emergency, and the action that each must get.

Tracking error and sample correlation are set by construction: price differences are plus or minus the wanted size, balanced, and the market's
moves are scaled until the returns correlate as wanted, worked out here by a ledger of our own. (One strategy in fifty raises a drift alarm by chance in so
many trades, which is the budget; these seeds do not.)
"""

from datetime import timedelta
from random import Random

import numpy as np
import pytest
from e2e.box import Box, Record, at, decision, fill, heartbeat, mark

DAYS, AN_INTERVAL, BASE = 6, 3, 20.0
INTERVALS = DAYS * 96
BEGIN = at(0, day=-DAYS)
FIRST_SEED = 20
CONFIG = "[escalation]\nwarning_periods = 99\ncritical_periods = 99\n"
SCENARIOS = {
    "good": (8.0, 0.99, "OK", "CONTINUE"),
    "warning": (22.0, 0.65, "WARNING", "WARNING"),
    "critical": (45.0, 0.45, "CRITICAL", "REDUCE_SIZE"),
    "emergency": (85.0, 0.25, "EMERGENCY", "EMERGENCY_STOP"),
}


class Plan:
    """One strategy's trades: signed quantities and price differences by (interval, place)."""

    def __init__(self, bps: float, seed: int) -> None:
        rng = Random(seed)
        n = INTERVALS * AN_INTERVAL
        signs = [1.0, -1.0] * (n // 2)
        rng.shuffle(signs)
        self.bps = bps * np.array(signs).reshape(INTERVALS, AN_INTERVAL)
        self.quantity = np.array([1.0, -1.0] * (n // 2)).reshape(INTERVALS, AN_INTERVAL)
        self.quantity[0, 0] = BASE
        self.moves = np.array([rng.gauss(0, 1) for _ in range(INTERVALS)])

    def prices(self, scale: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """The mark at each boundary."""
        return np.round(100.0 * np.exp(np.concatenate([[0.0], np.cumsum(scale * self.moves)])), 9)

    def fills(self, price: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        """Live prices; the backtest's are the mark at the interval's begin."""
        return price[:-1, None] * (1.0 + np.sign(self.quantity) * self.bps / 1e4)

    def correlation(self, scale: float) -> float:
        """Of the profits by interval, both books valued with the same marks."""
        price = self.prices(scale)
        held = np.concatenate([[0.0], np.cumsum(self.quantity.sum(axis=1))])[:-1]
        moved = price[1:] - price[:-1]
        back = held * moved + (self.quantity * (price[1:] - price[:-1])[:, None]).sum(axis=1)
        live = held * moved + (self.quantity * (price[1:, None] - self.fills(price))).sum(axis=1)
        return float(np.corrcoef(back, live)[0, 1])

    def scale_of(self, wanted: float) -> float:
        low, high = 1e-6, 1e-2
        for _ in range(60):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.correlation(middle) < wanted else (low, middle)
        return high


def records(name: str, plan: Plan, scale: float) -> tuple[list[Record], list[Record]]:
    price = plan.prices(scale)
    live_price = plan.fills(price)
    symbol = f"{name.upper()}/USD"
    decided, live = [], [mark(float(p), BEGIN + timedelta(minutes=15 * k), symbol) for k, p in enumerate(price)]
    for k in range(INTERVALS):
        for j in range(AN_INTERVAL):
            moment = BEGIN + timedelta(minutes=15 * k + 4 * j + 1)
            q = float(plan.quantity[k, j])
            one = {"symbol": symbol, "quantity": abs(q)}
            action = "buy" if q > 0 else "sell"
            trade = f"{k}-{j}"
            decided.append(decision(name, trade, moment, action=action, price=float(price[k]), **one))
            live.append(fill(name, trade, moment + timedelta(seconds=2), side=action, price=float(live_price[k, j]), **one))
    end = BEGIN + timedelta(days=DAYS, minutes=10)
    return [*decided, heartbeat(name, end)], [*live, heartbeat(name, end)]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Record]:
    """(what the check said, the override)."""
    box = Box(tmp_path_factory.mktemp("scenarios"), CONFIG)
    for seed, (name, (bps, wanted, _, _)) in enumerate(SCENARIOS.items(), FIRST_SEED):
        plan = Plan(bps, seed)
        decided, live = records(name, plan, plan.scale_of(wanted))
        box.drop("backtest", *decided)
        box.drop("live", *live)
    return box.check(at(0, 20)), box.override()


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_gets_its_action(judged: tuple[Record, Record], name: str) -> None:
    document, told = judged
    bps, wanted, level, action = SCENARIOS[name]
    entry = document["strategies"][name]
    said = (entry["level"], entry["action"], [f["detail"] for f in entry["findings"]])
    assert (entry["level"], entry["action"]) == (level, action), said
    assert entry["evidence"] == "sufficient" and entry["trades"]["matched"] >= 220
    assert abs(entry["metrics"]["tracking_error_bps"] - bps) < 1e-6, said
    assert abs(entry["metrics"]["correlation"] - wanted) < 1e-6, said
    assert told["strategies"][name]["action"] == action


def test_the_top_level_is_the_most_severe(judged: tuple[Record, Record]) -> None:
    document, told = judged
    assert document["action"] == told["action"] == "EMERGENCY_STOP" and document["exit"] == 2
    assert told["default"]["action"] == "CONTINUE"


def test_a_good_strategy_is_graded_and_its_figures_are_a_hand_computation(judged: tuple[Record, Record]) -> None:
    entry = judged[0]["strategies"]["good"]
    plan = Plan(SCENARIOS["good"][0], FIRST_SEED)
    assert entry["grade"] == "GOOD" and entry["findings"] == []
    assert abs(entry["metrics"]["correlation"] - plan.correlation(plan.scale_of(0.99))) < 1e-9
