"""`python -m parityd`."""

import os
import sys
import traceback

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else numpy keeps a thread and 40 MB of address space for each processor, for nothing


def main() -> None:
    """Run the command line; bad input ends with one line and exit 3, a bug with its traceback and exit 3: 1 and 2 are answers of `check`."""
    from parityd.cli import ERROR
    from parityd.cli import main as run

    try:
        status = run(sys.argv[1:])
    except Exception:  # noqa: BLE001  told whole, but never mistaken for an answer
        traceback.print_exc()
        status = ERROR
    sys.exit(status)


if __name__ == "__main__":
    main()
