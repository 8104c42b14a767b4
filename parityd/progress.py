"""A bar for work that takes long, on standard error where that is a terminal; elsewhere nothing is said.

1. What works says how far it is by a call, `tell(done, of, what)`, and knows nothing of a terminal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[int, int, str], None]


@contextmanager
def bar(unit: str) -> Iterator[Tell]:
    """Shows how far work has come; `unit` is what is counted. It is gone when the work is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _silent
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, visible=False)

        def tell(done: int, of: int, what: str) -> None:
            progress.update(task, completed=done, total=of, description=what, visible=True)

        yield tell


def _silent(done: int, of: int, what: str) -> None:
    del done, of, what
