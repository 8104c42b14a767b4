"""Memory that a large turn has used goes back to the machine: the allocator keeps it otherwise, in pieces. What stays is not searched for garbage again.

Where the C library has no `malloc_trim` or `mallopt`, all of this is left out.
"""

import ctypes
import gc
from functools import cache


@cache
def _library() -> ctypes.CDLL | None:
    found = ctypes.CDLL(None)
    return found if hasattr(found, "malloc_trim") else None


_TRIM, _MAP, _ARENAS = -1, -3, -8  # of mallopt(3)
LARGE = 8 << 20  # bytes: such an array is given back when it is let go of
KEPT = 64 << 20


@cache
def one_heap() -> None:
    """One heap for all threads (each has one of its own otherwise, full of holes). Called before there are several."""
    library = _library()
    if library is not None and hasattr(library, "mallopt"):
        for option, value in ((_ARENAS, 1), (_MAP, LARGE), (_TRIM, KEPT)):
            library.mallopt(option, value)


def give_back() -> None:
    """Return what is free, wherever it lies. Milliseconds."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


def set_apart() -> None:
    """What was made so far is kept out of the collector's way: a search through all of it would hold every thread for a tenth of a second."""
    gc.collect()
    gc.freeze()
