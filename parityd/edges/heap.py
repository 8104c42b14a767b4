"""Memory that a large turn has used goes back to the machine: the allocator keeps it otherwise, in pieces.

Where the C library has no `malloc_trim`, nothing happens.
"""

import ctypes
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
