"""What lies in the spool -> turns: small files together (by bytes, not by count alone), and both books side by side."""

from collections.abc import Iterator

from parityd.edges.waiting import Waiting

TOGETHER = 8 << 20
MOST_FILES = 128


def group(live: list[Waiting], backtest: list[Waiting]) -> Iterator[list[Waiting]]:
    """Turns in order of name; a turn takes from each book a file, or several small ones up to 4 MiB. The backtest keeps step with live, by the share
    of the bytes that wait: records that come in one turn meet before either is a row, those of different turns are searched for.
    """
    ours, theirs = _Queue(live), _Queue(backtest)
    while ours.waiting or theirs.waiting:
        turn = ours.part()
        turn += theirs.part(ours.share)
        yield sorted(turn, key=lambda w: (w.book, w.path.name.encode("utf-8", "surrogateescape")))


class _Queue:
    """One book's files, and how many bytes of them are gone."""

    def __init__(self, waiting: list[Waiting]) -> None:
        self.waiting = list(waiting)[::-1]
        self.total, self.gone = sum(w.size for w in waiting), 0

    @property
    def share(self) -> float:
        """Of the bytes, how much is gone; 1 once nothing waits."""
        return self.gone / self.total if self.waiting and self.total else 1.0

    def _fits(self, share: float) -> bool:
        """Whether more of the next file belongs to this share than does not. The first file always does: no book waits for the other."""
        return share == 1.0 or not self.gone or self.gone + self.waiting[-1].size / 2 < share * self.total

    def part(self, share: float = 1.0) -> list[Waiting]:
        """The next files: until this share is gone, or a turn's half is full."""
        out: list[Waiting] = []
        size = 0
        while self.waiting and len(out) < MOST_FILES // 2 and self._fits(share):
            if out and size + self.waiting[-1].size > TOGETHER // 2:
                break
            out.append(self.waiting.pop())
            size, self.gone = size + out[-1].size, self.gone + out[-1].size
        return out
