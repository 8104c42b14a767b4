"""The child that hands one notice to Apprise: JSON {url, title, body, type} on standard input -> JSON {why} on standard output.

1. It runs as a script in a fresh interpreter and imports nothing of parityd: what the library loads, logs or leaves behind ends with it.
2. `why` is "" where the service took the notice. Of a failure only what cannot hold a secret is told: an HTTP status, or that nobody answered.
"""

import json
import logging
import re
import signal
import sys

LONGEST = 60  # seconds; whoever started it may be gone
_STATUS = re.compile(r"error=([1-5]\d\d)\b")


class _Ears(logging.Handler):
    """Keeps what the library's last warning comes down to; lets nothing through."""

    why = ""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        status = _STATUS.search(said)
        if status is not None:
            self.why = f"answered with HTTP status {status[1]}"
        elif "onnection" in said:
            self.why = "could not be reached"


def send(url: str, title: str, body: str, kind: str) -> str:
    """Why the service did not take it; empty where it did."""
    ears = _Ears(logging.WARNING)
    logging.basicConfig(handlers=[ears], level=logging.WARNING, force=True)
    try:
        import apprise
    except ImportError:
        return "the extra parityd[notify] is not installed"
    asset = apprise.AppriseAsset(
        app_id="parityd", app_desc="parityd", async_mode=False, secure_logging=True, storage_mode=apprise.PersistentStoreMode.MEMORY
    )
    service = apprise.Apprise(asset=asset)
    if not service.add(url):
        return "no address that the notification library understands"
    done = service.notify(title=title, body=body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    return "" if done else ears.why or "did not take it"


def main() -> None:
    signal.alarm(LONGEST)
    asked = json.load(sys.stdin)
    try:
        why = send(asked["url"], asked["title"], asked["body"], asked["type"])
    except Exception as e:  # noqa: BLE001  a plugin's failure is the address's, and its text may hold a secret
        why = f"failed with {type(e).__name__}"
    json.dump({"why": why}, sys.stdout)


if __name__ == "__main__":
    main()
