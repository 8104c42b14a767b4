"""What the service manager is told: READY, RELOADING, STOPPING, STATUS, WATCHDOG, EXTEND_TIMEOUT_USEC.

1. Without NOTIFY_SOCKET every call does nothing and says so by returning False: callers never ask whether systemd is there.
2. A message is one datagram, never waited for: a service manager that does not read must not stop a renewal.
3. It reads no clock: the monotonic time of a reload is handed in.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping


class Notifier:
    """One notification socket; `address` as in NOTIFY_SOCKET ("" = none, "@name" = abstract)."""

    def __init__(self, address: str = "") -> None:
        self._address: str | bytes | None = None
        if address.startswith("@") and len(address) > 1:
            self._address = b"\0" + os.fsencode(address[1:])
        elif address.startswith("/"):
            self._address = address

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Notifier":
        return cls(environ.get("NOTIFY_SOCKET", ""))

    def send(self, **fields: str | int) -> bool:
        """One datagram `NAME=value` a line; True where the kernel took it."""
        if self._address is None:
            return False
        text = "\n".join(f"{name}={_one_line(value)}" for name, value in fields.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.setblocking(False)
            s.connect(self._address)
            s.send(text.encode("utf-8", "backslashreplace"))
            return True
        return False

    def ready(self, status: str = "") -> bool:
        """Start, or a reload, is over."""
        return self.send(READY=1, **({"STATUS": status} if status else {}))

    def reloading(self, monotonic_ns: int) -> bool:
        """A reload begins; `ready` ends it. Time: CLOCK_MONOTONIC."""
        return self.send(RELOADING=1, MONOTONIC_USEC=monotonic_ns // 1000)

    def stopping(self, status: str = "") -> bool:
        return self.send(STOPPING=1, **({"STATUS": status} if status else {}))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self.send(STATUS=text)

    def watchdog(self) -> bool:
        """Still alive."""
        return self.send(WATCHDOG=1)

    def extend(self, seconds: float) -> bool:
        """Start, reload or stop needs this much longer, counted from now."""
        return self.send(EXTEND_TIMEOUT_USEC=max(1, int(seconds * 1e6)))

    @contextlib.contextmanager
    def extending(self, *, every: float = 10.0, by: float = 30.0, most: float = 3600.0) -> Iterator[None]:
        """While the block lasts, ask again and again for more time: `by` seconds each, `most` in all, so that a hang ends nevertheless."""
        over = threading.Event()

        def ask() -> None:
            for _ in range(int(most / every)):
                self.extend(by)
                if over.wait(every):
                    return

        asking = threading.Thread(target=ask, name="notify", daemon=True)
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join()


def _one_line(value: str | int) -> str:
    return " ".join(str(value).split("\n"))
