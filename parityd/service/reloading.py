"""SIGHUP: another configuration, prepared whole, then swapped.

1. A file that cannot be read, does not hold or changes what cannot change while running keeps the old configuration in force, and is told.
2. Nothing in force is cleared: the same state is judged by the new configuration, at once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from parityd.service import configured
from parityd.settings import Settings, SettingsError, load, reload_differences

if TYPE_CHECKING:
    from parityd.service.daemon import Daemon


async def reload(d: Daemon) -> None:
    """Take the daemon's configuration anew."""
    d.notifier.reloading(d.app.boottime())
    prepared = _prepared(d)
    if prepared is not None:
        await _swap(d, *prepared)
    d.notifier.ready()


def _prepared(d: Daemon) -> tuple[Settings, list[str]] | None:
    """The new configuration and the keys that changed; None where it was refused."""
    try:
        new = load(d.config, os.environ)
        changed, refused = reload_differences(d.settings, new)
        if refused:
            raise SettingsError(f"{', '.join(refused)}: cannot be changed while running")  # noqa: TRY301
    except SettingsError as e:
        d.metrics.reloaded(successful=False)
        d.log.error("config.refused", error=str(e))
    except Exception as e:  # a configuration that cannot even be judged is a bad one
        d.metrics.reloaded(successful=False)
        d.log.exception("config.refused", error=f"{type(e).__name__}: {e}")
    else:
        return new, changed
    return None


async def _swap(d: Daemon, new: Settings, changed: list[str]) -> None:
    await d.do(lambda: d.brain.reconfigure(new))
    await d.do(lambda: configured.tell(d.brain, new, changed))
    d.settings = d.app.settings = new
    d.operators.app.settings = new
    terms = d.app.publisher.terms
    terms.interval, terms.ttl, terms.on_expiry = new.publish.interval, new.publish.ttl, new.publish.on_expiry
    d.metrics.reloaded(successful=True)
    d.log_level("info")  # that the configuration is another one is told at every level
    d.log.info("config.reloaded", changed=changed)
    d.log_level(new.log.level)
    await d.check()
