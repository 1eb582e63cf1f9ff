"""Proof that nothing is on both sides of the split, and how alike the sides are (``lens_finder``, stage 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, LeakageError
from skytrace.sky.crossmatch import crossmatch, pairs_within
from skytrace.sky.split import SPLITS, healpix_cell
from skytrace.statistics.two_sample import ks_statistic, standardised_mean_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BALANCE_COLUMNS", "verify_split"]

BALANCE_COLUMNS = ("psfsize_r", "psfdepth_r", "galdepth_r", "nobs_g", "nobs_r", "nobs_z")
_SHOWN = 3


def verify_split(
    table: pd.DataFrame,
    *,
    nside: int = 128,
    separation_arcsec: float = 1.0,
    balance_columns: Sequence[str] = BALANCE_COLUMNS,
    lenses: pd.DataFrame | None = None,
    lens_exclusion_arcsec: float = 11.0,
) -> dict[str, Any]:
    """Balance report of a leak-free split; LeakageError naming every offender otherwise.

    table: galaxy_id, ra, dec [deg], split, is_anchor, and the columns to be compared. Offences: a HEALPix cell in two
    of train, val and test; a galaxy_id, or positions within ``separation_arcsec``, in two splits (the split "anchor" of
    withheld anchors counts here, not for the cells, which it shares with train by construction); an evaluation anchor
    in train or val; and where ``lenses`` (LENS_COLUMNS) are given, a negative (label 0) within
    ``lens_exclusion_arcsec`` of one, whatever the splits. report: rows and positives per split; for every column KS
    (statistic, p_value) and standardised mean difference of train against val and test; the share of each type per
    split and its largest difference.
    """
    missing = [name for name in ("galaxy_id", "ra", "dec", "split", "is_anchor") if name not in table.columns]
    if missing:
        raise CatalogueError(f"the split table lacks columns {', '.join(missing)}")
    unknown = sorted(set(table["split"].astype(str)) - {*SPLITS, "anchor"})
    if unknown:
        raise CatalogueError(f"split {unknown[0]!r} is not one of {', '.join((*SPLITS, 'anchor'))}")
    offences = [
        *_cells_in_two(table, nside),
        *_ids_in_two(table),
        *_positions_in_two(table, separation_arcsec),
        *_anchors_in_training(table),
        *([] if lenses is None else _negatives_near_lenses(table, lenses, lens_exclusion_arcsec)),
    ]
    if offences:
        raise LeakageError("the split leaks: " + "; ".join(offences))
    return _balance(table, balance_columns)


def _cells_in_two(table: pd.DataFrame, nside: int) -> list[str]:
    parted = table[table["split"] != "anchor"]
    cell = healpix_cell(parted["ra"], parted["dec"], nside=nside)
    splits = pd.Series(parted["split"].to_numpy()).groupby(cell).nunique()
    return _offence("HEALPix cell", splits.index[splits > 1].tolist())


def _ids_in_two(table: pd.DataFrame) -> list[str]:
    splits = table.groupby("galaxy_id")["split"].nunique()
    return _offence("galaxy_id", splits.index[splits > 1].tolist())


def _positions_in_two(table: pd.DataFrame, separation_arcsec: float) -> list[str]:
    pairs, _ = pairs_within(table["ra"], table["dec"], separation_arcsec)
    split, name = table["split"].to_numpy(), table["galaxy_id"].to_numpy()
    across = pairs[split[pairs[:, 0]] != split[pairs[:, 1]]]
    kind = f'position (within {separation_arcsec:g}") of galaxies'
    return _offence(kind, [f"{name[first]} and {name[second]}" for first, second in across])


def _anchors_in_training(table: pd.DataFrame) -> list[str]:
    trained = table["is_anchor"].astype(bool) & table["split"].isin(["train", "val"])
    names = table.loc[trained, "galaxy_id"].tolist()
    return [f"evaluation anchor in train or val: {_listed(names)}"] if names else []


def _negatives_near_lenses(table: pd.DataFrame, lenses: pd.DataFrame, radius_arcsec: float) -> list[str]:
    if "label" not in table:
        raise CatalogueError("the split table lacks column label, without which no negative is known")
    negative = table[table["label"] == 0]
    place = lenses[np.isfinite(lenses["ra"].to_numpy(float)) & np.isfinite(lenses["dec"].to_numpy(float))]
    index, separation = crossmatch(negative["ra"], negative["dec"], place["ra"], place["dec"], radius_arcsec)
    near = np.flatnonzero(index >= 0)
    names, lens_names = negative["galaxy_id"].to_numpy()[near], place["lens_id"].to_numpy()[index[near]]
    pairs = [
        f'{name} ({apart:.1f}" from {lens})'
        for name, lens, apart in zip(names, lens_names, separation[near], strict=True)
    ]
    return [f'negative within {radius_arcsec:g}" of a lens: {_listed(pairs)}'] if pairs else []


def _offence(kind: str, offenders: Sequence) -> list[str]:
    return [f"{kind} in two splits: {_listed(offenders)}"] if len(offenders) else []


def _listed(offenders: Sequence) -> str:
    more = f" ({len(offenders)} in all)" if len(offenders) > _SHOWN else ""
    return ", ".join(str(offender) for offender in offenders[:_SHOWN]) + more


def _balance(table: pd.DataFrame, balance_columns: Sequence[str]) -> dict[str, Any]:
    parts = {name: table[table["split"] == name] for name in SPLITS}
    report: dict[str, Any] = {
        "rows": {str(name): int(count) for name, count in table["split"].value_counts().sort_index().items()},
        "columns": {},
    }
    if "label" in table:
        positives = table[table["label"] == 1]["split"].value_counts().sort_index()
        report["positives"] = {str(name): int(count) for name, count in positives.items()}
    for column in balance_columns:
        if column in table:
            report["columns"][column] = {
                f"train_vs_{other}": _difference(parts["train"][column], parts[other][column])
                for other in ("val", "test")
            }
    if "type" in table:
        kinds = sorted(table["type"].astype(str).unique())
        share = {
            name: {kind: float((part["type"] == kind).mean()) for kind in kinds}
            for name, part in parts.items()
            if len(part)
        }
        report["type_share"] = share
        spans = [max(shares) - min(shares) for shares in zip(*(row.values() for row in share.values()), strict=True)]
        report["type_share_max_difference"] = float(max(spans, default=0.0))
    return report


def _difference(train: pd.Series, other: pd.Series) -> dict[str, float | None]:
    """KS and standardised mean difference; None where a split has no finite value (JSON has no NaN)."""
    a, b = train.to_numpy(dtype=float), other.to_numpy(dtype=float)
    if not (np.isfinite(a).any() and np.isfinite(b).any()):
        return {"ks": None, "p_value": None, "standardised_mean_difference": None}
    distance, p_value = ks_statistic(a, b)
    difference = standardised_mean_difference(a, b)
    return {
        "ks": distance,
        "p_value": p_value,
        "standardised_mean_difference": difference if np.isfinite(difference) else None,
    }
