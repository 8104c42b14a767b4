"""Delivery of notices to Apprise addresses: one channel an address, each attempt in a thread and a child process of its own.

1. An address is a secret. A channel is known by its scheme and number and, where it is stored, by a hash; the child gets the address through
   its standard input and says no more of a failure than an HTTP status or that nobody answered.
2. An attempt ends after SECONDS, whatever the service does: its child is killed. Nobody waits for the thread, also not at the end of the process.
3. It decides nothing about what is told or when it is tried again.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from urllib.parse import urlsplit

SECONDS = 20.0
TYPES = {"stop": "failure", "reminder": "warning", "change": "warning", "digest": "warning", "refused": "warning", "recovery": "success"}
_SCRIPT = os.path.join(os.path.dirname(__file__), "notify_child.py")
_HIDDEN = ("PARITYD_", "NOTIFY_SOCKET", "WATCHDOG_", "CREDENTIALS_DIRECTORY", "LISTEN_", "PYTHON")


class Channel:
    """One address. `key` names it in the store, `label` to people."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self.key = hashlib.sha256(url.encode()).hexdigest()[:12]
        self.label = f"{urlsplit(url).scheme} (address {number})"
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"Channel({self.label})"

    def send(self, title: str, body: str, kind: str, seconds: float = SECONDS) -> str:
        """Blocking. "" where the service took it, else why not, without a word of the address."""
        asked = json.dumps({"url": self._url, "title": title, "body": body, "type": TYPES.get(kind, "info")}).encode()
        env = {k: v for k, v in os.environ.items() if not k.startswith(_HIDDEN)}
        try:
            self._child = subprocess.Popen(  # noqa: S603  our own script
                [sys.executable, "-P", _SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
            )
        except OSError as e:
            return f"could not be tried: {e.strerror}"
        with self._child as child:
            try:
                said, _ = child.communicate(asked, timeout=seconds)
            except subprocess.TimeoutExpired:
                child.kill()
                return f"no answer within {seconds:g} s"
        try:
            return str(json.loads(said)["why"])
        except (ValueError, KeyError, TypeError):
            return f"the process that sent it ended with status {child.returncode}"

    async def attempt(self, title: str, body: str, kind: str, seconds: float = SECONDS) -> str:
        """`send` in a thread of its own."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[str] = loop.create_future()

        def work() -> None:
            said = self.send(title, body, kind, seconds)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(lambda: None if result.done() else result.set_result(said))

        threading.Thread(target=work, name="notice", daemon=True).start()
        return await result

    def abandon(self) -> None:
        """End an attempt that is under way."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()


def channels(urls: Iterable[str]) -> list[Channel]:
    """A channel for each different address, in their order."""
    return [Channel(url, number) for number, url in enumerate(dict.fromkeys(urls), 1)]
