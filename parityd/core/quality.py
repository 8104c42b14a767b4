"""Quality score and grade (MATH 4): one number from the measures at hand. It judges nothing.

1. Parts: 40 tracking error (1 at 0 bps, 0 from the emergency threshold on), 30 correlation (none below 0), 15 hit rate, 15 decision parity.
2. A part that was not measured is left out and the others are weighted up to 100; without any part there is no score.
"""

WEIGHTS = (40.0, 30.0, 15.0, 15.0)
GRADES = ((90.0, "A"), (80.0, "B"), (70.0, "C"), (60.0, "D"))


def quality_score(
    *,
    tracking_error_bps: float | None,
    emergency_bps: float,
    correlation: float | None,
    hit_rate: float | None,
    decision_parity: float | None,
) -> float | None:
    """0 to 100, or None."""
    parts = (
        None if tracking_error_bps is None else max(0.0, 1.0 - tracking_error_bps / emergency_bps),
        None if correlation is None else max(0.0, correlation),
        hit_rate,
        decision_parity,
    )
    known = [(w, p) for w, p in zip(WEIGHTS, parts, strict=True) if p is not None]
    return 100.0 * sum(w * p for w, p in known) / sum(w for w, _ in known) if known else None


def quality_grade(score: float | None) -> str | None:
    """A from 90, B from 80, C from 70, D from 60, else F."""
    if score is None:
        return None
    return next((name for least, name in GRADES if score >= least - 1e-9), "F")
