"""Which single number tells lenses from galaxies? What a network may learn instead of arcs (``lens_finder``, stage 6).

Every quality column, observing condition and catalogue value is tried alone, by its AUC. A feature of the background,
the gaps or the conditions must not separate the classes: nothing of a lens is in it. Features of the region of the arcs
may: there a colour says how much of the task one number already solves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from skytrace.audit.columns import METADATA_COLUMNS
from skytrace.audit.options import ShortcutOptions
from skytrace.audit.resampling import check_labels, resample_counts, resampled_auc
from skytrace.errors import CatalogueError
from skytrace.imaging.quality import QUALITY_COLUMNS
from skytrace.learning.metrics import roc_auc
from skytrace.statistics import LEVELS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["SHORTCUT_KINDS", "catalogue_features", "shortcut_aucs", "shortcut_features", "shortcut_summary"]

#: Kind of feature -> names (without band). A lens shows in "arc region" and, by its deflector, in "core", "outskirts"
#: (wings of massive galaxies reach 28 px) and "catalogue"; in the others nothing of it should.
SHORTCUT_KINDS = {
    "gaps": (
        "nan_fraction", "nan_fraction_centre", "nan_fraction_core", "core_zero_invvar", "band_present", "edge_score",
        "saturated_fraction",
    ),
    "background": ("background_median", "background_mad", "percentile_1"),
    "outskirts": ("annulus_16_28", "percentile_50"),
    "core": ("core_flux_4", "core_flux_8", "dog_core"),
    "arc region": (
        "core_flux_12", "percentile_99", "annulus_4_16", "radial_gradient", "dog_annulus", "asymmetry",
        "g_minus_r", "r_minus_z",
    ),
    "conditions": ("psfsize", "psfdepth", "galdepth", "ebv", "nobs"),
    "catalogue": ("flux", "flux_ivar", "mag", "shape_r", "shape_e1", "shape_e2", "ellipticity", "sersic", "type"),
}  # fmt: skip
_NOT_OF_A_LENS = ("gaps", "background", "conditions")
_SCALARS = ("g_minus_r", "r_minus_z", "shape_r", "shape_e1", "shape_e2", "ellipticity", "sersic")


def shortcut_features(table: pd.DataFrame) -> pd.DataFrame:
    """The features of SHORTCUT_KINDS that ``table`` has, (n, feature) float64.

    ``type`` becomes one 0/1 feature a value (``type=DEV``). A feature without a value for some rows has a second one,
    ``<name>:missing``: absence itself may tell the classes apart. Raises CatalogueError where no feature is found.
    """
    banded = (*QUALITY_COLUMNS, "nobs", "flux", "flux_ivar", "mag")
    names = [f"{name}_{band}" for name in banded for band in "grz"]
    names = [name for name in (*names, *_SCALARS, *METADATA_COLUMNS) if name in table.columns]
    columns = {name: table[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names}
    if "type" in table.columns:
        kinds = table["type"].astype(str).to_numpy()
        columns |= {f"type={kind}": (kinds == kind).astype(np.float64) for kind in sorted(set(kinds))}
    for name in list(columns):
        missing = ~np.isfinite(columns[name])
        if missing.any():
            columns[f"{name}:missing"] = missing.astype(np.float64)
    if not columns:
        raise CatalogueError("the table has none of the features that a shortcut is looked for in")
    return pd.DataFrame(columns)


def catalogue_features(table: pd.DataFrame) -> pd.DataFrame:
    """What the catalogue says of a galaxy without a pixel, (n, feature) float64: kinds "catalogue" and "conditions".

    Fluxes, shapes, Sersic index, type, seeing, depth, dust and exposures, and the colours mag_g_minus_r and
    mag_r_minus_z of the fluxes (NaN where one is not positive). Raises CatalogueError where none of them is found.
    """
    names = [f"flux_{band}" for band in "grz"]
    features = shortcut_features(table)
    wanted = [*SHORTCUT_KINDS["catalogue"], *SHORTCUT_KINDS["conditions"]]
    features = features[[name for name in features if _base(str(name)) in wanted]]
    if not len(features.columns):
        raise CatalogueError("the table has none of the columns of a catalogue: fluxes, shapes, seeing, depth")
    if set(names) <= set(table.columns):
        flux = table[names].to_numpy(dtype=np.float64, na_value=np.nan)
        magnitude = -2.5 * np.log10(np.where(flux > 0.0, flux, np.nan))
        colour = magnitude[:, :-1] - magnitude[:, 1:]
        features = features.assign(mag_g_minus_r=colour[:, 0], mag_r_minus_z=colour[:, 1])
    return features


def shortcut_aucs(
    features: pd.DataFrame,
    labels: ArrayLike,
    *,
    cells: ArrayLike | None = None,
    options: ShortcutOptions | None = None,
) -> pd.DataFrame:
    """One row a feature, the most separating first.

    features: (n, feature), e.g. of ``shortcut_features``; labels (n,) 1 lens, 0 galaxy; cells (n,): HEALPix cells,
    drawn whole by the bootstrap. Columns: feature, kind, n_lenses, n_galaxies (with a value), higher_in ("lenses" or
    "galaxies"), auc (|AUC - 0.5| + 0.5), low_68, high_68, low_95, high_95, standard_error, colour, chance: probability
    that a feature without any signal gets a colour by luck (normal approximation). The direction is the sample's own,
    kept in every resample: turning each resample to its better side would lift the lower bound of pure noise. colour is
    green, yellow, red, or "not judged" where too few rows have a value.
    """
    options = options or ShortcutOptions()
    is_lens, cells = check_labels(labels, cells)
    if len(features) != len(is_lens):
        raise CatalogueError(f"{len(features)} rows of features for {len(is_lens)} labels")
    counts = resample_counts(is_lens, cells, n_resamples=options.n_resamples, seed=options.seed)
    rows = [
        {"feature": str(name), "kind": _kind(str(name)), **_judge(values.to_numpy(float), is_lens, counts, options)}
        for name, values in features.items()
    ]
    table = pd.DataFrame(rows)
    return table.sort_values(["auc", "feature"], ascending=[False, True], na_position="last", ignore_index=True)


def shortcut_summary(table: pd.DataFrame) -> dict[str, Any]:
    """JSON-ready: how many features of each colour, which are coloured, and what that means."""
    judged = table[table["colour"] != "not judged"]
    coloured = judged[judged["colour"] != "green"]
    suspect = coloured[coloured["kind"].isin(_NOT_OF_A_LENS)]
    return {
        "features": {str(colour): int(count) for colour, count in table["colour"].value_counts().sort_index().items()},
        "coloured": coloured[["feature", "kind", "colour"]].to_dict(orient="records"),
        "suspect": suspect["feature"].tolist(),
        "expected_by_chance": float(judged["chance"].sum()),
        "verdict": _verdict(suspect, coloured),
    }


def _judge(
    values: NDArray[np.float64], is_lens: NDArray[np.bool_], counts: NDArray[np.uint16], options: ShortcutOptions
) -> dict[str, Any]:
    known = np.isfinite(values)
    n_lenses, n_galaxies = int((known & is_lens).sum()), int((known & ~is_lens).sum())
    row: dict[str, Any] = {"n_lenses": n_lenses, "n_galaxies": n_galaxies}
    if min(n_lenses, n_galaxies) < options.fewest:
        empty = ("auc", "low_68", "high_68", "low_95", "high_95", "standard_error", "chance")
        return row | dict.fromkeys(empty, np.nan) | {"higher_in": "", "colour": "not judged"}
    auc = roc_auc(values[known], is_lens[known].astype(np.int64))
    draws = resampled_auc(values, is_lens, counts)
    draws = draws[np.isfinite(draws)]
    sign = 1.0 if auc >= 0.5 else -1.0
    draws = 0.5 + sign * (draws - 0.5)
    for name, level in LEVELS.items():
        row[f"low_{name}"], row[f"high_{name}"] = np.quantile(draws, [0.5 * (1 - level), 0.5 * (1 + level)])
    error = float(draws.std())
    low = row["low_68"]
    return row | {
        "auc": 0.5 + abs(auc - 0.5),
        "higher_in": "lenses" if sign > 0 else "galaxies",
        "standard_error": error,
        "colour": "red" if low > options.red else "yellow" if low > options.yellow else "green",
        # the lower 68 % bound is one standard error below the value
        "chance": float(2.0 * ndtr(-((options.yellow - 0.5) / error + 1.0))) if error > 0 else 0.0,
    }


def _base(feature: str) -> str:
    """The name without value, ``:missing`` and band."""
    name = feature.split(":", maxsplit=1)[0].split("=", maxsplit=1)[0]
    return name[:-2] if name[-2:] in ("_g", "_r", "_z") and name not in _SCALARS else name


def _kind(feature: str) -> str:
    name = _base(feature)
    if feature.endswith(":missing") and name not in SHORTCUT_KINDS["catalogue"]:
        return "gaps"
    return next((kind for kind, names in SHORTCUT_KINDS.items() if name in names), "catalogue")


def _verdict(suspect: pd.DataFrame, coloured: pd.DataFrame) -> str:
    if len(suspect):
        names = ", ".join(suspect["feature"].head(5))
        return (
            f"{len(suspect)} feature(s) in which nothing of a lens should be separate the classes ({names}): match the "
            "classes in them, or show that the detector does not use them"
        )
    if len(coloured):
        return (
            "only features that hold light of the lens or its deflector separate the classes: those of the deflector "
            "(core, outskirts, catalogue) are no evidence of lensing, and a detector need not have learnt more than "
            "they say"
        )
    return "no single feature separates the classes beyond its bound"
