"""What the store says when it cannot do its work.

1. StoreBroken: what is on the disk cannot be trusted (unreadable, foreign, newer, damaged). The message names the file, what is wrong and
   what mends it. Nothing was changed.
2. StoreUnavailable: it cannot be reached now (locked, no room, no permission), which says nothing against it: it is never set aside for that.
3. CommitFailed: this commit is not there. `certain` False: the disk refused in the middle, it may come back after a restart; the store
   takes no further commit, because a descriptor that failed once is not asked again.
"""


class StoreBroken(Exception):  # noqa: N818  the word of the house
    """The durable truth cannot be read; says what and how to mend it."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what} ({hint})" if hint else what)
        self.what = what
        self.hint = hint


class StoreUnavailable(Exception):  # noqa: N818
    """The store cannot be opened or asked at the moment; what the file holds is not in doubt."""


class CommitFailed(Exception):  # noqa: N818
    """A commit did not become durable. With `certain` it may simply be tried again."""

    def __init__(self, what: str, *, certain: bool) -> None:
        super().__init__(what)
        self.certain = certain
