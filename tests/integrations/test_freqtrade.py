"""The real freqtrade obeys the real daemon: a backtest that a stop meets half way, and the bot's own loop in dry-run mode."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from integrations.engines import ROOT, Daemon, interpreter, run

pytestmark = pytest.mark.integrations
CANDLES = Path(os.environ.get("FREQTRADE_CANDLES", ROOT.parent / "shared" / "data" / "freqtrade" / "ohlcv"))


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def daemon(tmp_path):
    interpreter("freqtrade")
    with Daemon(tmp_path) as daemon:
        yield daemon


def acknowledged(daemon, strategy):
    sequence = daemon.published()["decision_sequence"]
    daemon.until(lambda: daemon.metric("parityd_acknowledged_sequence", strategy=strategy) == sequence)
    assert daemon.refused() == []


@pytest.mark.parametrize("candles", [CANDLES, Path("/nowhere")], ids=["real candles", "random walk"])
def test_a_halt_in_mid_backtest_ends_entries_and_additions_and_no_exit(daemon, work, candles):
    if candles == CANDLES and not CANDLES.is_dir():
        pytest.skip("no folder of 5m candles: FREQTRADE_CANDLES=/path")
    told = run("freqtrade", "freqtrade_backtest.py", daemon.data, work, candles)
    assert told["entries_before"] > 5
    assert told["entries_after"] == 0
    assert told["exits_after"] > 0
    assert set(told["reasons"]) & {"roi", "rsi_hot", "stop_loss"}, "the strategy's own exits, not the end of the data alone"
    acknowledged(daemon, "Dips")


def test_the_bot_in_dry_run_cancels_its_bids_refuses_entries_and_sells(daemon, work):
    told = run("freqtrade", "freqtrade_dry_run.py", daemon.data, work)
    assert {pair: one["orders"][0][1] for pair, one in told["before"].items()} == {"AAA/USDT": "closed", "BBB/USDT": "open"}
    assert told["stopped"].keys() == {"AAA/USDT"}, "the open bid is cancelled, and no new entry made"
    assert not told["after"]["AAA/USDT"]["open"]
    assert told["page"], "the strategy as the page prints it loads, and asks"
    assert [order[0] for order in told["after"]["AAA/USDT"]["orders"]] == ["buy", "sell"]
    acknowledged(daemon, "Quiet")
    decisions = daemon.until(lambda: daemon.metric("parityd_records_ingested_total", book="live", kind="decision"))
    assert decisions == 4, "three entries, of which one was refused, and an exit"


def test_what_the_mixin_wrote_is_what_the_database_says(daemon, work):
    run("freqtrade", "freqtrade_dry_run.py", daemon.data, work)
    daemon.until(lambda: daemon.metric("parityd_records_ingested_total", book="live", kind="fill") == 2)
    before = daemon.metric("parityd_records_duplicate_total", book="live") or 0
    copy = daemon.data / "spool" / "live" / ".copy"
    with sqlite3.connect(work / "tradesv3.dryrun.sqlite") as source:
        source.execute("PRAGMA journal_mode = DELETE")
    source.close()
    shutil.copyfile(work / "tradesv3.dryrun.sqlite", copy)
    copy.rename(copy.with_name("tradesv3.dryrun.sqlite"))
    daemon.until(lambda: (daemon.metric("parityd_records_duplicate_total", book="live") or 0) >= before + 2)
    assert daemon.metric("parityd_records_ingested_total", book="live", kind="fill") == 2, "each fill counts once"
    assert daemon.refused() == [], "and no fact is told in two ways"
