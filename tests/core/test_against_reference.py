"""parityd's matching and measures against an independent computation in rational arithmetic, on awkward random scenarios."""

import random
from collections import Counter
from itertools import permutations

import pytest
from core.desk import Desk, differences, expected, same_ledgers, shuffled
from golden import generate

SEEDS = [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 40))]
EXOTIC = {**generate.SYMBOLS, "BTC-USD": {"inverse": True, "multiplier": "100"}}


def told(seed, *, dense, exotic=False):
    """A scenario with what `generate` leaves out: orders with parents, marks of a decision, and (`exotic`) inverse contracts."""
    backtest, live = generate.generate(seed, dense=dense)
    rng = random.Random(seed)
    if exotic:
        for records in (backtest, live):
            for r in records:
                if r.get("symbol") == "ACME/USD":
                    r["symbol"] = "BTC-USD"
                    if r.get("fee_currency") == "USD":
                        r["fee_currency"] = ["BTC", "USD"][len(r["price"]) % 2]
    parents = {}
    for r in live:
        if r["kind"] == "fill" and r.get("order_id") and not r.get("trade_id") and rng.random() < 0.5:
            parents.setdefault((r["strategy"], r["symbol"], r["side"], r["order_id"]), f"p{rng.randrange(10**6)}")
    for r in list(live):
        for (strategy, symbol, side, order), parent in parents.items():
            if r["kind"] == "fill" and (r["strategy"], r["symbol"], r["side"], r.get("order_id")) == (strategy, symbol, side, order):
                where = {"kind": "order", "strategy": strategy, "symbol": symbol, "order_id": order, "parent_id": parent, "ts": r["ts"]}
                live.append({**where, "status": "accepted"})
    return backtest, live


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_books_in_either_order_give_the_trades_of_the_reference(seed, dense):
    backtest, live = generate.generate(seed, dense=dense)
    want = expected(backtest, live)
    for first, second in ((("backtest", backtest), ("live", live)), (("live", live), ("backtest", backtest))):
        desk = Desk()
        desk.give(*first)
        desk.give(*second)
        assert differences(desk.trades(), want) == []
    both = Desk()
    both.turn([("live", live), ("backtest", backtest)])
    assert differences(both.trades(), want) == []


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_however_the_records_are_cut_into_files_the_trades_and_ledgers_are_the_same(seed, dense):
    backtest, live = told(seed, dense=dense)
    want = expected(backtest, live)
    whole, cut = Desk(), Desk()
    whole.turn([("backtest", backtest), ("live", live)])
    for turn in shuffled(backtest, live, seed):
        cut.turn(turn)
    assert differences(whole.trades(), want) == []
    assert differences(cut.trades(), want) == []
    assert same_ledgers(cut, whole)
    ends = [int(row["t"]) + k * 900 * 10**9 for k in range(3) for _, row in cut.rows()]
    assert cut.prices(sorted(ends)) == whole.prices(sorted(ends))


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_leaves_the_memory_or_a_restart_in_between_changes_nothing(seed, dense):
    backtest, live = told(seed, dense=dense)
    want = expected(backtest, live)
    desk, rng = Desk(), random.Random(seed)
    for turn in shuffled(backtest, live, seed + 1):
        desk.turn(turn)
        rng.choice([desk.save, desk.restart, desk.save, bool])()
    assert differences(desk.trades(), want) == []
    names = Counter(int(row[key]) for _, row in desk.rows(whole=False) for key in ("pk",))
    assert set(names.values()) == {1}
    whole = Desk()
    whole.turn([("backtest", backtest), ("live", live)])
    assert same_ledgers(desk, whole)


@pytest.mark.parametrize("seed", SEEDS)
def test_inverse_contracts_and_multipliers_are_turned_before_anything_is_compared(seed):
    backtest, live = told(seed, dense=bool(seed % 2), exotic=True)
    want = expected(backtest, live, EXOTIC)
    desk = Desk(symbols=EXOTIC)
    for turn in shuffled(backtest, live, seed):
        desk.turn(turn)
    assert differences(desk.trades(), want) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_records_dropped_again_count_as_duplicates_and_change_nothing(seed):
    backtest, live = generate.generate(seed, dense=bool(seed % 2))
    once, again = Desk(), Desk()
    for turn in shuffled(backtest, live, seed):
        once.turn(turn)
        again.turn(turn)
    for turn in shuffled(backtest, live, seed + 5):
        counted = again.turn(turn).counted
        assert sum(c.duplicates for c in counted) == sum(len(records) for _, records in turn)
        assert not any(c.accepted for c in counted)
    assert differences(again.trades(), once.trades()) == []
    assert same_ledgers(again, once)


# --- busts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_busted_fill_is_as_if_it_had_never_been_whenever_the_bust_comes(seed, dense):
    backtest, live = told(seed, dense=dense)
    backtest, live = ([r for r in records if r["kind"] != "bust"] for records in (backtest, live))
    rng = random.Random(seed)
    fills = [
        (book, r)
        for book, records in (("backtest", backtest), ("live", live))
        for r in records
        if r["kind"] == "fill" and not r.get("shadow")
    ]
    gone = rng.sample(fills, min(len(fills), 6))
    busts = [(book, {"kind": "bust", **{k: f[k] for k in ("strategy", "symbol", "fill_id", "ts")}}) for book, f in gone]
    lost = {(book, f["strategy"], f["fill_id"]) for book, f in gone}
    never = {
        book: [r for r in records if (book, r.get("strategy"), r.get("fill_id")) not in lost]
        for book, records in (("backtest", backtest), ("live", live))
    }
    without = Desk()
    without.turn([("backtest", never["backtest"]), ("live", never["live"])])
    first, last, among = Desk(), Desk(), Desk()
    told_busts = [(book, [r for b, r in busts if b == book]) for book in ("backtest", "live")]
    first.turn(told_busts)
    for turn in shuffled(backtest, live, seed):
        first.turn(turn)
        last.turn(turn)
    last.turn(told_busts)
    mixed = {book: records + [r for b, r in busts if b == book] for book, records in (("backtest", backtest), ("live", live))}
    for turn in shuffled(mixed["backtest"], mixed["live"], seed + 3):
        among.turn(turn)
        among.save()
    want = without.trades()
    ends = sorted(int(row["t"]) + 900 * 10**9 for _, row in without.rows())
    for desk in (first, last, among):
        assert differences(desk.trades(), want) == []
        assert same_ledgers(desk, without)
        assert desk.prices(ends) == without.prices(ends)


# --- runs ---------------------------------------------------------------------------------------------------------------


def as_run(records, run_id, created, start, end, strategies):
    """The same records as a file of one run each strategy, prices moved a little so that runs can be told apart."""
    moved = []
    for r in records:
        if r.get("strategy") in strategies and r["kind"] in ("decision", "fill"):
            price = {"price": str(round(float(r["price"]) * (1 + created % 7 * 1e-4), 5))} if r.get("price") else {}
            moved.append({**r, **price})
    return [
        [{"kind": "run", "strategy": s, "run_id": f"{run_id}", "created": created, "from": start, "to": end, "ts": created}, *own]
        for s in strategies
        if (own := [r for r in moved if r["strategy"] == s])
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_newer_run_replaces_what_it_covers_and_nothing_else_in_whatever_order_the_runs_come(seed):
    backtest, live = generate.generate(seed, dense=bool(seed % 3))
    backtest = list({repr(r): r for r in backtest}.values())
    rng = random.Random(seed)
    strategies = sorted({r["strategy"] for r in backtest if "strategy" in r})
    times = sorted(r["ts"] for r in backtest)
    start, middle = times[0], times[len(times) // 2]
    old = as_run(backtest, "a", 1_780_000_001, start, "2026-04-01T00:00:00Z", strategies)
    new = as_run([r for r in backtest if r["ts"] >= middle], "b", 1_780_000_002, middle, "2026-04-01T00:00:00Z", strategies)
    stream = [[r for r in backtest if r["kind"] != "heartbeat"]]
    kept = [r for own in old for r in own[1:] if r["ts"] < middle] + [r for own in new for r in own[1:]]
    others = [r for r in backtest if r["kind"] == "mark"]
    files = [("backtest", own) for own in (*old, *new, *stream)] + [("live", live)]
    answers = []
    for _ in range(3):
        rng.shuffle(files)
        desk = Desk()
        for f in files:
            desk.turn([f])
            rng.choice([desk.save, bool])()
        answers.append(desk)
    plain = Desk()
    plain.give("backtest", [*kept, *others, *(r for r in backtest if r["kind"] in ("funding", "order") and r["ts"] < start)])
    plain.give("live", live)
    for desk in answers:
        assert differences(desk.trades(), plain.trades()) == []
        assert same_ledgers(desk, plain)


@pytest.mark.parametrize("named", [{}, {"account": "a"}, {"venue": "v"}, {"account": "a", "venue": "v"}])
def test_a_bust_takes_the_fill_back_in_the_account_it_names_and_in_any_where_it_names_none(named):
    def fill(account, **other):
        head = {"kind": "fill", "strategy": "s", "symbol": "BTC/USDT", "fill_id": "1", "side": "buy", "quantity": "1", "price": "100"}
        return {**head, "ts": "2026-03-02T12:00:00Z", "account": account, "venue": "v", **other}

    fills = [fill("a"), fill("b", fill_id="2"), fill("c", fill_id="3", venue="w")]
    bust = {"kind": "bust", "strategy": "s", "symbol": "BTC/USDT", "fill_id": "1", "ts": "2026-03-02T13:00:00Z", **named}
    elsewhere = {**bust, "account": "elsewhere"}
    again = {**bust, "account": "a", "venue": "v"} if named != {"account": "a", "venue": "v"} else {**bust, "fill_id": "9"}
    without = Desk()
    without.give("live", fills[1:])
    for order in permutations([fills, [bust], [again], [elsewhere]]):
        desk = Desk()
        for records in order:
            desk.give("live", records)
        assert differences(desk.trades(), without.trades()) == []
        assert same_ledgers(desk, without)
