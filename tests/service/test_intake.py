"""What lies in the spool, as turns: nothing is lost or out of order, both books keep step, no turn grows without bound."""

from itertools import accumulate
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from parityd.edges.waiting import Waiting
from parityd.service.intake import MOST_FILES, TOGETHER, group

SIZES = st.lists(st.one_of(st.integers(0, 5000), st.integers(0, 3 * TOGETHER)), max_size=200)


def waiting(book: str, sizes: list[int]) -> list[Waiting]:
    names = [f"{k:05d}.jsonl" for k in range(len(sizes))]
    return [Waiting(book=book, path=Path(n), name=n, key=(0, 0, size, 0, 0), since_ns=0) for n, size in zip(names, sizes, strict=True)]


def names(turns: list[list[Waiting]], book: str) -> list[str]:
    return [w.name for turn in turns for w in turn if w.book == book]


@given(SIZES, SIZES)
def test_every_file_comes_once_in_order_of_its_name_and_a_turn_keeps_its_bounds(live: list[int], backtest: list[int]) -> None:
    turns = list(group(waiting("live", live), waiting("backtest", backtest)))
    assert names(turns, "live") == [w.name for w in waiting("live", live)]
    assert names(turns, "backtest") == [w.name for w in waiting("backtest", backtest)]
    for turn in turns:
        assert 0 < len(turn) <= MOST_FILES
        for book in ("live", "backtest"):
            mine = [w.size for w in turn if w.book == book]
            assert len(mine) <= max(1, MOST_FILES // 2)
            assert len(mine) < 2 or sum(mine) <= TOGETHER // 2


@given(SIZES.filter(len), SIZES.filter(len))
def test_the_first_turn_has_files_of_both_books_and_the_backtest_never_runs_ahead_by_more_than_half_a_file(
    live: list[int], backtest: list[int]
) -> None:
    turns = list(group(waiting("live", live), waiting("backtest", backtest)))
    assert {w.book for w in turns[0]} == {"live", "backtest"}
    gone = {book: list(accumulate(sum(w.size for w in t if w.book == book) for t in turns)) for book in ("live", "backtest")}
    last = max(k for k, t in enumerate(turns) if any(w.book == "live" for w in t))
    for k, turn in enumerate(turns[:last]):
        mine = [w.size for w in turn if w.book == "backtest"]
        if k and mine and sum(live) and sum(backtest):
            assert gone["backtest"][k] - mine[-1] / 2 <= gone["live"][k] / sum(live) * sum(backtest) + 1e-6 * sum(backtest)


def test_files_of_the_same_hours_come_together_although_one_book_says_more_of_them() -> None:
    turns = list(
        group(
            waiting("live", [3_234_645, 3_231_992, 3_214_334, 3_246_980]), waiting("backtest", [1_212_589, 1_213_552, 1_212_318, 1_213_652])
        )
    )
    assert [[(w.book, w.name) for w in turn] for turn in turns] == [
        [("backtest", f"{k:05d}.jsonl"), ("live", f"{k:05d}.jsonl")] for k in range(4)
    ]
