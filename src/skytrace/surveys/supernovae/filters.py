"""Effective filters of public supernova photometry: pivot wavelength [nm], and offset from native magnitudes to AB.

Facts of the files kcor_{DES_3yr,PS1,Foundation,SNLS,CSPDR3,PS1_CFA_COMBINED}_v6_1.fits of the Pantheon+ data release
(PantheonPlusSH0ES/DataRelease, commit c447f0f, 2_CALIBRATION/SNANA_kcor; cite Brout et al. 2022). Pivot wavelength:
sqrt(int T lambda dlambda / int T / lambda dlambda) of the transmission T. Offset: AB magnitude of the survey's primary
standard through the filter (photon-counting) minus the native magnitude that the survey gives it; m_AB = m + offset.
The offsets of LOWZ are those of BD+17 4708, a Vega-like system.
"""

from __future__ import annotations

import pandas as pd

__all__ = ["FILTER_COLUMNS", "known_filters"]

FILTER_COLUMNS = ("survey", "band", "wavelength_nm", "ab_offset_mag")
#: Survey -> band -> (wavelength_nm, ab_offset_mag).
_FILTERS: dict[str, dict[str, tuple[float, float]]] = {
    "DES": {
        "g": (480.94, -0.0003),
        "r": (642.044, 0.018),
        "i": (781.603, 0.0067),
        "z": (917.113, 0.0012),
    },
    "FOUNDATION": {
        "g": (485.997, 0.0182),
        "r": (620.119, 0.0052),
        "i": (753.496, 0.005),
        "z": (867.417, -0.0053),
    },
    "LOWZ": {
        "CFA3K-U": (359.999, 0.7173),
        "CSP-u": (362.479, -0.07932),
        "CFA3S-U": (364.323, 0.70165),
        "CFA3S-B": (434.329, -0.04878),
        "CFA3K-B": (436.687, -0.0857),
        "CFA41-B": (436.687, -0.10491),
        "CSP-B": (439.205, -0.12372),
        "CFA42-B": (448.875, -0.18466),
        "CSP-g": (477.412, -0.02461),
        "CSP-m": (537.746, -0.00686),
        "CSP-n": (538.076, -0.0081),
        "CFA3S-V": (540.706, -0.0092),
        "CFA3K-V": (542.927, -0.01156),
        "CFA41-V": (542.927, -0.01676),
        "CFA42-V": (543.386, -0.02348),
        "CSP-r": (622.746, 0.00712),
        "CFA3K-r": (624.747, -0.01219),
        "CFA41-r": (624.747, -0.00809),
        "CFA42-r": (624.747, -0.01997),
        "CFA3S-R": (652.802, 0.18616),
        "CFA3K-i": (761.67, 0.00217),
        "CFA41-i": (761.67, 0.00227),
        "CFA42-i": (761.67, -0.00369),
        "CSP-i": (762.051, 0.03479),
        "CFA3S-I": (800.603, 0.40886),
        "CSP-Y": (1038.028, 0.62277),
        "CSP-y": (1045.899, 0.63567),
        "CSP-j": (1243.8, 0.89618),
        "CSP-J": (1250.236, 0.90563),
        "CSP-H": (1625.611, 1.33999),
    },
    "PS1MD": {
        "g": (484.911, 0.0342),
        "r": (620.119, 0.0377),
        "i": (753.496, 0.0264),
        "z": (867.417, 0.0209),
    },
    "SNLS": {
        "g": (487.264, 0.0037),
        "r": (625.332, -0.0043),
        "i": (763.218, -0.0076),
        "z": (883.528, -0.0072),
    },
}


def known_filters() -> pd.DataFrame:
    """One row a survey and band, FILTER_COLUMNS."""
    rows = [(survey, band, *facts) for survey, bands in _FILTERS.items() for band, facts in bands.items()]
    return pd.DataFrame(rows, columns=list(FILTER_COLUMNS)).astype({"survey": "str", "band": "str"})
