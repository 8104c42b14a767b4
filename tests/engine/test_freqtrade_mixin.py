"""The mixin for freqtrade's strategies, without freqtrade: what it lets through. `tests/integrations` tries it with the real one."""

import json
import logging
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from engine.fuzz_gate import publication, put

import parityd
from parityd.engine.freqtrade import ParityMixin

ROOT = Path(parityd.__file__).parent.parent
NOW = datetime(2026, 11, 20, 10, 17, 3, tzinfo=UTC)
TRADE = SimpleNamespace(pair="BTC/USDT", is_short=False)
ENTRY = {
    "pair": "BTC/USDT", "order_type": "limit", "amount": 2.0, "rate": 100.0, "time_in_force": "GTC", "current_time": NOW, "entry_tag": "dip", "side": "long",
}  # fmt: skip
STAKE = {
    "pair": "BTC/USDT", "current_time": NOW, "current_rate": 100.0, "proposed_stake": 200.0, "min_stake": 10.0, "max_stake": 1000.0, "leverage": 1.0,
    "entry_tag": "dip", "side": "long",
}  # fmt: skip
EXIT = {
    "pair": "BTC/USDT", "trade": TRADE, "order_type": "limit", "amount": 2.0, "rate": 100.0, "time_in_force": "GTC", "exit_reason": "roi", "current_time": NOW,
}  # fmt: skip
ADJUST = {"trade": TRADE, "current_time": NOW, "current_rate": 100.0, "current_profit": -0.02, "min_stake": 10.0, "max_stake": 1000.0}
STOPS = ["DISABLE_TRADING", "EMERGENCY_STOP"]


class Engine:
    """What freqtrade's own class does where a strategy says nothing."""

    timeframe = "15m"

    def confirm_trade_entry(self, pair, order_type, amount, rate, time_in_force, current_time, entry_tag, side, **kwargs):
        return True

    def confirm_trade_exit(self, pair, trade, order_type, amount, rate, time_in_force, exit_reason, current_time, **kwargs):
        return True

    def custom_stake_amount(
        self, pair, current_time, current_rate, proposed_stake, min_stake, max_stake, leverage, entry_tag, side, **kwargs
    ):
        return proposed_stake

    def check_entry_timeout(self, pair, trade, order, current_time, **kwargs):
        return False


@pytest.fixture
def data(tmp_path):
    for folder in ("system_actions", "spool/live"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "system_actions").chmod(0o755)
    return tmp_path


@pytest.fixture
def made(data):
    """A strategy under an action, of a class with the given hooks."""

    def make(action=None, *bases, **hooks):
        if action:
            put(data / "system_actions", publication({"Dips": action}))
        paths = {"parity_actions": str(data / "system_actions"), "parity_spool": str(data / "spool" / "live")}
        return type("Dips", bases or (ParityMixin, Engine), paths | hooks)()

    return make


def told(data, kind):
    lines = [json.loads(line) for path in sorted((data / "spool" / "live").iterdir()) for line in path.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize(
    ("action", "entry", "stake", "timeout"),
    [("CONTINUE", True, 200.0, False), ("WARNING", True, 200.0, False), ("REDUCE_SIZE", True, 100.0, False)]
    + [(s, False, 0.0, True) for s in STOPS],
)
def test_each_action_is_obeyed(made, action, entry, stake, timeout):
    strategy = made(action)
    assert strategy.custom_stake_amount(**STAKE) == stake
    assert strategy.confirm_trade_entry(**ENTRY) is entry
    assert strategy.confirm_trade_exit(**EXIT) is True
    assert strategy.check_entry_timeout(pair="BTC/USDT", trade=TRADE, order=None, current_time=NOW) is timeout


def test_without_any_publication_there_is_no_entry_but_every_exit(made):
    strategy = made()
    assert not strategy.confirm_trade_entry(*ENTRY.values())
    assert strategy.confirm_trade_exit(*EXIT.values())


@pytest.mark.parametrize("bases", [(ParityMixin, Engine), (Engine, ParityMixin), (ParityMixin,)])
def test_the_order_of_base_classes_does_not_open_the_gate(made, bases):
    strategy = made("DISABLE_TRADING", *bases)
    assert not strategy.confirm_trade_entry(**ENTRY)
    assert strategy.custom_stake_amount(**STAKE) == 0.0
    assert strategy.confirm_trade_exit(**EXIT)


def test_an_own_hook_that_ignores_the_mixin_is_held_to_the_gate(made):
    hooks = {"confirm_trade_entry": lambda _self, **_: True, "custom_stake_amount": lambda _self, **_: 500.0}
    assert not made("EMERGENCY_STOP", **hooks).confirm_trade_entry(**ENTRY)
    strategy = made("REDUCE_SIZE", **hooks)
    assert strategy.custom_stake_amount(**STAKE) == 250.0


def test_an_own_hook_that_calls_super_is_scaled_once(made):
    def own(self, **call):
        return super(type(self), self).custom_stake_amount(**call) * 2

    assert made("REDUCE_SIZE", custom_stake_amount=own).custom_stake_amount(**STAKE) == 200.0


def test_what_the_strategy_refuses_stays_refused_and_is_no_decision(made, data):
    strategy = made("CONTINUE", confirm_trade_entry=lambda _self, **_: False, confirm_trade_exit=lambda _self, **_: False)
    assert not strategy.confirm_trade_entry(**ENTRY)
    assert not strategy.confirm_trade_exit(**EXIT)
    assert told(data, "decision") == []


def test_an_error_in_a_sizer_does_not_undo_the_scale(made, caplog):
    def own(_self, **_):
        raise ZeroDivisionError

    with caplog.at_level(logging.CRITICAL):
        assert made("REDUCE_SIZE", custom_stake_amount=own).custom_stake_amount(**STAKE) == 100.0
        assert made("DISABLE_TRADING", confirm_trade_entry=own).confirm_trade_entry(**ENTRY) is False


def test_a_gate_that_cannot_be_made_refuses(made, caplog):
    with caplog.at_level(logging.CRITICAL):
        assert made("CONTINUE", parity_strategy="no/such:name?").confirm_trade_entry(**ENTRY) is False


@pytest.mark.parametrize(("said", "action", "taken"), [
    (100.0, "REDUCE_SIZE", 50.0), ((100.0, "more"), "REDUCE_SIZE", (50.0, "more")), (100.0, "DISABLE_TRADING", None), (15.0, "REDUCE_SIZE", None),
    (-80.0, "DISABLE_TRADING", -80.0), ((-80.0, "less"), "EMERGENCY_STOP", (-80.0, "less")), (None, "DISABLE_TRADING", None), ((), "CONTINUE", ()),
])  # fmt: skip
def test_additions_are_scaled_or_refused_and_reductions_are_whole(made, said, action, taken):
    assert made(action, adjust_trade_position=lambda _self, **_: said).adjust_trade_position(**ADJUST) == taken


def test_a_stake_below_the_minimum_is_none(made):
    assert made("REDUCE_SIZE").custom_stake_amount(**STAKE | {"min_stake": 101.0}) == 0.0
    assert made("CONTINUE").custom_stake_amount(**STAKE | {"min_stake": 201.0}) == 200.0, "freqtrade's own affair"


def test_a_sizer_that_reads_the_multiplier_is_not_scaled_again_and_still_stopped(made):
    def own(self, proposed_stake, **_):
        return proposed_stake * self.parity_verdict().size_multiplier

    assert made("REDUCE_SIZE", custom_stake_amount=own, parity_scale=False).custom_stake_amount(**STAKE) == 100.0
    assert made("DISABLE_TRADING", parity_scale=False).custom_stake_amount(**STAKE) == 0.0


@pytest.mark.parametrize("mode", ["backtest", "hyperopt"])
def test_a_backtest_obeys_and_writes_nothing(made, data, mode):
    strategy = made("EMERGENCY_STOP", config={"runmode": SimpleNamespace(value=mode)})
    assert strategy.confirm_trade_entry(**ENTRY)
    strategy.bot_loop_start(current_time=NOW)
    assert list((data / "spool" / "live").iterdir()) == []


def test_a_decision_is_told_once_a_candle_with_the_size_before_the_scale(made, data):
    strategy = made("REDUCE_SIZE")
    for _ in range(3):
        strategy.custom_stake_amount(**STAKE)
        strategy.confirm_trade_entry(**ENTRY | {"amount": 1.0})
    (decision,) = told(data, "decision")
    assert (decision["ts"], decision["quantity"], decision["action"]) == ("2026-11-20T10:15:00.000000Z", 2.0, "buy")


@pytest.mark.parametrize("action", STOPS)
def test_a_refused_decision_is_told(made, data, action):
    made(action).custom_stake_amount(**STAKE | {"side": "short"})
    (decision,) = told(data, "decision")
    assert (decision["action"], decision["quantity"], decision["mark"]) == ("sell", 2.0, 100.0)


def test_a_heartbeat_acknowledges(made, data):
    made("DISABLE_TRADING").bot_loop_start(current_time=NOW)
    assert [beat["override_sequence"] for beat in told(data, "heartbeat")] == [17]


def test_a_spool_that_is_gone_stops_no_order(made, data, caplog):
    (data / "spool" / "live").rmdir()
    with caplog.at_level(logging.CRITICAL):
        strategy = made("CONTINUE")
        assert strategy.confirm_trade_entry(**ENTRY)
        strategy.bot_loop_start(current_time=NOW)


class Fresh(ParityMixin, Engine):
    """At the top of a module, where pickle finds it."""


def test_a_strategy_that_has_not_run_can_be_copied():
    assert isinstance(pickle.loads(pickle.dumps(Fresh())), Fresh)


@pytest.mark.parametrize("module", ["freqtrade", "nautilus", "nautilus_guard", "nautilus_records"])
def test_a_module_for_an_engine_is_importable_without_it(module):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import parityd.engine.{module}; print(sum('site-packages' in str(getattr(m, '__file__', '')) for m in sys.modules.values()))"
    done = subprocess.run([sys.executable, "-I", "-S", "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_the_actor_says_what_is_missing():
    import parityd.engine.nautilus as module

    with pytest.raises(ImportError, match="pip install nautilus_trader"):
        module.ParityActor  # noqa: B018
    with pytest.raises(AttributeError):
        module.Nothing  # noqa: B018
