"""Delivery of notices to Apprise addresses: one channel an address, each attempt in a thread of its own that may be abandoned.

1. An address is a secret. A channel is known by its scheme and number and, where it is stored, by a hash; what the library logs or raises is
   never passed on: of a failure no more is told than an HTTP status or that nobody answered.
2. An attempt ends after SECONDS, whatever the service does; its thread is left behind and never waited for, also at the end of the process.
   At most ABANDONED of them a channel.
3. It decides nothing about what is told or when it is tried again.
"""

import asyncio
import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

SECONDS = 20.0
ABANDONED = 3
TYPES = {"stop": "failure", "reminder": "warning", "change": "warning", "digest": "warning", "refused": "warning", "recovery": "success"}
_STATUS = re.compile(r"error=([1-5]\d\d)\b")


class Channel:
    """One address. `key` names it in the store, `label` to people."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self.key = hashlib.sha256(url.encode()).hexdigest()[:12]
        self.label = f"{urlsplit(url).scheme} (address {number})"
        self._threads: list[threading.Thread] = []

    def __repr__(self) -> str:
        return f"Channel({self.label})"

    def send(self, title: str, body: str, kind: str) -> str:
        """Blocking. "" where the service took it, else why not, without a word of the address."""
        try:
            import apprise
        except ImportError:
            return "the extra parityd[notify] is not installed"
        heard = _Listening()
        try:
            asset = apprise.AppriseAsset(
                app_id="parityd", app_desc="parityd", async_mode=False, secure_logging=True, storage_mode=apprise.PersistentStoreMode.MEMORY
            )
            service = apprise.Apprise(asset=asset)
            if not service.add(self._url):
                return "no address that the notification library understands"
            done = service.notify(title=title, body=body, notify_type=TYPES.get(kind, "info"), body_format=apprise.NotifyFormat.TEXT)
        except Exception as e:  # noqa: BLE001  a plugin's failure is the channel's, and its text may hold the address
            return f"failed with {type(e).__name__}"
        return "" if done else heard.why()

    async def attempt(self, title: str, body: str, kind: str, seconds: float = SECONDS) -> str:
        """`send` in a thread, for so long."""
        self._threads = [t for t in self._threads if t.is_alive()]
        if len(self._threads) >= ABANDONED:
            return "does not answer; earlier attempts still hang"
        loop = asyncio.get_running_loop()
        result: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(target=_into, args=(loop, result, lambda: self.send(title, body, kind)), name="notice", daemon=True)
        self._threads.append(thread)
        thread.start()
        try:
            return await asyncio.wait_for(result, seconds)
        except TimeoutError:
            return f"no answer within {seconds:g} s"


def channels(urls: Iterable[str]) -> list[Channel]:
    """A channel for each different address, in their order."""
    return [Channel(url, number) for number, url in enumerate(dict.fromkeys(urls), 1)]


def _into(loop: asyncio.AbstractEventLoop, result: "asyncio.Future[str]", work: Callable[[], str]) -> None:
    said = work()

    def hand_over() -> None:
        if not result.done():
            result.set_result(said)

    try:
        loop.call_soon_threadsafe(hand_over)
    except RuntimeError:  # the loop has ended
        return


class _Ears(logging.Handler):
    """Keeps, a thread, the status of the last failure; lets nothing through."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        said: Any = record.getMessage()
        status = _STATUS.search(said)
        if status is not None:
            self.heard.why = f"answered with HTTP status {status[1]}"
        elif "onnection" in said:
            self.heard.why = "could not be reached"


_ears = _Ears()


class _Listening:
    """The library's own log goes nowhere but here: it holds addresses."""

    def __init__(self) -> None:
        for name in ("apprise", "urllib3"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.setLevel(logging.WARNING)
            if _ears not in logger.handlers:
                logger.addHandler(_ears)
        _ears.heard.why = ""

    def why(self) -> str:
        return getattr(_ears.heard, "why", "") or "did not take it"
