"""What a difference of expected log predictive density says; one rule for words and figures."""

__all__ = ["pair_verdict"]

_SMALL = 4.0  # a difference below it is small whatever its SE (Sivula, Magnusson & Vehtari 2020)


def pair_verdict(difference: float, se: float) -> str:
    """``equal``, ``better`` or ``worse``: what a difference of elpd (law minus reference) and its standard error "
    "say."""
    if abs(difference) < _SMALL or abs(difference) <= 2.0 * se:
        return "equal"
    return "better" if difference > 0.0 else "worse"
