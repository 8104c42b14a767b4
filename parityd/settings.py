"""Settings: the only reader of configuration files and of the environment.

1. A variable wins over the file, the file over what systemd hands over (state directory, credentials), that over the default.
2. An unknown key, an unknown PARITYD_ variable, a bad value or two values that contradict each other is a `SettingsError`: one line that
   names the key, its value and where it stands. Nothing is guessed and nothing ignored.
3. `Settings` is frozen and knows where each value came from; what it shows of itself has its secrets masked.
4. The core never sees it: `parameters()` is all that judgement is told.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from parityd import __version__
from parityd.core import parameters as core
from parityd.settings_explain import ContradictionError, explain
from parityd.settings_judgement import (
    STRATEGY_NAME,
    Currency,
    Escalation,
    Matching,
    Recovery,
    Strategy,
    Symbol,
    Thresholds,
    TrackingError,
    disorder,
    key,
    thresholds_of,
)
from parityd.settings_layers import (
    KeyPath,
    Layer,
    Renamed,
    Renames,
    SettingsError,
    dotted,
    field_of,
    from_environment,
    from_file,
    kind_word,
    table_of,
)
from parityd.settings_service import Http, Ingest, Limits, Log, Notify, Overrides, Publish, Retention, Schedule, Source, Store
from parityd.settings_values import Location, format_duration

DEFAULT_FILE = Path("/etc/parityd/parityd.toml")
RENAMED: Mapping[str, Renamed] = {}
URLS_CREDENTIAL, SIGNERS_CREDENTIAL = "parityd.notify_urls", "parityd.allowed_signers"
__all__ = ["DEFAULT_FILE", "Renamed", "Settings", "SettingsError", "load", "reload_differences"]


class Settings(BaseSettings):
    """Everything that can be configured. Made by `load`, which also checks names and remembers origins."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False, case_sensitive=True)

    data_dir: Location = key(
        Path("data"),
        "Folder of the spool, the archive, the store and the published files. Under systemd: the state directory.",
        restart=True,
    )
    reporting_currency: Currency | None = key(None, "Currency in which sums over several currencies are given.", example="USD")
    auto_disable_on_drift: bool = key(
        True, "false: advisory mode. Findings are published, but no more than WARNING is asked for; operators' stops still hold."
    )
    http: Http = Field(default_factory=Http)
    schedule: Schedule = Field(default_factory=Schedule)
    publish: Publish = Field(default_factory=Publish)
    overrides: Overrides = Field(default_factory=Overrides)
    thresholds: Thresholds = Field(default_factory=Thresholds)
    matching: Matching = Field(default_factory=Matching)
    escalation: Escalation = Field(default_factory=Escalation)
    recovery: Recovery = Field(default_factory=Recovery)
    tracking_error: TrackingError = Field(default_factory=TrackingError)
    strategies: dict[str, Strategy] = Field(default_factory=dict)
    symbols: dict[str, Symbol] = Field(default_factory=dict)
    sources: dict[str, Source] = Field(default_factory=dict)
    notify: Notify = Field(default_factory=Notify)
    store: Store = Field(default_factory=Store)
    limits: Limits = Field(default_factory=Limits)
    retention: Retention = Field(default_factory=Retention)
    ingest: Ingest = Field(default_factory=Ingest)
    log: Log = Field(default_factory=Log)
    _origins: dict[KeyPath, str] = PrivateAttr(default_factory=dict)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def settings_customise_sources(  # the layers stand in for the library's sources: those take unknown and misspelt names in silence
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        layers = init_settings().get("layers", ())
        return tuple(InitSettingsSource(settings_cls, layer.values) for layer in layers)

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        for problem in _contradictions(self):
            raise problem
        return self

    def origins(self) -> dict[str, str]:
        """Dotted key -> "default", "file", "environment NAME" or "credential NAME"; the keys of `shown`."""
        return {dotted(path): self._origins.get(path, "default") for path, _ in _flat(self, mode="json")}

    def warnings(self) -> tuple[str, ...]:
        """What the operator should know: renamed keys still in use."""
        return self._warnings

    def masked(self) -> dict[str, Any]:
        """Every value as a file would hold it, nested; secrets masked, keys without a value left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def shown(self) -> dict[str, Any]:
        """`masked`, flat: dotted key -> value."""
        return {dotted(path): value for path, value in _flat(self, mode="json")}

    def store_path(self) -> Path:
        """The SQLite file that `store.url` names."""
        return Path(self.store.url.removeprefix("sqlite:///").replace("{data_dir}", str(self.data_dir)))

    def is_advisory(self, strategy: str) -> bool:
        """Whether a strategy's findings may ask for no more than WARNING."""
        own = self.strategies.get(strategy)
        switch = own.auto_disable_on_drift if own is not None else None
        return not (self.auto_disable_on_drift if switch is None else switch)

    def parameters(self) -> core.Parameters:
        """All that the core is told."""
        general = self.thresholds.for_core()
        return core.Parameters(
            thresholds=general,
            matching=core.Matching(**self.matching.model_dump()),
            escalation=core.Escalation(**self.escalation.model_dump()),
            recovery=core.Recovery(**self.recovery.model_dump()),
            tracking_error=core.TrackingError(**self.tracking_error.model_dump()),
            symbols={name: symbol.for_core() for name, symbol in self.symbols.items()},
            strategies={name: self._terms(name, own, general) for name, own in self.strategies.items()},
            advisory=not self.auto_disable_on_drift,
            reporting_currency=self.reporting_currency,
            check_interval=self.schedule.check_interval,
            max_strategies=self.limits.strategies,
            future_tolerance=self.limits.future,
        )

    def _terms(self, name: str, own: Strategy, general: core.Thresholds) -> core.StrategyTerms:
        return core.StrategyTerms(
            capital=own.capital,
            timeframe=own.timeframe,
            calendar=own.calendar,
            max_silence=own.max_silence,
            obeys=own.obeys,
            advisory=self.is_advisory(name),
            thresholds=thresholds_of(general, own.model_dump()),
        )


def load(
    config: Path | None,
    env: Mapping[str, str],
    *,
    default_file: Path = DEFAULT_FILE,
    renamed: Mapping[str, Renamed] = RENAMED,
    version: str = __version__,
) -> Settings:
    """The settings of a file (without one: `default_file` where it exists) and an environment; SettingsError where they cannot be used."""
    file = config if config is not None else default_file if default_file.exists() else None
    renames = Renames(renamed, version)
    layers = [from_environment(env, Settings, renames), from_file(file, Settings, renames) if file else Layer(), _from_systemd(env)]
    try:
        settings = Settings(layers=layers)  # type: ignore[call-arg]  # taken by settings_customise_sources
    except ValidationError as problem:
        raise SettingsError(explain(problem, Settings, layers, file)) from None
    for layer in reversed(layers):
        settings._origins.update(layer.origins)  # noqa: SLF001 - its maker
    settings._warnings = tuple(w for layer in layers for w in layer.warnings)  # noqa: SLF001
    return settings


def reload_differences(old: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """Dotted keys that differ: those that a reload can change, and those that need a restart."""
    before, after = dict(_flat(old, mode="python")), dict(_flat(new, mode="python"))
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    refused = [path for path in changed if _needs_restart(path)]
    return [dotted(p) for p in changed if p not in refused], [dotted(p) for p in refused]


def _needs_restart(path: KeyPath) -> bool:
    info = field_of(Settings, path)
    extra = info.json_schema_extra if info is not None else None
    return isinstance(extra, dict) and extra.get("restart") is True


def _flat(settings: Settings, *, mode: str) -> Iterator[tuple[KeyPath, Any]]:
    for top, value in settings.model_dump(mode=mode, exclude_none=True).items():
        if field_of(Settings, (top,)) is not None:
            yield (top,), value
        elif table_of(Settings, top) is not None:
            yield from (((top, name, k), v) for name, entry in value.items() for k, v in entry.items())
        else:
            yield from (((top, k), v) for k, v in value.items())


def _from_systemd(env: Mapping[str, str]) -> Layer:
    """The state directory and the credentials of the unit, where there are any."""
    layer = Layer()
    if state := env.get("STATE_DIRECTORY", "").split(":")[0]:
        layer.put(("data_dir",), state, "environment STATE_DIRECTORY")
    folder = Path(env.get("CREDENTIALS_DIRECTORY") or "/nonexistent")
    signers, urls = folder / SIGNERS_CREDENTIAL, folder / URLS_CREDENTIAL
    if signers.is_file():
        layer.put(("overrides", "allowed_signers"), str(signers), f"credential {SIGNERS_CREDENTIAL}")
    if urls.is_file():
        lines = [line.strip() for line in urls.read_text(encoding="utf-8", errors="replace").splitlines()]
        layer.put(("notify", "urls"), [line for line in lines if line and not line.startswith("#")], f"credential {URLS_CREDENTIAL}")
    return layer


def _contradictions(s: Settings) -> Iterator[ContradictionError]:
    if s.publish.ttl < 2 * s.publish.interval:
        ttl, interval = format_duration(s.publish.ttl), format_duration(s.publish.interval)
        keys = ("publish", "ttl"), ("publish", "interval")
        yield ContradictionError(f'publish.ttl = "{ttl}" must be at least twice publish.interval = "{interval}"', *keys)
    if s.publish.on_expiry == "WARNING" and (s.auto_disable_on_drift or not all(map(s.is_advisory, s.strategies))):
        yield ContradictionError(
            'publish.on_expiry = "WARNING" is for advisory mode alone (auto_disable_on_drift = false, for every strategy)',
            ("publish", "on_expiry"),
        )
    if s.notify.urls and importlib.util.find_spec("apprise") is None:
        yield ContradictionError("notify.urls needs the extra parityd[notify], which is not installed", ("notify", "urls"))
    general = s.thresholds.for_core()
    yield from _disorder(("thresholds",), general)
    for name, own in s.strategies.items():
        if not STRATEGY_NAME.fullmatch(name):
            yield ContradictionError(
                f"{dotted(('strategies', name))} is no name of a strategy", *[("strategies", name, k) for k in own.model_fields_set]
            )
        yield from _disorder(("strategies", name), thresholds_of(general, own.model_dump()))
    for name, source in s.sources.items():
        if not STRATEGY_NAME.fullmatch(name):
            yield ContradictionError(f"{dotted(('sources', name))} is no name for a source", ("sources", name))
        if source.mode != "drop" and source.book is None:
            at = ("sources", name)
            yield ContradictionError(f'{dotted((*at, "book"))} is needed with mode = "{source.mode}": "live" or "backtest"', (*at, "mode"))
    for name, symbol in s.symbols.items():
        if not name.strip() or not name.isprintable():
            yield ContradictionError(f"{dotted(('symbols', name))} is no name of a symbol", ("symbols", name))
        if symbol.alias == name:
            yield ContradictionError(f"{dotted(('symbols', name, 'alias'))} is the symbol's own name", ("symbols", name, "alias"))


def _disorder(at: KeyPath, thresholds: core.Thresholds) -> Iterator[ContradictionError]:
    for low, high in disorder(thresholds):
        text = {name: _as_text(("thresholds", name), getattr(thresholds, name)) for name in (low, high)}
        message = f"{dotted((*at, low))} = {text[low]} must be below {dotted((*at, high))} = {text[high]}"
        yield ContradictionError(message, (*at, low), (*at, high), ("thresholds", low), ("thresholds", high))


def _as_text(path: KeyPath, value: float) -> str:
    info = field_of(Settings, path)
    return f'"{format_duration(value)}"' if info is not None and kind_word(info) == "duration" else f"{value:g}"
