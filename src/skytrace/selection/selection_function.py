"""The published product: P(detected | theta_E, PSF, depth), read back by anyone with the file alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.compute.parquet import read_parquet
from skytrace.errors import CatalogueError, OptionError, SelectionEnvelopeError, check_between, check_choice
from skytrace.selection.completeness import HOST_COLUMNS
from skytrace.selection.grid import AXES, GridOptions, SelectionGrid
from skytrace.selection.surface_checks import check_metadata, check_surface, columns_metadata

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.forward import ForwardCorrection, ForwardOptions

__all__ = ["DetectionProbability", "SelectionFunction"]

#: Key of the metadata in ``DataFrame.attrs``, which pandas keeps in the schema metadata of Parquet files.
_ATTRIBUTE = "selection_function"
#: Metadata repeated in columns, because a CSV file has nowhere else to keep it.
_REPEATED = (
    "verdict", "validated", "survey", "detector", "detector_hash", "threshold_default", "theta_e_definition",
    "psf_fwhm_definition", "depth_definition", "grid_shape",
)  # fmt: skip
_UNITS = {"theta_e": "arcsec", "psf_fwhm": "arcsec", "depth": "AB mag"}


@dataclass(frozen=True)
class DetectionProbability:
    """What was measured in the cell asked for; numbers, or arrays of the shape asked for.

    value: completeness. low, high: 68 % Jeffreys interval of independent trials; low_hosts, high_hosts: the interval at
    the effective number of trials (NaN where the file lacks it). n injections into n_hosts hosts. sufficient: n reached
    the minimum. state: ok, insufficient, no_hosts or merged. mode: matched or degraded hosts (none where empty).
    validated: the realism gates said GO.
    """

    value: Any
    low: Any
    high: Any
    low_hosts: Any
    high_hosts: Any
    n: Any
    n_hosts: Any
    sufficient: Any
    state: Any
    mode: Any
    threshold: float
    validated: bool


@dataclass(frozen=True, eq=False, repr=False)
class SelectionFunction:
    """A measured selection function: cells of (theta_E, PSF, depth), one or more thresholds, and what they mean.

    >>> table = pd.DataFrame([
    ...     {"theta_e": t, "psf_fwhm": p, "depth": d, "threshold": 0.5, "mode": "matched", "state": "ok", "n": 200,
    ...      "n_detected": 50, "n_hosts": 40, "completeness": 0.25, "low68": 0.22, "high68": 0.28}
    ...     for t in (1.0, 1.25) for p in (0.9, 1.05) for d in (23.0, 23.5)])
    >>> selection = SelectionFunction.from_table(
    ...     table, metadata={"survey": "mock", "detector": "resnet18", "verdict": "GO"})
    >>> selection
    SelectionFunction(8 cells: theta_e 0.875..1.375 arcsec, psf_fwhm 0.825..1.125 arcsec, depth 22.75..23.75 AB mag; \
threshold 0.5; survey mock; detector resnet18; verdict GO, validated; 8 ok)
    >>> answer = selection.probability(theta_e=1.2, psf_fwhm=1.0, depth=23.4)
    >>> answer.value, answer.low, answer.high, answer.n, answer.sufficient
    (0.25, 0.22, 0.28, 200, True)
    >>> selection.probability(theta_e=4.0, psf_fwhm=1.0, depth=23.4)
    Traceback (most recent call last):
    skytrace.errors.SelectionEnvelopeError: theta_e = 4 arcsec is outside the measured range [0.875, 1.375)
    """

    table: pd.DataFrame
    metadata: Mapping[str, Any]
    _grid: SelectionGrid = field(init=False)
    _rows: NDArray[np.int64] = field(init=False)  # (threshold, cell) -> row of table, -1 where the file has none

    def __post_init__(self) -> None:
        check_surface(self.table)
        check_metadata(self.metadata, self._thresholds())
        theta_e, psf_fwhm, depth = (tuple(map(float, np.sort(self.table[axis].unique()))) for axis in AXES)
        grid = SelectionGrid(GridOptions(theta_e, psf_fwhm, depth))
        index = tuple(grid.bin_of(axis, self.table[axis]) for axis in AXES)
        cell = np.ravel_multi_index(index, grid.shape)
        place = np.searchsorted(self._thresholds(), self.table["threshold"])
        rows = np.full((len(self._thresholds()), grid.n_cells), -1, dtype=np.int64)
        if len(np.unique(place * grid.n_cells + cell)) != len(self.table):
            raise CatalogueError("not a selection function: a cell appears twice at one threshold")
        rows[place, cell] = np.arange(len(self.table))
        object.__setattr__(self, "_grid", grid)
        object.__setattr__(self, "_rows", rows)

    @classmethod
    def from_table(cls, table: pd.DataFrame, *, metadata: Mapping[str, Any] | None = None) -> SelectionFunction:
        """From ``completeness_table``, or from a table read back (its metadata are then used where none are given).

        metadata (all JSON-ready): detector, detector_hash, verdict (GO, NO-GO, INSUFFICIENT), *_definition of the axes,
        threshold_default, and anything else worth keeping. ``validated`` is whether the verdict is GO, and
        ``grid_shape`` that of the table, always. Raises CatalogueError, naming column, row, value and what is allowed,
        where the table contradicts itself (``check_surface``) or its metadata.
        """
        kept = dict(table.attrs.get(_ATTRIBUTE) or {})
        known = {**columns_metadata(table, _REPEATED, kept), **kept, **(metadata or {})}
        known["verdict"] = str(known.get("verdict", "INSUFFICIENT"))
        known["validated"] = known["verdict"] == "GO"
        known["grid_shape"] = _shape_words(table)
        plain = table.drop(columns=[name for name in _REPEATED if name in table.columns]).reset_index(drop=True)
        plain.attrs = {}
        # through JSON: what is kept is what can be written and read back
        return cls(plain, json.loads(json.dumps(known, sort_keys=True, allow_nan=False)))

    @classmethod
    def load(cls, path: str | os.PathLike) -> SelectionFunction:
        """Read ``selection_function.parquet`` or ``.csv``; of a folder of versions, the newest.

        Raises CatalogueError, naming the file, where it cannot be read, holds no selection function, lacks cells of its
        own grid or whole bins that its metadata count (a file that was cut off), or contradicts itself: the message
        then names column, row, value and what is allowed.
        """
        path = Path(path)
        if path.is_dir():
            versions = sorted(path.glob(f"*/{path.name}"))
            if not versions:
                raise CatalogueError(f"{path} is a folder without versions <version>/{path.name}")
            path = versions[-1]
        if path.suffix not in (".parquet", ".csv"):
            raise CatalogueError(f"{path.name}: a selection function is read from .parquet or .csv")
        try:
            table = read_parquet(path, error=CatalogueError) if path.suffix == ".parquet" else pd.read_csv(path)
            found = cls.from_table(table)
        except FileNotFoundError:
            raise
        except Exception as error:  # of pandas and pyarrow, and CatalogueError: none names the file
            raise CatalogueError(f"{path}: {error}") from error
        cells, rows = len(found.thresholds) * found._grid.n_cells, len(found.table)
        if rows != cells:
            raise CatalogueError(
                f"{path} holds {rows} rows where its grid has {found._grid.n_cells} cells at each of "
                f"{len(found.thresholds)} thresholds: the file was cut off, or edited; fetch it again"
            )
        kept = table.attrs.get(_ATTRIBUTE) or {}
        said = kept.get("grid_shape") or (table["grid_shape"].iloc[0] if "grid_shape" in table.columns else None)
        if said is not None and said != found.metadata["grid_shape"]:  # files of before 2026-11-21 do not say
            raise CatalogueError(
                f"{path}: grid_shape is {said!r}, but the rows make {found.metadata['grid_shape']!r}: whole bins or "
                "thresholds were cut off, or edited; fetch it again"
            )
        return found

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The score thresholds that the file holds, rising."""
        return tuple(float(value) for value in self._thresholds())

    @property
    def validated(self) -> bool:
        """Whether the realism gates said GO."""
        return bool(self.metadata["validated"])

    @property
    def envelope(self) -> dict[str, tuple[float, float]]:
        """Axis -> (lower edge included, upper edge excluded) of the grid."""
        return {axis: (float(edges[0]), float(edges[-1])) for axis, edges in self._grid.edges.items()}

    def probability(
        self,
        *,
        theta_e: ArrayLike,
        psf_fwhm: ArrayLike,
        depth: ArrayLike,
        threshold: float | None = None,
        empty: str = "error",
    ) -> DetectionProbability:
        """P(detected) measured in the cell of each lens: no interpolation, no smoothing.

        theta_e [arcsec, product-average convention], psf_fwhm (psfsize_r) [arcsec], depth (5 sigma, r) [AB mag]: each a
        number or an array; they broadcast. threshold: one of ``thresholds`` (default: threshold_default of the
        metadata, else the first). empty: what a cell without any injection does: "error", or "nan" (with its state).
        Raises SelectionEnvelopeError naming the value and the measured range; OptionError on what is no number.
        """
        check_choice("empty", empty, ("error", "nan"))
        asked = _asked(theta_e, psf_fwhm, depth)
        index = {axis: self._grid.bin_of(axis, values) for axis, values in asked.items()}
        self._refuse_outside(asked, index)
        cell = np.ravel_multi_index(tuple(index.values()), self._grid.shape)
        place, value = self._threshold(threshold)
        row = self._rows[place, cell]
        nothing = (row < 0) | (self.table["n"].to_numpy()[row] == 0)
        if empty == "error" and nothing.any():
            first = tuple(np.argwhere(nothing)[0])
            named = ", ".join(f"{axis} = {values[first]:g}" for axis, values in asked.items())
            raise SelectionEnvelopeError(
                f"the cell of {named} has no injections ({int(nothing.sum())} such value(s)), so nothing was measured. "
                'Ask with empty="nan" to get NaN and the state instead'
            )
        return self._answer(row, nothing, value)

    def forward_correct(
        self,
        counts: ArrayLike,
        edges_arcsec: ArrayLike,
        *,
        conditions: pd.DataFrame,
        threshold: float | None = None,
        options: ForwardOptions | None = None,
        rng: np.random.Generator,
    ) -> ForwardCorrection:
        """The lenses behind a histogram of theta_E found in the sky of ``conditions``: ``forward.forward_correct``."""
        from skytrace.selection.forward import forward_correct

        return forward_correct(
            counts, edges_arcsec, self.table, conditions=conditions, threshold=self._threshold(threshold)[1],
            options=options, rng=rng,
        )  # fmt: skip

    def to_table(self) -> pd.DataFrame:
        """The table to be saved: metadata in ``attrs`` (Parquet's schema) and the main ones in columns (CSV)."""
        table = self.table.copy()
        for name in _REPEATED:
            if name in self.metadata:
                table[name] = self.metadata[name]
        table.attrs = {_ATTRIBUTE: dict(self.metadata)}
        return table

    def to_parquet(self, path: str | os.PathLike) -> None:
        """Write the file (zstd, the same bytes for the same content), whole or not at all."""
        from skytrace.compute import atomic_path

        with atomic_path(path) as partial:
            self.to_table().to_parquet(partial, compression="zstd", index=False)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write the same as text, whole or not at all; without the tallies of hosts, which are lists."""
        from skytrace.compute import atomic_path

        with atomic_path(path) as partial:
            self.to_table().drop(columns=list(HOST_COLUMNS), errors="ignore").to_csv(partial, index=False)

    def __repr__(self) -> str:
        spans = ", ".join(f"{axis} {low:g}..{high:g} {_UNITS[axis]}" for axis, (low, high) in self.envelope.items())
        first = self.table[self.table["threshold"] == self._threshold(None)[1]]
        states = ", ".join(f"{count} {state}" for state, count in first["state"].value_counts(sort=False).items())
        thresholds = ", ".join(f"{value:g}" for value in self.thresholds)
        stamp = "validated" if self.validated else "NOT validated"
        detector, verdict = self.metadata.get("detector", "unnamed"), self.metadata["verdict"]
        survey = self.metadata.get("survey", "not named")
        return (
            f"SelectionFunction({self._grid.n_cells} cells: {spans}; threshold {thresholds}; "
            f"survey {survey}; detector {detector}; verdict {verdict}, {stamp}; {states})"
        )

    def _thresholds(self) -> NDArray[np.float64]:
        return np.sort(self.table["threshold"].unique()).astype(np.float64)

    def _threshold(self, threshold: float | None) -> tuple[int, float]:
        known = self._thresholds()
        wanted = (
            self.metadata.get("threshold_default", self.table["threshold"].iloc[0]) if threshold is None else threshold
        )
        if threshold is not None:
            check_between("threshold", threshold, 0.0, 1.0, include_low=False, include_high=False)
        place = int(np.argmin(np.abs(known - float(wanted))))
        if not np.isclose(known[place], float(wanted), rtol=0.0, atol=1e-6):
            listed = ", ".join(f"{value:g}" for value in known)
            raise SelectionEnvelopeError(f"threshold = {wanted:g} was not measured; there are {listed}")
        return place, float(known[place])

    def _refuse_outside(self, asked: dict[str, NDArray], index: dict[str, NDArray[np.int64]]) -> None:
        problems = []
        for axis, (low, high) in self.envelope.items():
            bad = index[axis] < 0
            if bad.any():
                more = f" (and {int(bad.sum()) - 1} more)" if bad.sum() > 1 else ""
                problems.append(
                    f"{axis} = {asked[axis][bad].ravel()[0]:g} {_UNITS[axis]}{more} "
                    f"is outside the measured range [{low:g}, {high:g})"
                )
        if problems:
            raise SelectionEnvelopeError("; ".join(problems))

    def _answer(self, row: NDArray[np.int64], nothing: NDArray[np.bool_], threshold: float) -> DetectionProbability:
        scalar = np.ndim(row) == 0

        def column(name: str, fallback: Any) -> Any:
            if name not in self.table.columns:
                values = np.full(np.shape(row), fallback)
            else:
                values = np.where(nothing, fallback, self.table[name].to_numpy()[row])
            if not scalar:
                return values
            return values.item()

        names = {"value": "completeness", "low": "low68", "high": "high68"}
        names |= {"low_hosts": "low68_hosts", "high_hosts": "high68_hosts"}
        floats = {key: column(name, np.nan) for key, name in names.items()}
        counts = {name: column(name, 0) for name in ("n", "n_hosts")}
        words = {"state": column("state", "no_hosts"), "mode": column("mode", "none")}
        state = np.asarray(words["state"], dtype=object)
        enough = (state == "ok") | (state == "merged")
        return DetectionProbability(
            **floats, **counts, **words, sufficient=bool(enough) if scalar else np.asarray(enough, dtype=bool),
            threshold=threshold, validated=self.validated,
        )  # fmt: skip


def _asked(*values: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """The axes' values, broadcast. Raises OptionError naming the axis whose value is no number, or unequal shapes."""
    numbers = []
    for axis, value in zip(AXES, values, strict=True):
        try:
            numbers.append(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise OptionError(f"{axis} = {value!r} is not a number of {_UNITS[axis]}, nor an array of them") from error
    try:
        return dict(zip(AXES, np.broadcast_arrays(*numbers), strict=True))
    except ValueError as error:
        shapes = ", ".join(f"{axis} {number.shape}" for axis, number in zip(AXES, numbers, strict=True))
        raise OptionError(f"the shapes do not broadcast: {shapes}") from error


def _shape_words(table: pd.DataFrame) -> str:
    """How many thresholds, and bins of each axis, a table has: a file that lost a whole bin still looks like a grid."""
    return " x ".join(f"{table[name].nunique()} {name}" for name in ("threshold", *AXES) if name in table.columns)
