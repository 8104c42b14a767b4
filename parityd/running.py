"""`parityd run`: the configuration becomes a running daemon, and its end an exit status."""

import faulthandler
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import uvloop

from parityd.app import built
from parityd.edges import clock
from parityd.edges.log import configure, to_journal
from parityd.edges.sdnotify import Notifier
from parityd.service.daemon import Daemon
from parityd.settings import Settings
from parityd.web.server import PortTakenError


def main(settings: Settings, config: Path | None) -> int:
    """`parityd run`."""
    faulthandler.enable()
    journal = to_journal(os.environ, sys.stderr)
    log, sink = configure(settings.log.format, settings.log.level, clock.boottime, journal=journal)
    try:
        with ExitStack() as stack:
            with Notifier.from_environment(os.environ).extending():  # a long history is folded, an old schema migrated
                app = stack.enter_context(built(settings, command="run"))

            async def go() -> None:
                daemon = Daemon(app, config, log)
                daemon.log_level = sink.at_least
                await daemon.serve()
                if daemon.abandoned:  # a thread does not come back: the store is left as after a kill, which loses nothing
                    sink.close()
                    os._exit(0)

            uvloop.run(go())
    except PortTakenError as e:
        sys.stderr.write(f"parityd: {e}\n")
        return 3
    except BaseExceptionGroup as group_:
        for one in group_.exceptions:
            log.error("service.died", error=f"{type(one).__name__}: {one}")
        sink.close()
        raise
    finally:
        sink.close()
    return 0
