"""Files that ship with this package and are read as they are: page templates, and what a browser loads."""

from importlib.resources import files


def source(folder: str, name: str) -> str:
    """The text of a file of `templates/` or `static/`."""
    return (files("parityd.web") / folder / name).read_text(encoding="utf-8")


def static(name: str) -> bytes:
    """A file of `static/`."""
    return source("static", name).encode()
