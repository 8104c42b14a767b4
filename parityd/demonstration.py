"""`parityd demo`: the real daemon on the bundled sample, in a scratch folder, on a replay clock.

1. The daemon is `built` and served as `parityd run` does it; only judgement's clock and the ticks come from the driver.
2. Nothing of the machine's own configuration is used unless `--config` names a file, and nothing outside the scratch folder is written.
3. On a terminal it goes on serving until Ctrl-C; elsewhere it ends with the sample, and leaves its files.
"""

import asyncio
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import uvloop

from parityd.app import App, built
from parityd.core.instants import day_start, day_text
from parityd.edges import clock
from parityd.edges.log import configure
from parityd.problem import Problem
from parityd.service.daemon import Daemon
from parityd.service.demo import CAPITAL, DAY_IN_TWO_MINUTES, MULTIPLIER, STRATEGY, SYMBOL, Clock, Driver, drops, sample_folder
from parityd.service.demo_screen import Terminal
from parityd.settings import Settings, SettingsError, load
from parityd.web.server import PortTakenError, listen

OWN = "parityd.toml"
FILE = f"""data_dir = "{{folder}}"

[http]
port = {{port}}

[symbols."{SYMBOL}"]
multiplier = {MULTIPLIER}

[strategies."{STRATEGY}"]
capital = {CAPITAL}
"""


def demo(config: Path | None, speed: float = DAY_IN_TWO_MINUTES, port: int | None = None, keep: Path | None = None) -> int:
    """Run it; the exit status. `speed`: simulated seconds a second."""
    if not speed > 0:
        raise Problem(f"--speed: {speed:g} must be above 0")
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise Problem(f"--keep: {keep} is there already and not an empty folder")
    folder = keep.absolute() if keep is not None else Path(tempfile.mkdtemp(prefix="parityd-demo-"))
    ended = True
    try:
        with suppress(KeyboardInterrupt):
            ended = _shown(config, folder, speed, port)
    except BaseException:
        ended = True
        raise
    finally:
        if ended and keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _shown(config: Path | None, folder: Path, speed: float, port: int | None) -> bool:
    """Run in this folder; whether it was ended from outside."""
    files = drops(sample_folder())
    with ExitStack() as stack:
        screen = stack.enter_context(Terminal())
        settings = _settings(config, folder, port, screen)
        log_file = stack.enter_context((folder / "parityd.log").open("w", encoding="utf-8"))
        log, sink = configure("json", settings.log.level, clock.boottime, log_file)
        stack.callback(sink.close)
        replay = Clock(day_start(day_text(min(f.due for f in files))))
        app = stack.enter_context(built(settings, command="demo", evaluation=replay))
        daemon = Daemon(app, None, log, schedule=False)
        driver = Driver(daemon, replay, files, speed, screen)
        screen.said(
            f"The daemon runs in {folder}; the page is at {_page(settings)}. A simulated day takes {86_400 / speed:,.0f} s. Ctrl-C ends it."
        )
        finished = uvloop.run(_run(daemon, driver, screen, app, folder))
    return screen.console.is_terminal or not finished


async def _run(daemon: Daemon, driver: Driver, screen: Terminal, app: App, folder: Path) -> bool:
    """Daemon and driver side by side; whether the sample was told to its end."""
    serving = asyncio.ensure_future(daemon.serve())
    driving = asyncio.ensure_future(driver.run())
    try:
        await asyncio.wait((serving, driving), return_when=asyncio.FIRST_COMPLETED)
        finished = driving.done() and not daemon.stop.is_set()
        if finished and driving.exception() is None:
            _where(screen, app, folder)
            if screen.console.is_terminal:
                screen.said("The daemon goes on serving until Ctrl-C.")
                await serving
        return finished
    finally:
        daemon.stop.set()
        driving.cancel()
        await asyncio.gather(serving, driving, return_exceptions=True)
        for task in (serving, driving):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error


def _where(screen: Terminal, app: App, folder: Path) -> None:
    days = sorted(r.day for r in app.store.reports())
    screen.said(f"override file  {folder / 'system_actions' / 'trading_override.json'}")
    for day in days:
        screen.said(f"report         {folder / 'parity_reports' / f'parity_report_{day}.html'}")
    screen.said(f"page           {_page(app.settings)}")
    if (folder / OWN).exists():
        screen.said(f"look around    parityd status --config {folder / OWN}")


def _page(settings: Settings) -> str:
    return f"http://{settings.http.host}:{settings.http.port}/"


def _settings(config: Path | None, folder: Path, port: int | None, screen: Terminal) -> Settings:
    """The sample's terms over the given configuration (or the defaults), written down for other commands."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "PARITYD_DATA_DIR": str(folder),
        f"PARITYD_SYMBOLS__{SYMBOL}__MULTIPLIER": str(MULTIPLIER),
        f"PARITYD_STRATEGIES__{STRATEGY}__CAPITAL": str(CAPITAL),
    }
    if port is not None:
        own["PARITYD_HTTP__PORT"] = str(port)
    try:
        settings = load(config, own, default_file=folder / "none.toml")
        free = _free(settings.http.host, settings.http.port)
        if free != settings.http.port:
            screen.said(f"port {settings.http.port} is taken: the demo uses {free}")
            settings = load(config, own | {"PARITYD_HTTP__PORT": str(free)}, default_file=folder / "none.toml")
    except (SettingsError, PortTakenError) as e:
        raise Problem(str(e)) from None
    if config is None:
        (folder / OWN).write_text(FILE.format(folder=folder, port=settings.http.port), encoding="utf-8")
    return settings


def _free(host: str, port: int) -> int:
    """The port asked for, or a free one where it is taken."""
    for wanted in (port, 0):
        try:
            with listen(host, wanted) as bound:
                return int(bound.getsockname()[1])
        except PortTakenError:
            if wanted == 0:
                raise
    return port
