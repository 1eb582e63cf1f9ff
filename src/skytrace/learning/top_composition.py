"""What the highest scores of a survey would be made of, under stated assumptions about the sky.

Measured are survival curves: the share of lenses, and of each category of galaxies, above a score, from the test split.
Assumed is how common each is. No precision follows without the assumption, so each result carries it.

Intervals are draws from the posterior of every survival curve: Dirichlet weights, 1 on each test stamp and 1/2 above
the highest and below the lowest, so that the share above any score is Beta(k + 1/2, n - k + 1/2), the Jeffreys
posterior of ``beta_interval``, and each drawn curve falls as it must (Rubin 1981, with Jeffreys' ends).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.metrics import MIN_FALSE_POSITIVES, check_scores
from skytrace.learning.options import TopOptions
from skytrace.statistics import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from skytrace.learning.options import SurveyScenario

__all__ = ["category_shares", "top_composition"]

_LENS, _ORDINARY, _OTHER = "lens", "ordinary", "other_confusers"


def category_shares(categories: ArrayLike) -> dict[str, float]:
    """Share of every confuser category among galaxies (n,), each with its primary category; "" is "ordinary"."""
    names = pd.Series(np.asarray(categories, dtype=str)).replace("", _ORDINARY)
    return {str(name): float(share) for name, share in names.value_counts(normalize=True).sort_index().items()}


def top_composition(
    table: pd.DataFrame, *, shares: Mapping[str, float], options: TopOptions | None = None
) -> dict[str, Any]:
    """JSON-ready: by scenario and number K, the expected lenses and galaxies by category among the K highest scores.

    table: score, label, confuser_category of the test split. shares: of the survey's galaxies by category
    (``category_shares`` of the selected ones), the sum of which is 1. Each entry: threshold, lens_share and
    completeness with intervals, and counts by category. Where fewer than MIN_FALSE_POSITIVES test galaxies lie above
    the threshold the rates are not resolved and nothing is given but the reason; smallest_resolved_top is the K from
    which on they are.
    Categories with fewer than options.min_category_galaxies test galaxies are taken together as "other_confusers", with
    the smallest of the rest if need be, at the rate of all of them; ``merged`` names them.
    """
    options = options or TopOptions()
    scores, labels = check_scores(table["score"], table["label"])
    category = table["confuser_category"].astype(str).replace("", _ORDINARY).to_numpy()
    group = np.where(labels == 1, _LENS, category)
    if not (labels == 1).any() or not (labels == 0).any():
        raise CatalogueError("the composition of the highest scores needs both lenses and galaxies in the test split")
    order = np.argsort(-scores, kind="stable")
    result = []
    for scenario in options.scenarios:
        numbers = _numbers(scenario, shares, options.survey_galaxies)
        merged = _merged(numbers, group, options.min_category_galaxies)
        together = np.where(np.isin(group, merged), _OTHER, group)
        used = {name: number for name, number in numbers.items() if name not in merged}
        if merged:
            used[_OTHER] = sum(numbers.get(name, 0.0) for name in merged)
        record: dict[str, Any] = {
            "scenario": scenario.name, "lens_share_assumed": scenario.lens_share, "numbers_assumed": numbers,
            "merged": {_OTHER: merged} if merged else {},
        }  # fmt: skip
        unmeasured = sorted(name for name, number in used.items() if number > 0 and not (together == name).any())
        if unmeasured:
            record |= {"top": [], "reason": f"the test split has no galaxies of category {', '.join(unmeasured)}"}
        else:
            record |= _compositions(scores[order], together[order], used, options)
        result.append(record)
    return {
        "survey_galaxies": options.survey_galaxies,
        "scenarios": result,
        "note": "expected under each scenario's assumed shares and lenses like those of the test split; not measured",
    }


def _numbers(scenario: SurveyScenario, shares: Mapping[str, float], survey_galaxies: float) -> dict[str, float]:
    """How many of each there are: lenses, and the galaxies by category, the ordinary ones making up the rest."""
    merged = {**shares, **scenario.category_shares}
    named = sum(share for name, share in merged.items() if name != _ORDINARY)
    if named > 1.0 + 1e-9:
        raise OptionError(f"category shares of scenario {scenario.name!r} add up to {named:.3f}, more than 1")
    merged[_ORDINARY] = max(0.0, 1.0 - named)
    galaxies = survey_galaxies * (1.0 - scenario.lens_share)
    counts = {name: galaxies * share for name, share in sorted(merged.items()) if share > 0}
    return {_LENS: survey_galaxies * scenario.lens_share, **counts}


def _merged(numbers: dict[str, float], group: NDArray[np.str_], least: int) -> list[str]:
    """Confuser categories that are counted as one, because the test split has too few galaxies of some of them."""
    known = {name: int((group == name).sum()) for name in numbers if name not in (_LENS, _ORDINARY)}
    merged: list[str] = []
    for name in sorted(known, key=lambda name: (known[name], name)):
        if known[name] < least or (merged and sum(known[other] for other in merged) < least):
            merged.append(name)
    return merged if len(merged) > 1 else []


def _compositions(
    scores: NDArray[np.float64], group: NDArray[np.str_], numbers: dict[str, float], options: TopOptions
) -> dict[str, Any]:
    """One record for every K, and the smallest K that the sample resolves; scores fall."""
    names = list(numbers)
    used = np.isin(group, names)
    scores, code = scores[used], np.array([names.index(name) for name in group[used]])
    size, total = (
        np.bincount(code, minlength=len(names)).astype(np.float64),
        np.array([numbers[name] for name in names]),
    )
    rng = np.random.default_rng(options.seed)
    drawn = np.empty((options.n_draws, len(options.top), len(names)))
    for draw in range(options.n_draws):
        drawn[draw], _ = _counts_at(code, *_drawn_curves(code, len(names), rng), total, options.top)
    # the posterior mean of every curve: weight 1 a stamp, 1/2 at each end
    weight, above_all = (1.0 / (size + 1.0))[code], 0.5 / (size + 1.0)
    mean, last = _counts_at(code, weight, above_all, total, options.top)
    records = []
    for which, number in enumerate(options.top):
        above = int((code[: last[which]] != 0).sum())
        records.append(_top_record(number, names, total, mean[which], drawn[:, which], above))
        records[-1]["threshold"] = float(scores[last[which] - 1]) if last[which] else None
    galaxies = np.flatnonzero(code != 0)
    smallest = None
    if len(galaxies) >= MIN_FALSE_POSITIVES:
        higher = slice(0, galaxies[MIN_FALSE_POSITIVES - 1])
        smallest = float((above_all * total).sum() + (weight * total[code])[higher].sum())
    return {"top": records, "smallest_resolved_top": smallest}


def _drawn_curves(
    code: NDArray[np.intp], groups: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One draw of all survival curves: the share of its group (n,) on each stamp, and (group,) above the highest."""
    inner, ends = rng.standard_exponential(len(code)), rng.gamma(0.5, size=(2, groups))
    mass = np.bincount(code, weights=inner, minlength=groups) + ends.sum(axis=0)
    return inner / mass[code], ends[0] / mass


def _counts_at(
    code: NDArray[np.intp],
    weight: NDArray[np.float64],
    above_all: NDArray[np.float64],
    total: NDArray[np.float64],
    top: tuple[int, ...],
) -> tuple[NDArray[np.float64], list[int]]:
    """Expected counts (K, group) among the K highest, and how many test stamps lie above each threshold.

    weight: share of its group that each stamp stands for, stamps in falling order; above_all: share above the highest.
    """
    beyond = above_all * total
    cumulative = beyond.sum() + np.cumsum(weight * total[code])
    counts, last = np.empty((len(top), len(total))), []
    for which, number in enumerate(top):
        if number <= beyond.sum():  # no test stamp is that high: all that is known are the ends of the curves
            counts[which] = beyond * number / beyond.sum()
            last.append(0)
            continue
        rows = min(int(np.searchsorted(cumulative, number)) + 1, len(code))
        within = np.bincount(code[:rows], weights=(weight * total[code])[:rows], minlength=len(total))
        excess = max(0.0, float(cumulative[rows - 1]) - number)  # part of the last stamp is beyond the K-th
        within[code[rows - 1]] -= excess
        counts[which] = beyond + within
        last.append(rows)
    return counts, last


def _top_record(
    number: int,
    names: list[str],
    total: NDArray[np.float64],
    mean: NDArray[np.float64],
    drawn: NDArray[np.float64],
    above: int,
) -> dict[str, Any]:
    reason = None
    if above < MIN_FALSE_POSITIVES:
        reason = f"{above} test galaxies lie above this threshold; {MIN_FALSE_POSITIVES} are needed to resolve it"

    def entry(value: float, draws: NDArray[np.float64]) -> dict[str, Any]:
        record: dict[str, Any] = {"value": float(value)}
        for level, share in LEVELS.items():
            low, high = np.quantile(draws, [0.5 - share / 2, 0.5 + share / 2])
            record |= {f"low_{level}": float(low), f"high_{level}": float(high)}
        return record

    result: dict[str, Any] = {"top": number, "resolved": reason is None, "test_galaxies_above": above}
    if reason:
        return result | {"reason": reason}
    return result | {
        "lens_share": entry(mean[0] / mean.sum(), drawn[:, 0] / drawn.sum(axis=1)),
        "completeness": entry(mean[0] / total[0], drawn[:, 0] / total[0]),
        "expected": {name: entry(mean[i], drawn[:, i]) for i, name in enumerate(names)},
    }
