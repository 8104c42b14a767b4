"""What an operator reads when a command cannot do its work: one line, exit 3."""


class Problem(Exception):  # noqa: N818  what an operator reads, not what went wrong inside
    """Bad input, or a state that a command cannot work with."""
