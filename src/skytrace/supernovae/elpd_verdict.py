"""What a difference of expected log predictive density says; one rule for reports, words and figures."""

__all__ = ["SMALL_ELPD", "pair_verdict"]

SMALL_ELPD = 4.0  # a difference below it is small whatever its SE (Sivula, Magnusson & Vehtari 2020)


def pair_verdict(difference: float, se: float) -> str:
    """``equal``, ``better`` or ``worse``: what a difference of elpd (law minus reference) and its standard error say.

    Equal: below two standard errors, or below SMALL_ELPD.
    """
    if abs(difference) < SMALL_ELPD or abs(difference) <= 2.0 * se:
        return "equal"
    return "better" if difference > 0.0 else "worse"
