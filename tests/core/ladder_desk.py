"""A strategy on the ladder for the tests: checks every 15 minutes, and a restart from bytes after every turn."""

import msgspec

from parityd.core.evidence import Assessment, Finding
from parityd.core.ladder import on_check, on_period_closed, on_reset, on_scan
from parityd.core.ladder_recovery import Trial
from parityd.core.ladder_state import LadderState
from parityd.core.parameters import Escalation, Recovery, StrategyTerms

TERMS = StrategyTerms()
DEFAULT = Recovery()
ADVISORY = StrategyTerms(advisory=True)
CHECK = 900 * 10**9
START = 1_800_000_000 * 10**9
FRESH = LadderState(strategy="momentum")
DAYS = [f"2026-03-{day:02d}" for day in range(1, 29)]


def finding(level="CRITICAL", code="tracking_error", **given):
    return Finding(code=code, level=level, **{"value": 62.1, "threshold": 50.0, "detail": f"{code} 62.1 bps >= 50", **given})


def present(level="CRITICAL", code="stale_engine"):
    return finding(level, code, state=True, detail=f"{code}: silent")


def trial(*findings, fresh=32, sufficient=True, **held):
    known = {"tracking_error": "OK", **held}
    return Trial(assessment=Assessment(evidence="sufficient" if sufficient else "insufficient", findings=findings, held=known), fresh=fresh)


class Desk:
    """A strategy whose checks come every 15 minutes."""

    def __init__(self, state=FRESH, terms=TERMS, recovery=DEFAULT):
        self.state, self.terms, self.recovery, self.now = state, terms, recovery, START
        self.days = iter(DAYS)

    def take(self, outcome):
        self.state = msgspec.msgpack.decode(msgspec.msgpack.encode(outcome.state), type=LadderState)
        assert self.state == outcome.state
        return outcome

    def scan(self, *findings):
        self.now += 1
        return self.take(on_scan(self.state, findings, self.now, self.terms))

    def check(self, *findings, evidence=None, shadow=None):
        self.now += CHECK
        return self.take(on_check(self.state, findings, self.now, self.terms, self.recovery, trial=evidence, shadow=shadow))

    def checks(self, n, *findings, evidence=None, shadow=None):
        return [self.check(*findings, evidence=evidence, shadow=shadow).action for _ in range(n)]

    def period(self, day, findings, **more):
        return self.take(on_period_closed(self.state, day, findings, self.now, self.terms, Escalation(), **more))

    def reset(self):
        self.now += 1
        return self.take(on_reset(self.state, self.now))


def disabled(**given):
    desk = Desk(**given)
    desk.scan(finding(asks="DISABLE_TRADING"))
    return desk


def disabled_by_streak():
    desk = Desk()
    for _ in range(2):
        desk.period(next(desk.days), [finding("CRITICAL")])
    assert desk.state.action == "DISABLE_TRADING"
    return desk
