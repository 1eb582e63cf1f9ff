"""Every cut removes what it says, and the ledger accounts for every supernova and every observation."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae.light_curves import LIGHT_CURVE_COLUMNS
from skytrace.supernovae.quality import (
    QUALITY_LEDGER_COLUMNS,
    QualityCutOptions,
    apply_quality_cuts,
    measure_quality,
)


def supernova(snid: str, *, phases=(-20, -5, 0, 15, 40), z: float = 0.4, peak_jy: float = 4.4e-6, snr: float = 30.0,
              bands=("r", "i")) -> pd.DataFrame:  # fmt: skip
    """Visits at observer-frame ``phases`` [d] of a light curve exp(-|phase| / 20 d), error peak / snr."""
    wavelength = {"g": 480.9, "r": 642.0, "i": 781.6, "z": 917.1}
    rows = [
        (snid, 57000.0 + phase, peak_jy * np.exp(-abs(phase) / 20.0), peak_jy / snr, wavelength[band], band, z, "T")
        for phase in phases for band in bands
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(LIGHT_CURVE_COLUMNS))


GOOD = supernova("good")


def removed_by(*tables: pd.DataFrame, objects=None, **options) -> dict[str, str]:
    table = pd.concat([GOOD, *tables], ignore_index=True)
    measured = measure_quality(table, objects, QualityCutOptions(**options)).set_index("snid")["removed_by"]
    return measured.to_dict()


@pytest.mark.parametrize(
    ("other", "cut"),
    [
        (supernova("bad", phases=(0,)), "observations"),
        (supernova("bad", z=0.049), "redshift"),
        (supernova("bad", z=1.51), "redshift"),
        (supernova("bad", z=0.05), ""),
        (supernova("bad", snr=4.9), "signal"),
        (supernova("bad", bands=("r",)), "signal"),
        (supernova("bad", phases=(0, 5, 15)), "before_peak"),
        (supernova("bad", phases=(-60, 0, 15)), "before_peak"),  # 43 rest-frame days before: too early to count
        (supernova("bad", phases=(-41, 0, 15)), ""),  # 29 rest-frame days
        (supernova("bad", phases=(-10, -5, 0)), "after_peak"),
        (supernova("bad", phases=(-10, -5, 0, 70)), "after_peak"),  # 50 rest-frame days
    ],
)
def test_a_cut_removes_what_it_says_and_leaves_the_good_one(other, cut):
    assert removed_by(other) == {"good": "", "bad": cut}


def test_a_known_time_of_the_peak_counts_before_the_brightest_observation():
    objects = pd.DataFrame({"snid": ["late", "good"], "peakmjd": [57004.0, np.nan]})
    late = supernova("late", phases=(0, 10, 20))
    assert removed_by(late)["late"] == "before_peak"
    assert removed_by(late, objects=objects) == {"good": "", "late": ""}


def test_only_the_standard_selection_cuts_by_brightness():
    bright, faint = supernova("bright", peak_jy=4.4e-5), supernova("faint", peak_jy=3e-7)
    assert removed_by(bright, faint) == {"good": "", "bright": "", "faint": ""}
    standard = removed_by(bright, faint, selection="standard")
    assert standard == {"good": "", "bright": "brightness", "faint": "brightness"}


def test_the_ledger_accounts_for_every_supernova_and_observation():
    parts = [GOOD, supernova("near", z=0.02), supernova("few", phases=(0,)), supernova("weak", snr=3.0)]
    table = pd.concat(parts, ignore_index=True)
    kept, ledger = apply_quality_cuts(table)
    assert tuple(ledger) == QUALITY_LEDGER_COLUMNS
    for what, n in (("supernovae", 4), ("observations", len(table))):
        assert ledger[f"{what}_in"].iloc[0] == n
        assert (ledger[f"{what}_in"] - ledger[f"{what}_out"] == ledger[f"{what}_removed"]).all()
        assert (ledger[f"{what}_in"].iloc[1:].to_numpy() == ledger[f"{what}_out"].iloc[:-1].to_numpy()).all()
    assert dict(zip(ledger["cut"], ledger["observations_removed"], strict=True)) == {
        "observations": 2, "redshift": 10, "signal": 10, "before_peak": 0, "after_peak": 0,
    }  # fmt: skip
    pd.testing.assert_frame_equal(kept, GOOD)


def test_nothing_left_is_an_error_that_names_the_cut():
    with pytest.raises(CatalogueError, match=r"'redshift' \(step 2\) left none of 1 SNe: z_hel outside 0.6 to 1.5"):
        apply_quality_cuts(GOOD, options=QualityCutOptions(z_min=0.6))


def test_options_name_the_key_and_the_range():
    with pytest.raises(OptionError, match=r"z_max = 0.01 is outside"):
        QualityCutOptions(z_max=0.01)
    with pytest.raises(OptionError, match="selection = 'narrow' is not one of wide, standard"):
        QualityCutOptions(selection="narrow")
