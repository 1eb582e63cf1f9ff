"""Boxes of model parameters, one for each stage of the inference, and Latin hypercubes drawn in them.

Stage 1 has the fifteen parameters of the ejecta. Stages 2 and 3 give every velocity zone abundances of its own, which
take the place of the five X_* of stage 1: nothing would read those any more. The ten that stay are relaxed about the
earlier stage's centre, by 10 % of the value or, where the parameter is a logarithm or an exponent, by 10 % of the
width of stage 1's range; where the earlier posterior is wider, by three of its standard deviations, so that no box
cuts what it inherits. Narrowing a space between rounds of training (sequential design) is that of LUMINA-ML.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.spectra.boxes import box_shares, box_values
from skytrace.spectra.composition import SHARED_PARAMETERS, ZONE_SPECIES, zone_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.boxes import Box

__all__ = [
    "ParameterSpace",
    "draw_latin_hypercube",
    "log10_compression",
    "narrowed",
    "stage_one_space",
    "stage_space",
]

#: Relaxation of an inherited parameter: of its value, or of the width of stage 1's range; at least so many deviations.
_RELAXED_BY, _DEVIATIONS = 0.10, 3.0


class _Axis(NamedTuple):
    low: float
    high: float
    unit: str
    relaxed_by_width: bool = False
    logarithmic: bool = False


_STAGE_ONE = {
    "log_L": _Axis(42.5, 43.5, "log10 erg/s", True),
    "v_inner": _Axis(7000.0, 15_000.0, "km/s"),
    "log_rho_0": _Axis(-14.0, -12.3, "log10 g/cm3", True),
    "density_exp": _Axis(-10.0, -4.0, "", True),
    "T_e_ratio": _Axis(0.7, 1.0, ""),
    "v_core": _Axis(9000.0, 17_000.0, "km/s"),
    "v_wall": _Axis(12_000.0, 24_000.0, "km/s"),
    "X_Fe_core": _Axis(0.05, 0.85, "mass fraction"),
    "X_Si_wall": _Axis(0.05, 0.75, "mass fraction"),
    "v_break": _Axis(10_000.0, 22_000.0, "km/s"),
    "density_exp_outer": _Axis(-14.0, -4.0, "", True),
    "t_exp": _Axis(10.0, 28.0, "d"),
    "X_Fe_wall": _Axis(0.001, 0.5, "mass fraction"),
    "X_Ni": _Axis(0.005, 0.25, "mass fraction"),
    "X_Fe_outer": _Axis(0.001, 0.15, "mass fraction"),
}
_ZONES = {2: 6, 3: 15}
#: Percentiles of the samples that a narrowed space spans, and what it adds on either side, of their distance.
_PERCENTILES, _ADDED = (1.0, 99.0), 0.30
#: Rounds of redrawing; with a share a of the draws physical, (1 - a)^rounds of the models are still missing after them.
_MAX_ROUNDS = 500


@dataclass(frozen=True)
class ParameterSpace:
    """A box of d parameters: names, low and high with their unit, each a tuple of length d.

    relaxed_by_width: True where a later stage relaxes the parameter by 10 % of the width of its range (logarithms and
    exponents), False where by 10 % of its value. logarithmic: True where a prior that is flat in this space is flat in
    the logarithm of the parameter; () is none. Raises OptionError for tuples of other lengths, repeated names, bounds
    that are no numbers or do not ascend, and logarithmic ranges that reach 0.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    unit: tuple[str, ...]
    relaxed_by_width: tuple[bool, ...]
    logarithmic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        for key, kind in (("names", str), ("low", float), ("high", float), ("unit", str), ("relaxed_by_width", bool)):
            object.__setattr__(self, key, tuple(kind(value) for value in getattr(self, key)))
        flags = tuple(bool(value) for value in self.logarithmic) or (False,) * len(self.names)
        object.__setattr__(self, "logarithmic", flags)
        for key in ("low", "high", "unit", "relaxed_by_width", "logarithmic"):
            if len(getattr(self, key)) != len(self.names):
                raise OptionError(f"{key} has {len(getattr(self, key))} values for {len(self.names)} names")
        if not self.names:
            raise OptionError("names is empty: a space has at least one parameter")
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise OptionError(f"names repeats {', '.join(repeated)}")
        for name, low, high, log in zip(self.names, self.low, self.high, self.logarithmic, strict=True):
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise OptionError(f"{name}: low = {low:g}, high = {high:g} are no ascending pair of numbers")
            if log and low <= 0.0:
                raise OptionError(f"{name}: low = {low:g} of a logarithmic parameter is not above 0")

    @property
    def size(self) -> int:
        """Number of parameters d."""
        return len(self.names)

    def to_unit(self, values: ArrayLike) -> NDArray[np.float64]:
        """(n, d) in [0, 1] for parameters (n, d) in the order of names; 0 is low, 1 is high, outside lies outside."""
        return np.asarray(box_shares(self._table(values), self._box))

    def from_unit(self, unit: ArrayLike) -> NDArray[np.float64]:
        """Parameters (n, d) in the order of names; the inverse of ``to_unit``."""
        return np.asarray(box_values(self._table(unit), self._box))

    @property
    def _box(self) -> Box:
        return self.low, self.high, self.logarithmic

    def _table(self, values: ArrayLike) -> NDArray[np.float64]:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.size:
            raise OptionError(f"an array of shape {array.shape} is not (n, {self.size}), one column a parameter")
        return array


def stage_one_space() -> ParameterSpace:
    """The fifteen parameters of the ejecta and their ranges."""
    return _space(_STAGE_ONE)


def stage_space(
    stage: int, centre: Mapping[str, float], deviation: Mapping[str, float] | None = None
) -> ParameterSpace:
    """Stage 2 (6 zones of 8 species) or 3 (15 zones, 8 smooth profiles of 6 modes) about the earlier stage's centre.

    centre: at least the ten parameters that are no abundance; others are not looked at. Their ranges are relaxed about
    it and clipped to stage 1's; the new parameters have their full range. deviation: standard deviations of the earlier
    posterior, none where absent. Raises OptionError for another stage, a parameter that is missing, one that lies
    outside stage 1's range, and a deviation that is no number from 0 up.
    """
    check_choice("stage", stage, tuple(_ZONES))
    missing = [name for name in SHARED_PARAMETERS if name not in centre]
    if missing:
        raise OptionError(f"centre lacks {', '.join(missing)}; it has {', '.join(map(str, centre))}")
    rows = {}
    for name in SHARED_PARAMETERS:
        prior, value = _STAGE_ONE[name], float(centre[name])
        check_between(f"centre's {name}", value, prior.low, prior.high)
        width, sd = prior.high - prior.low, float((deviation or {}).get(name, 0.0))
        check_between(f"deviation's {name}", sd, 0.0, width)
        reach = max(_RELAXED_BY * (width if prior.relaxed_by_width else abs(value)), _DEVIATIONS * sd)
        rows[name] = prior._replace(low=max(prior.low, value - reach), high=min(prior.high, value + reach))
    return _space(rows | _abundances(stage))


def _space(axes: Mapping[str, _Axis]) -> ParameterSpace:
    columns = {key: tuple(getattr(axis, key) for axis in axes.values()) for key in _Axis._fields}
    return ParameterSpace(tuple(axes), **columns)


def _abundances(stage: int) -> dict[str, _Axis]:
    """The parameters that a stage adds."""
    if stage == 3:
        from skytrace.spectra.abundance_profiles import MODE_RANGE, mode_columns

        return dict.fromkeys(mode_columns(), _Axis(*MODE_RANGE, "quantile of a mode", True))
    return {
        name: _Axis(*ZONE_SPECIES[name.split("_")[1]], "mass fraction", True, True)
        for name in zone_columns(_ZONES[stage])
    }


def narrowed(space: ParameterSpace, samples: ArrayLike) -> ParameterSpace:
    """The space of the next round: from the 1st to the 99th percentile of posterior samples (n, d), widened on either
    side by 30 % of their distance, clipped to ``space``; on a logarithmic axis all of this in the logarithm.

    Raises OptionError for samples that are not finite, lie outside, or do not vary, and for fewer than 100.
    """
    unit = space.to_unit(samples)
    if len(unit) < 100:
        raise OptionError(f"{len(unit)} samples do not give a 1st and a 99th percentile: at least 100 do")
    wrong = [name for name, column in zip(space.names, unit.T, strict=True) if not np.isfinite(column).all()]
    if wrong:
        raise OptionError(f"samples of {', '.join(wrong)} are not finite")
    first, last = np.percentile(unit, _PERCENTILES, axis=0)
    added = _ADDED * (last - first)
    low, high = np.maximum(first - added, 0.0), np.minimum(last + added, 1.0)
    wrong = [name for name, left, right in zip(space.names, low, high, strict=True) if not left < right]
    if wrong:
        raise OptionError(f"samples of {', '.join(wrong)} do not vary, or lie outside the space")
    bounds = space.from_unit(np.stack([low, high]))
    bounds[0] = np.where(low == 0.0, space.low, bounds[0])
    bounds[1] = np.where(high == 1.0, space.high, bounds[1])
    return replace(space, low=tuple(bounds[0]), high=tuple(bounds[1]))


def log10_compression(wide: ParameterSpace, narrow: ParameterSpace) -> float:
    """log10 of the volume of ``wide`` over that of ``narrow``, a space of the same parameters, each on its own axis.

    Raises OptionError for spaces of other parameters.
    """
    if wide.names != narrow.names or wide.logarithmic != narrow.logarithmic:
        raise OptionError("the volumes of two spaces compare only where names and logarithmic are the same")
    ends = wide.to_unit([narrow.low, narrow.high])
    return float(-np.log10(ends[1] - ends[0]).sum())


def draw_latin_hypercube(
    space: ParameterSpace,
    n: int,
    *,
    seed: int,
    rejected: Callable[[pd.DataFrame], Mapping[str, NDArray[np.bool_]]] | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """n models of a Latin hypercube in ``space``, one column a parameter, and how many draws that took.

    rejected: gives, for a table of models, masks (n,) by reason; None: ``unphysical_masks``. Rejected rows are replaced
    by those of a further hypercube of their number, until none is: the accepted are flat over the physical part of the
    space, and the stratification is that of the first hypercube but for the replaced rows. Counts: "drawn", "rejected",
    and each reason that occurred (a draw may have several). Raises OptionError where 500 rounds do not fill the table.
    """
    import pandas as pd
    from scipy.stats import qmc

    from skytrace.spectra.ejecta import unphysical_masks

    check_whole("n", n, 1, 10**8)
    check_whole("seed", seed, 0, 2**63 - 1)
    find = unphysical_masks if rejected is None else rejected
    values = np.empty((n, space.size))
    open_rows = np.arange(n)
    counts = {"drawn": 0, "rejected": 0}
    for round_number in range(_MAX_ROUNDS):
        hypercube = qmc.LatinHypercube(space.size, rng=np.random.default_rng([seed, round_number]))
        drawn = space.from_unit(hypercube.random(len(open_rows)))
        values[open_rows] = drawn
        bad = np.zeros(len(open_rows), dtype=bool)
        for reason, mask in find(pd.DataFrame(drawn, columns=list(space.names))).items():
            if mask.any():
                counts[reason] = counts.get(reason, 0) + int(mask.sum())
            bad |= mask
        counts["drawn"] += len(open_rows)
        counts["rejected"] += int(bad.sum())
        open_rows = open_rows[bad]
        if not len(open_rows):
            return pd.DataFrame(values, columns=list(space.names)), counts
    raise OptionError(
        f"{len(open_rows)} of {n} models are still unphysical after {_MAX_ROUNDS} rounds: {counts}; narrow the ranges"
    )
