"""A log of what changed, for readers that come when they like: each keeps its own mark, and is told what came after it.

1. The oldest entries are let go of; a reader whose mark is older than what is left is told None, that is: anything may have changed.
"""

REMEMBERED = 20_000


class Changes:
    """Whole numbers (shelves, times) in the order in which they changed."""

    __slots__ = ("_before", "_log")

    def __init__(self) -> None:
        self._log: list[int] = []
        self._before = 0  # entries that were let go of

    def note(self, what: int) -> None:
        self._log.append(what)
        if len(self._log) > 2 * REMEMBERED:
            self._before += len(self._log) - REMEMBERED
            del self._log[:-REMEMBERED]

    @property
    def version(self) -> int:
        """How many there were: a mark, as `since` gives it."""
        return self._before + len(self._log)

    def since(self, mark: int) -> tuple[list[int] | None, int]:
        """(what was noted after the mark, None where that is no longer known; the mark for the next time). The first mark is 0."""
        return (None if mark < self._before else self._log[mark - self._before :]), self.version
