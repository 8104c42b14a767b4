"""Memory that a large turn has used goes back to the machine: the allocator keeps it otherwise, in pieces. What stays is not searched for garbage again.

Where the C library has no `malloc_trim`, nothing is given back.
"""

import ctypes
import gc
from functools import cache


@cache
def _library() -> ctypes.CDLL | None:
    found = ctypes.CDLL(None)
    return found if hasattr(found, "malloc_trim") else None


def give_back() -> None:
    """Return what is free, wherever it lies. Milliseconds."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


def set_apart() -> None:
    """What was made so far is kept out of the collector's way: a search through all of it would hold every thread for a tenth of a second."""
    gc.collect()
    gc.freeze()
