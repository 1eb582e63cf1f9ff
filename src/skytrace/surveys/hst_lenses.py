"""HST/WFC3 F140W images of real lenses from the DESI Legacy Surveys, for an outside check of injected arcs.

A folder holds images.npz (NAME (y, x) [electrons/s] and NAME__psf (k, k) of every system) and systems.parquet
(system, pixel_scale [arcsec], theta_e_arcsec of the published model, NaN where there is none).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.compute import load_npz
from skytrace.compute.parquet import read_parquet
from skytrace.errors import SurveyError
from skytrace.selection.realism.outside_lenses import SpaceImage
from skytrace.surveys.data_root import require_folder, under_data_root

if TYPE_CHECKING:
    import os

__all__ = ["FOLDER", "read_hst_lenses"]

#: Under the data root.
FOLDER = "imaging/hst_f140w_desi_lenses"
_FILES = "images.npz and systems.parquet (HST/WFC3 F140W images of DESI Legacy Surveys lenses, with lens models)"
_NEEDED = ("system", "pixel_scale", "theta_e_arcsec")


def read_hst_lenses(folder: str | os.PathLike = FOLDER) -> list[SpaceImage]:
    """Every system of the folder (relative ones under the data root), in the table's order; theta_E may be NaN.

    A pixel that is not finite becomes 0, the background. Raises SurveyError where the folder, a file, a column or a
    system's image is missing.
    """
    root = require_folder(under_data_root(folder), files=_FILES)
    absent = [name for name in ("images.npz", "systems.parquet") if not (root / name).is_file()]
    if absent:
        raise SurveyError(f"{root} lacks {', '.join(absent)}; it must hold {_FILES}")
    table, arrays = read_parquet(root / "systems.parquet"), load_npz(root / "images.npz")
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise SurveyError(f"{root / 'systems.parquet'} lacks the columns {', '.join(missing)}")
    lenses = []
    for system in table.to_dict(orient="records"):
        name = str(system["system"])
        if name not in arrays or f"{name}__psf" not in arrays:
            raise SurveyError(f"{root / 'images.npz'} lacks {name} or {name}__psf, which systems.parquet names")
        lenses.append(
            SpaceImage(
                name, np.nan_to_num(arrays[name], nan=0.0, posinf=0.0, neginf=0.0), arrays[f"{name}__psf"],
                float(system["pixel_scale"]), float(system["theta_e_arcsec"]),
            )
        )  # fmt: skip
    return lenses
