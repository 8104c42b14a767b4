"""What the site makes of links that leave it: a link to a file of the source beside docs/ becomes that file's name."""

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def named(m: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, m[2]))
        return m[0] if path.startswith("docs/") else f"{m[1]} (`{path}` in the source)"

    return _LINK.sub(named, markdown)
