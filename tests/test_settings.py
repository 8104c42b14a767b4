"""Settings: names are exact, mistakes are one line, the environment wins, and what is shown is true."""

import datetime as dt
import functools
import itertools
import json
import math
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parityd import settings_reference
from parityd.core import parameters
from parityd.settings import RENAMED, Renamed, Settings, SettingsError, load, reload_differences
from parityd.settings_judgement import PROFILES, Thresholds
from parityd.settings_layers import all_keys, field_of, variable
from parityd.settings_service import Overrides
from parityd.settings_values import format_duration, format_size, parse_duration, parse_size

ROOT = Path(__file__).parent.parent
NOWHERE = Path("/nonexistent/parityd.toml")


@pytest.fixture
def read(tmp_path):
    """Settings of a text and an environment."""

    def read(text="", env=None, **more):
        file = tmp_path / "parityd.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, env or {}, **more)

    return read


@pytest.fixture
def refusal(read):
    """The one line that a text and an environment are refused with."""

    def refusal(text="", env=None, **more):
        with pytest.raises(SettingsError) as caught:
            read(text, env, **more)
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)

    return refusal


# --- defaults ---------------------------------------------------------------------------------------------------------------------


def test_without_file_and_environment_the_core_is_told_its_own_defaults():
    assert load(None, {}, default_file=NOWHERE).parameters() == parameters.Parameters()


def test_every_threshold_of_the_core_is_a_key_and_no_other():
    assert list(Thresholds.model_fields) == list(parameters.Thresholds.__struct_fields__)


def test_the_service_defaults_are_the_contracts():
    s = load(None, {}, default_file=NOWHERE)
    assert (s.http.host, s.http.port, s.schedule.check_interval, s.schedule.daily_report_time) == ("127.0.0.1", 9815, 900.0, dt.time(8))
    assert (s.publish.interval, s.publish.ttl, s.publish.on_expiry, s.publish.on_stop) == (15.0, 60.0, "DISABLE_TRADING", "expire")
    assert (s.publish.first_start, s.publish.unknown_strategy, s.publish.instance) == ("CONTINUE", "CONTINUE", None)
    assert (s.limits.line, s.limits.file, s.limits.expanded, s.limits.nesting) == (1 << 20, 1 << 30, 4 << 30, 32)
    assert (s.data_dir, s.store_path(), s.auto_disable_on_drift) == (Path("data"), Path("data/parityd.sqlite"), True)


def test_the_default_file_is_read_where_it_exists_and_only_without_another(tmp_path):
    default, other = tmp_path / "default.toml", tmp_path / "other.toml"
    default.write_text("[http]\nport = 1\n")
    other.write_text("")
    assert load(None, {}, default_file=default).http.port == 1
    assert load(other, {}, default_file=default).http.port == 9815


def test_under_systemd_the_state_directory_is_the_default_folder(read):
    env = {"STATE_DIRECTORY": "/var/lib/parityd:/var/lib/other"}
    s = read("", env)
    assert (s.data_dir, s.origins()["data_dir"]) == (Path("/var/lib/parityd"), "environment STATE_DIRECTORY")
    assert s.store_path() == Path("/var/lib/parityd/parityd.sqlite")
    assert read('data_dir = "/srv"', env).data_dir == Path("/srv")


def test_credentials_stand_in_where_nothing_else_is_said(tmp_path, read):
    (tmp_path / "parityd.notify_urls").write_text("# desk\njson://a\n\njson://b\n")
    (tmp_path / "parityd.allowed_signers").write_text("x")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    s = read("", env)
    assert [u.get_secret_value() for u in s.notify.urls] == ["json://a", "json://b"]
    assert s.overrides.allowed_signers == tmp_path / "parityd.allowed_signers"
    assert s.origins()["notify.urls"] == "credential parityd.notify_urls"
    assert len(read('[notify]\nurls = ["json://c"]', env).notify.urls) == 1


# --- mistakes in the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("typo = 1", ["typo"]),
        ("port = 9000", ["port", "http.port"]),
        ("[http]\nprot = 1", ["http.prot", "http.port"]),
        ("[htttp]\nport = 1", ["htttp.port", "http.port"]),
        ("[HTTP]\nport = 1", ["HTTP.port"]),
        ("http = 3", ["http", "table"]),
        ("[strategies]\nmomentum = 3", ["strategies.momentum", "table"]),
        ("[strategies.momentum]\ncapitl = 1", ["strategies.momentum.capitl", "capital"]),
        ("[strategies.momentum.thresholds]\nwarning_bps = 1", ["strategies.momentum.thresholds.warning_bps"]),
        ('[http]\nport = "9815"', ["http.port", '"9815"', "whole number"]),
        ("[http]\nport = 65536", ["http.port", "65536", "65535"]),
        ("[http]\nport = true", ["http.port", "whole number"]),
        ("auto_disable_on_drift = 1", ["auto_disable_on_drift", "true or false"]),
        ('auto_disable_on_drift = "no"', ["auto_disable_on_drift", "true or false"]),
        ("[thresholds]\nmin_trades = 0", ["thresholds.min_trades = 0", "at least 1"]),
        ("[thresholds]\nmin_trades = 1.5", ["thresholds.min_trades", "whole number"]),
        ("[thresholds]\nwarning_bps = nan", ["thresholds.warning_bps", "finite"]),
        ("[thresholds]\nemergency_bps = inf", ["thresholds.emergency_bps", "finite"]),
        ("[thresholds]\nreduce_to = 1.0", ["thresholds.reduce_to", "below 1"]),
        ("[thresholds]\nreduce_to = 0", ["thresholds.reduce_to", "above 0"]),
        ('[thresholds]\nprofile = "lax"', ["thresholds.profile", "standard"]),
        ('[publish]\non_expiry = "CONTINUE"', ["publish.on_expiry", "CONTINUE"]),
        ("[schedule]\ncheck_interval = 900", ["schedule.check_interval", '"900s"']),
        ('[schedule]\ncheck_interval = "900"', ["schedule.check_interval", '"900s"']),
        ('[schedule]\ncheck_interval = "0s"', ["schedule.check_interval", '"0s"', "at least 1s"]),
        ('[schedule]\ncheck_interval = "-5m"', ["schedule.check_interval", "duration"]),
        ('[schedule]\ndaily_report_time = "8"', ["schedule.daily_report_time", "08:00"]),
        ('[schedule]\ndaily_report_time = "24:00"', ["schedule.daily_report_time", "24:00"]),
        ('reporting_currency = "dollars"', ["reporting_currency", "dollars"]),
        ('[store]\nurl = "postgresql://u:p@h/d"', ["store.url", "sqlite"]),
        ('[store]\nurl = "sqlite:///:memory:"', ["store.url"]),
        ('[overrides]\nallowed_users = ["no-such-user-here"]', ["overrides.allowed_users", "no-such-user-here"]),
        ('[overrides]\nallowed_signers = "/nonexistent/signers"', ["overrides.allowed_signers", "/nonexistent/signers"]),
        ('[limits]\nline = "3 bananas"', ["limits.line", "64KiB"]),
        ("[limits]\nmin_free = -1", ["limits.min_free", "at least 0"]),
        ('[retention]\narchive = "1d"', ["retention.archive", "35d"]),
        ('[sources.desk]\nbook = "live"', ["sources.desk.path", "needed"]),
        ('[sources.desk]\npath = "x"\ntimezone = "Mars/Olympus"', ["sources.desk.timezone", "Mars/Olympus"]),
        ('[sources.desk]\npath = "x"\nmode = "tail"', ["sources.desk.book", "tail"]),
        ('[symbols."BTC/USD"]\nalias = "BTC/USD"', ['symbols."BTC/USD".alias']),
        ('[symbols."BTC/USD"]\nmultiplier = 0', ['symbols."BTC/USD".multiplier', "above 0"]),
        ("[strategies.'*']\ncapital = 1", ['strategies."*"']),
        ("[strategies.m]\ncapital = -1", ["strategies.m.capital", "-1"]),
        ('data_dir = ""', ["data_dir"]),
        ("a = = 1", ["TOML", "line 1"]),
        ("a = " + "1" * 5000, ["TOML"]),
        ("a = " + "[" * 5000, ["TOML"]),
        ("[http]\nport = 1\nport = 2", ["TOML"]),
    ],
)
def test_a_mistake_is_one_line_that_names_file_key_and_value(refusal, text, told):
    line = refusal(text)
    assert "parityd.toml: " in line
    assert [part for part in told if part not in line] == []


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("[thresholds]\nwarning_bps = 80\ncritical_bps = 50", "thresholds.warning_bps", "thresholds.critical_bps"),
        ("[thresholds]\nwarning_bps = 50", "thresholds.warning_bps", "thresholds.critical_bps"),
        ("[thresholds]\nemergency_bps = 40", "thresholds.critical_bps", "thresholds.emergency_bps"),
        ('[thresholds]\nprofile = "strict"\nwarning_bps = 30', "thresholds.warning_bps", "thresholds.critical_bps"),
        ("[thresholds]\ncorrelation_warning = 0.4", "thresholds.correlation_critical", "thresholds.correlation_warning"),
        ("[thresholds]\nunmatched_warning = 0.3", "thresholds.unmatched_warning", "thresholds.unmatched_critical"),
        ("[thresholds]\nparity_critical = 0.995", "thresholds.parity_critical", "thresholds.parity_warning"),
        ("[thresholds]\nmax_trade_emergency_bps = 4000", "thresholds.max_trade_emergency_bps", "thresholds.suspect_bps"),
        ('[thresholds]\nstale_engine_warning = "3h"', "thresholds.stale_engine_warning", "thresholds.stale_engine_critical"),
        ("[strategies.m]\nwarning_bps = 60", "strategies.m.warning_bps", "strategies.m.critical_bps"),
        ("[thresholds]\ncritical_bps = 25\n[strategies.m]\nwarning_bps = 30", "strategies.m.warning_bps", "strategies.m.critical_bps"),
        ('[publish]\ninterval = "2m"\nttl = "60s"', "publish.ttl", "publish.interval"),
        ('[publish]\ninterval = "31s"', "publish.ttl", "publish.interval"),
    ],
)
def test_values_that_contradict_each_other_are_both_named(refusal, text, low, high):
    line = refusal(text)
    assert "parityd.toml: " in line
    assert low in line
    assert high in line


def test_a_bad_default_neighbour_is_told_with_its_unit(refusal):
    assert '"3h" must be below thresholds.stale_engine_critical = "2h"' in refusal('[thresholds]\nstale_engine_warning = "3h"')


@pytest.mark.parametrize(
    "text",
    [
        '[publish]\non_expiry = "WARNING"',
        'auto_disable_on_drift = false\n[publish]\non_expiry = "WARNING"\n[strategies.m]\nauto_disable_on_drift = true',
    ],
)
def test_an_expiry_that_lets_trading_go_on_needs_advisory_mode_everywhere(refusal, text):
    assert "advisory" in refusal(text)


def test_an_expiry_of_warning_is_taken_in_advisory_mode(read):
    assert read('auto_disable_on_drift = false\n[publish]\non_expiry = "WARNING"').publish.on_expiry == "WARNING"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for place, content in ((tmp_path / "missing.toml", None), (tmp_path, None), (tmp_path / "binary.toml", b"\xff\xfe")):
        if content is not None:
            place.write_bytes(content)
        with pytest.raises(SettingsError, match=re.escape(str(place))):
            load(place, {})


def test_secrets_are_in_no_message_and_in_nothing_shown(refusal, read):
    assert "hunter2" not in refusal('[notify]\nurls = ["slack:/hunter2"]')
    assert "hunter2" not in refusal("", {"PARITYD_NOTIFY__URLS": "hunter2"})
    s = read('[notify]\nurls = ["slack://hunter2/b/c"]')
    assert s.masked()["notify"]["urls"] == ["slack://********"]
    assert "hunter2" not in repr(s) + str(s.shown()) + str(s.model_dump())
    assert s.notify.urls[0].get_secret_value() == "slack://hunter2/b/c"


# --- the environment ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"PARITYD_FOO": "1"}, ["PARITYD_FOO"]),
        ({"PARITYD_": "1"}, ["PARITYD_"]),
        ({"PARITYD_HTTP__PRT": "1"}, ["PARITYD_HTTP__PRT", "PARITYD_HTTP__PORT"]),
        ({"PARITYD_HTTP_PORT": "1"}, ["PARITYD_HTTP_PORT", "PARITYD_HTTP__PORT"]),
        ({"PARITYD_http__port": "1"}, ["PARITYD_http__port", "PARITYD_HTTP__PORT"]),
        ({"PARITYD_HTTP__PORT__X": "1"}, ["PARITYD_HTTP__PORT__X"]),
        ({"PARITYD_DATA_DIR__X": "1"}, ["PARITYD_DATA_DIR__X"]),
        ({"PARITYD_HTTP": "1"}, ["PARITYD_HTTP", "JSON"]),
        ({"PARITYD_STRATEGIES": "momentum"}, ["PARITYD_STRATEGIES", "JSON"]),
        ({"PARITYD_STRATEGIES": '{"m": '}, ["PARITYD_STRATEGIES", "JSON"]),
        ({"PARITYD_STRATEGIES": '{"m": {"capitl": 1}}'}, ["PARITYD_STRATEGIES", "strategies.m.capitl"]),
        ({"PARITYD_STRATEGIES": '{"m": {"capital": "1"}}'}, ["PARITYD_STRATEGIES", "strategies.m.capital", "number"]),
        ({"PARITYD_STRATEGIES__m__CAPITL": "1"}, ["PARITYD_STRATEGIES__m__CAPITL"]),
        ({"PARITYD_HTTP__PORT": "abc"}, ["PARITYD_HTTP__PORT", "http.port", "whole number"]),
        ({"PARITYD_HTTP__PORT": ""}, ["PARITYD_HTTP__PORT"]),
        ({"PARITYD_HTTP__PORT": "1.5"}, ["PARITYD_HTTP__PORT", "whole number"]),
        ({"PARITYD_AUTO_DISABLE_ON_DRIFT": "maybe"}, ["PARITYD_AUTO_DISABLE_ON_DRIFT", "true or false"]),
        ({"PARITYD_PUBLISH__TTL": "60"}, ["PARITYD_PUBLISH__TTL", '"60s"']),
        ({"PARITYD_PUBLISH__TTL": "10s"}, ["PARITYD_PUBLISH__TTL", "publish.interval"]),
        ({"PARITYD_THRESHOLDS__WARNING_BPS": "70"}, ["PARITYD_THRESHOLDS__WARNING_BPS", "thresholds.critical_bps"]),
        ({"PARITYD_HTTP__PORT\n": "1"}, [r"PARITYD_HTTP__PORT\n"]),
    ],
)
def test_a_mistaken_variable_is_one_line_that_names_it(refusal, env, told):
    line = refusal("", env)
    assert [part for part in told if part not in line] == []


def test_a_variable_wins_over_the_file_key_by_key(read):
    s = read('[http]\nhost = "::1"\nport = 1', {"PARITYD_HTTP__PORT": "2", "HOME": "/root", "PARITYD": "x"})
    assert (s.http.host, s.http.port) == ("::1", 2)
    origins = s.origins()
    assert (origins["http.host"], origins["http.port"], origins["log.level"]) == ("file", "environment PARITYD_HTTP__PORT", "default")


def test_every_key_can_be_given_by_its_variable(read):
    for path in all_keys(Settings):
        concrete = tuple("desk" if part == "*" else part for part in path)
        name = variable(concrete)
        with pytest.raises(SettingsError) as caught:
            read("", {name: "" if path == ("data_dir",) else "\x07"})
        assert name in str(caught.value)
        assert "unknown environment" not in str(caught.value)


def test_names_of_strategies_and_symbols_keep_their_case(read):
    env = {
        "PARITYD_STRATEGIES__Mom v2__CAPITAL": "1e5",
        "PARITYD_STRATEGIES__a__b__OBEYS": "yes",
        "PARITYD_STRATEGIES__x": '{"capital": 1, "warning_bps": 12}',
        "PARITYD_STRATEGIES__x__CAPITAL": "2",
        "PARITYD_SYMBOLS__BTC/USD__MULTIPLIER": "0.1",
    }
    s = read("[strategies.momentum]\n[strategies.Momentum]\ncapital = 7", env)
    assert set(s.strategies) == {"momentum", "Momentum", "Mom v2", "a__b", "x"}
    assert (s.strategies["Mom v2"].capital, s.strategies["a__b"].obeys, s.symbols["BTC/USD"].multiplier) == (100000.0, True, 0.1)
    assert (s.strategies["x"].capital, s.parameters().strategies["x"].thresholds.warning_bps) == (2.0, 12.0)


def test_lists_and_tables_are_json_or_separated_by_commas(read):
    users = {"PARITYD_OVERRIDES__ALLOWED_USERS": "root, 1001"}
    assert (
        read("", users).overrides.allowed_users == read("", {"PARITYD_OVERRIDES__ALLOWED_USERS": '["root", 1001]'}).overrides.allowed_users
    )
    assert read("", users).overrides.uids() == {0, 1001}
    gone = Overrides.model_construct(allowed_users=("gone-since-the-start", 1001))
    assert gone.uids() == {1001}, "an account that is removed later ends nobody's hearing"
    assert read("[overrides]\nallowed_users = [5]", {"PARITYD_OVERRIDES__ALLOWED_USERS": ""}).overrides.allowed_users == ()
    env = {"PARITYD_SOURCES__d__PATH": "x.csv", "PARITYD_SOURCES__d__COLUMNS": "ts=Time,price=Px"}
    assert read("", env).sources["d"].columns == {"ts": "Time", "price": "Px"}
    env["PARITYD_SOURCES__d__COLUMNS"] = '{"ts": "A, b"}'
    assert read("", env).sources["d"].columns == {"ts": "A, b"}


# --- what the core is told ------------------------------------------------------------------------------------------------------


def test_the_strict_profile_brings_its_bands_unless_they_are_given(read):
    strict = read('[thresholds]\nprofile = "strict"').parameters().thresholds
    assert (strict.warning_bps, strict.critical_bps, strict.emergency_bps) == (15.0, 30.0, 60.0)
    mixed = read('[thresholds]\nprofile = "strict"\ncritical_bps = 40').parameters().thresholds
    assert (mixed.warning_bps, mixed.critical_bps, mixed.emergency_bps) == (15.0, 40.0, 60.0)


def test_a_strategys_own_values_go_over_the_general_ones(read):
    p = read("""
        auto_disable_on_drift = false
        [thresholds]
        min_trades = 5
        warning_bps = 25
        [strategies.own]
        capital = 1000
        timeframe = "1h"
        max_silence = "10m"
        obeys = true
        auto_disable_on_drift = true
        critical_bps = 60
        stale_engine_warning = "10m"
        [strategies.strict]
        profile = "strict"
        min_trades = 20
        [strategies.plain]
    """).parameters()
    own, strict, plain = (p.strategies[n] for n in ("own", "strict", "plain"))
    assert (own.capital, own.timeframe, own.max_silence, own.obeys, own.advisory) == (1000.0, 3600.0, 600.0, True, False)
    assert (own.thresholds.warning_bps, own.thresholds.critical_bps, own.thresholds.min_trades) == (25.0, 60.0, 5)
    assert own.thresholds.stale_engine_warning == 600.0
    assert (strict.thresholds.warning_bps, strict.thresholds.critical_bps, strict.thresholds.min_trades) == (15.0, 30.0, 20)
    assert (plain.thresholds, plain.advisory) == (p.thresholds, True)
    assert p.of("never seen") == plain


def test_limits_schedule_and_symbols_reach_the_core(read):
    p = read("""
        reporting_currency = "EUR"
        [schedule]
        check_interval = "1m"
        [limits]
        strategies = 3
        future = "10s"
        [matching]
        gap = "500ms"
        [symbols.ESH4]
        multiplier = 50
        currency = "USD"
        inverse = true
        alias = "ES"
    """).parameters()
    assert (p.reporting_currency, p.check_interval, p.max_strategies, p.future_tolerance, p.matching.gap) == ("EUR", 60.0, 3, 10.0, 0.5)
    assert p.symbols["ESH4"] == parameters.SymbolTerms(currency="USD", multiplier=50.0, inverse=True, alias="ES")


def test_a_calendar_is_known_or_refused(read, refusal):
    pytest.importorskip("exchange_calendars")
    assert read('[strategies.m]\ncalendar = "XNYS"').parameters().strategies["m"].calendar == "XNYS"
    assert "XNYZ" in refusal('[strategies.m]\ncalendar = "XNYZ"')


# --- renamed keys, reload, what is shown ----------------------------------------------------------------------------------------

OLD = {
    "matching.window": Renamed("matching.tolerance", "0.4"),
    "strategies.*.equity": Renamed("strategies.*.capital", "0.4"),
    "server.port": Renamed("http.port", "0.4"),
}


def test_a_renamed_key_works_with_a_warning_in_the_minor_version_that_renamed_it(read):
    text = '[matching]\nwindow = "2m"\n[strategies.m]\nequity = 5\n[server]\nport = 7\n'
    s = read(text, renamed=OLD, version="0.4.9")
    assert (s.matching.tolerance, s.strategies["m"].capital, s.http.port) == (120.0, 5.0, 7)
    assert len(s.warnings()) == 3
    assert "matching.window is called matching.tolerance now" in "".join(s.warnings())
    env = {"PARITYD_MATCHING__WINDOW": "3m", "PARITYD_SERVER__PORT": "8", "PARITYD_STRATEGIES__m__EQUITY": "6"}
    s = read("", env, renamed=OLD, version="0.4.0")
    assert (s.matching.tolerance, s.http.port, s.strategies["m"].capital) == (180.0, 8, 6.0)


def test_a_renamed_key_is_refused_by_its_new_name_one_minor_version_later(refusal):
    line = refusal('[matching]\nwindow = "2m"', renamed=OLD, version="0.5.0")
    assert "matching.window is called matching.tolerance since version 0.4" in line
    assert "http.port" in refusal("", {"PARITYD_SERVER__PORT": "8"}, renamed=OLD, version="1.0.0")


def test_a_key_under_both_its_names_is_refused(refusal):
    assert "both" in refusal('[matching]\nwindow = "2m"\ntolerance = "3m"', renamed=OLD, version="0.4.0")


def test_the_renamings_that_ship_lead_to_keys_that_exist():
    for old, renamed in RENAMED.items():
        assert field_of(Settings, tuple(renamed.new.split("."))) is not None, old


def test_a_reload_tells_what_it_can_change_and_what_it_cannot(read):
    old = read("[strategies.a]\ncapital = 1")
    new = read('data_dir = "/srv"\n[http]\nport = 1\n[log]\nlevel = "debug"\n[strategies.b]\nobeys = true\n[notify]\nurls = ["json://x"]')
    reloadable, refused = reload_differences(old, new)
    assert refused == ["data_dir", "http.port"]
    assert {"log.level", "strategies.a.capital", "strategies.b.obeys", "notify.urls"} <= set(reloadable)
    assert reload_differences(old, read("[strategies.a]\ncapital = 1.0")) == ([], [])


def test_a_changed_secret_is_a_difference(read):
    assert reload_differences(read('[notify]\nurls = ["json://x"]'), read('[notify]\nurls = ["json://y"]')) == (["notify.urls"], [])


def test_settings_are_frozen(read):
    with pytest.raises(ValueError, match="frozen"):
        read().http.port = 1  # type: ignore[misc]


def test_what_is_shown_has_an_origin_each_and_can_be_read_again(read):
    s = read('[strategies."my one"]\ncapital = 3\nstale_engine_warning = "90s"\n[sources.d]\npath = "x"\ncolumns = { ts = "T" }')
    assert s.shown().keys() == s.origins().keys()
    assert s.origins()['strategies."my one".capital'] == "file"
    lines = "\n".join(f"{key} = {settings_reference._toml(value)}" for key, value in s.shown().items())
    assert read(lines).model_dump() == s.model_dump()


# --- the shipped file and page --------------------------------------------------------------------------------------------------


def test_the_shipped_file_is_the_defaults_and_loads():
    assert load(ROOT / "config/parityd.toml", {}).model_dump() == load(None, {}, default_file=NOWHERE).model_dump()


def test_the_shipped_file_names_every_key_with_a_comment_and_only_known_ones(read):
    text = (ROOT / "config/parityd.toml").read_text(encoding="utf-8")
    lines = text.splitlines()
    for before, line in itertools.pairwise(lines):
        assert not re.match(r"#?\w+ = ", line) or before.startswith("# "), line
    everything = re.sub(r"(?m)^#(?=[\w\[])", "", text).replace("/etc/parityd/allowed_signers", str(ROOT / "LICENSE"))
    document = tomllib.loads(everything)
    named = set()
    for path in all_keys(Settings):
        at = document
        for part in path:
            at = next(iter(at.values())) if part == "*" else at.get(part, {}) if isinstance(at, dict) else {}
        named |= {path} if at != {} or path == ("sources", "*", "columns") else set()
    own = {("strategies", "*", k) for k in Thresholds.model_fields}
    assert set(all_keys(Settings)) - named - own == set()
    assert set(read(everything).strategies) == {"momentum"}


def test_the_page_and_the_file_are_as_the_settings_print_them():
    for place, text in ((settings_reference.PAGE, settings_reference.page()), (settings_reference.FILE, settings_reference.annotated())):
        assert (ROOT / place).read_text(encoding="utf-8") == text, f"python -m parityd.settings_reference . writes {place} anew"


def test_the_page_tells_every_key_and_both_profiles():
    text = settings_reference.page()
    for path in all_keys(Settings):
        assert f"| `{path[-1]}` |" in text, path
    for name, value in PROFILES["strict"].items():
        assert f"Profile strict: {value:g}" in (Thresholds.model_fields[name].description or "")


# --- values ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("36h", 129_600),
        ("2d", 172_800),
        ("1w", 604_800),
        ("500ms", 0.5),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("0s", 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5", "5 m", "-5m", "5M", "5m3", "1e3s", "inf", "nan", "٣s", "99999999w", None, True, [], 3, 2.5])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.floats(min_value=0, max_value=3e9, allow_nan=False) | st.integers(0, 3_000_000_000).map(float))
def test_a_duration_is_shown_as_text_that_means_the_same(seconds):
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, rel_tol=1e-12, abs_tol=1e-15)


@given(st.integers(0, 2**60))
def test_a_size_is_shown_as_text_that_means_the_same(size):
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65_536), ("1 GB", 10**9), ("0.5MiB", 524_288), ("12", 12), (12, 12)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "-1", "1kb", "1KB", True, 1.5, None])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


NASTY_TEXTS = [
    "",
    " ",
    "\x00",
    "\udc80",
    "1" * 5000,
    "-1",
    "1e999",
    "nan",
    "[",
    "[]",
    "[[]]",
    "{}",
    '{"a": {}}',
    '{"a": 1}',
    "null",
    "=",
    "a,b",
    "[" * 99_999,
]
NASTY_VALUES = [
    1,
    -1,
    10**400,
    0.0,
    -0.0,
    math.inf,
    math.nan,
    True,
    [],
    [[]],
    {},
    {"a": {}},
    {"a": {"b": 1}},
    {"": 1},
    dt.date(2026, 1, 1),
    dt.time(1),
]


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value).lower() if isinstance(value, bool) else repr(value)


@pytest.mark.parametrize("path", all_keys(Settings), ids=".".join)
def test_whatever_the_value_it_ends_in_settings_or_in_one_line(read, path):
    concrete = ["desk" if part == "*" else part for part in path]
    documents = [functools.reduce(lambda inner, part: {part: inner}, reversed(concrete), value) for value in NASTY_VALUES]
    texts = [f"{concrete[0]} = {toml(document[concrete[0]])}" for document in documents]
    for text, env in [(text, {}) for text in texts] + [("", {variable(tuple(concrete)): text}) for text in NASTY_TEXTS]:
        try:
            read(text, env)
        except SettingsError as refused:
            assert str(refused).isprintable()
            assert len(str(refused)) < 500
