"""`python -m parityd`."""

import gc
import os
import sys
import traceback
from typing import Any, TextIO

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else numpy keeps a thread and 40 MB of address space for each processor, for nothing
SELDOM = 10_000, 5, 40
"""How often what stands in a circle is searched for: little does here, and much is made that stays."""


class Output:
    """A standard stream whose reader may leave (`| head`): what he did not read is dropped, and the exit status still is the command's answer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.left = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        self.left = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def main() -> None:
    """Run the command line; bad input ends with one line and exit 3, a bug with its traceback and exit 3: 1 and 2 are answers of `check`."""
    from parityd.cli import ERROR
    from parityd.cli import main as run

    gc.set_threshold(*SELDOM)
    if sys.stdout is not None and sys.stderr is not None:
        sys.stdout, sys.stderr = Output(sys.stdout), Output(sys.stderr)
    try:
        status = run(sys.argv[1:])
    except Exception:  # noqa: BLE001  told whole, but never mistaken for an answer
        traceback.print_exc()
        status = ERROR
    if sys.stdout is not None:
        sys.stdout.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
