"""`python -m parityd`."""

import sys


def main() -> None:
    """Run the command line; bad input ends with one line and exit 3."""
    from parityd.cli import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
