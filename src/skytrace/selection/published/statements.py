"""In which respects the published surface and ours can be compared, and in which not: sentences with their reasons."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from skytrace.errors import check_choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skytrace.selection.selection_function import SelectionFunction

__all__ = ["STATEMENTS", "Statement", "comparability"]


@dataclass(frozen=True)
class Statement:
    """One respect in which two surfaces can or cannot be compared. comparable: same, differs or unknown. theirs, ours:
    what each did ({name} stands for a key of its metadata). reason: what follows. source: where ``theirs`` is written.
    """

    topic: str
    comparable: str
    theirs: str
    ours: str
    reason: str
    source: str

    def __post_init__(self) -> None:
        check_choice("comparable", self.comparable, ("same", "differs", "unknown"))


_CODE = "the authors' public code, stronglens-realism-gap at 59d50d1 (the tables are of dc9c7f1)"
_META = "metadata beside the tables"

#: Held as data, in the order in which a reader needs them.
STATEMENTS = (
    Statement(
        "Einstein radius", "same",
        "product-average radius of a singular isothermal ellipsoid with shear, at the bin's centre "
        "(one note of the metadata says SIS; the code and another field say SIE)",
        "{theta_e_definition}; in the cell: {theta_e_in_cell}",
        "A cell asks both for the same mass within the same radius.", _CODE,
    ),
    Statement(
        "axes of PSF and depth", "same", "psfsize_r and the 5-sigma depth of psfdepth_r of the host",
        "{psf_fwhm_definition}; {depth_definition}", "Inner cells cover the same ranges of the same columns.", _CODE,
    ),
    Statement(
        "first and last bins of PSF and depth", "differs",
        "each host goes to the nearest centre however far away it lies: the outer bins are open-ended",
        "{edges_definition}",
        "Their outermost cells hold hosts that lie outside the grid; column edge_theirs marks these cells.", _CODE,
    ),
    Statement(
        "detector", "differs", "{detector}, trained on about 450,000 real cutouts", "{detector}",
        "Completeness is a property of a detector; a difference between surfaces is first of all one of detectors.",
        _META,
    ),
    Statement(
        "threshold", "differs", "score >= {threshold_default} of their network (p > 0.3 in the text)",
        "score >= {threshold_default} of ours",
        "A score is no rate: the same number means other false-positive rates in the two networks. Compare at equal "
        "false-positive rate, which their tables hold for 1e-3 and 1e-4, or read shapes only.", _META,
    ),
    Statement(
        "sky", "differs", "real DECam pixels of the Legacy Surveys' DR10", "{survey}",
        "On a mock sky, hosts, neighbours and noise are simulated: the level there says nothing about DR10. On other "
        "real fields it holds for these fields.", "provenance of the tables",
    ),
    Statement(
        "hosts", "differs",
        "random negatives of the validation split, any colour, drawn with replacement; how many a cell had is not kept",
        "negatives that the detector did not train on, selected as hosts of lenses; n_hosts is in the table",
        "Random negatives are unlike the hosts of real lenses, in brightness and in colour; the validation split chose "
        "their network's epoch.", _CODE,
    ),
    Statement(
        "empty cells", "differs", "cells without hosts are left empty",
        "hosts of better seeing and greater depth are degraded to the cell, flagged in column mode",
        "A filled cell rests on the degradation being right, and nothing there can confirm it.", _META,
    ),
    Statement(
        "PSF of the arcs", "differs", "a Gaussian whose half-maximum width is psfsize_r, times 1.05 in g and 0.94 in z",
        "the PSF of the host, or a Moffat profile of the same psfsize in each band",
        "psfsize is the FWHM of the Gaussian of equal Neff: a star's core is narrower (0.81 psfsize for Moffat beta "
        "3.5) and its wings wider, so their arcs are too wide in the core, most where the seeing is worst.", _CODE,
    ),
    Statement(
        "source morphology", "differs", "{source_model}", "the families named in the parameters (Sersic; with clumps)",
        "Smooth arcs lack what a network may have learned from star-forming galaxies.", _META,
    ),
    Statement(
        "source magnitudes", "differs", "r uniform in 23..26 AB unlensed; here {source_mag_bin}",
        "the counts of the population's parameters, rising with magnitude",
        "Completeness averaged over magnitudes is that of the faint end that was asked for: another range moves the "
        "level by more than any axis. Their tables can be read for one magnitude bin.", _CODE,
    ),
    Statement(
        "source positions", "differs", "0.10..0.40 theta_E from the deflector, uniform in area",
        "{source_position_rule}",
        "Their sources are always strongly imaged and never near the axis; ours follow the stated rule.", _CODE,
    ),
    Statement(
        "source colours", "differs",
        "g-r 1.15 +- 0.30 and r-z 0.85 +- 0.20, taken from an annulus of real lenses without removing the deflector",
        "colours of the population's parameters",
        "Their arcs have largely the deflector's colour, and are harder to tell from it.", _CODE,
    ),
    Statement(
        "photon noise of the arcs", "differs", "{photon_noise}", "as set by injection.photon_noise",
        "Of their two tables the one with photon noise is compared unless published.photon_noise is false; the gains "
        "differ. In their own paired test photon noise helps small arcs and hurts large ones.", _META,
    ),
    Statement(
        "intervals", "differs", "independent trials: {interval_rule}",
        "trials reduced by the design effect of shared hosts",
        "Their hosts cannot be counted, so their half of a combined interval is the narrowest that is possible.",
        "the tables",
    ),
    Statement(
        "realism", "differs", "{verdict_reason}", "verdict of our gates: {verdict}",
        "Neither surface may be called the completeness for real lenses unless its gates say GO; the gates of one were "
        "never run on the other.", "linear_probe.json",
    ),
)  # fmt: skip


def comparability(ours: SelectionFunction, theirs: SelectionFunction, *, survey: str = "") -> list[dict[str, str]]:
    """STATEMENTS with what the two files' metadata say. survey: of ours, where its metadata do not name it."""
    named = {**({"survey": survey} if survey else {}), **ours.metadata}
    filled = []
    for statement in STATEMENTS:
        words = asdict(statement)
        words["ours"], words["theirs"] = _fill(statement.ours, named), _fill(statement.theirs, theirs.metadata)
        filled.append(words)
    return filled


def _fill(words: str, metadata: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        found = metadata.get(match[1])
        if found is None:
            return f"not stated in the file ({match[1]})"
        return f"{found:.4g}" if isinstance(found, float) else str(found)

    return re.sub(r"\{(\w+)\}", value, words)
