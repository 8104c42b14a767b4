"""What lies in the spool -> turns: one file of each book, small files together (by bytes, not by count alone)."""

from collections.abc import Iterator

from parityd.edges.waiting import Waiting

TOGETHER = 8 << 20
MOST_FILES = 128


def group(live: list[Waiting], backtest: list[Waiting]) -> Iterator[list[Waiting]]:
    """Turns in order of name; a turn takes from each book a file, or several small ones up to 8 MiB."""
    books = [list(live), list(backtest)]
    while any(books):
        turn: list[Waiting] = []
        for queue in books:
            size = taken = 0
            while queue and taken < MOST_FILES // 2 and (not taken or size + queue[0].size <= TOGETHER // 2):
                w = queue.pop(0)
                size, taken = size + w.size, taken + 1
                turn.append(w)
        yield sorted(turn, key=lambda w: (w.book, w.path.name.encode("utf-8", "surrogateescape")))
