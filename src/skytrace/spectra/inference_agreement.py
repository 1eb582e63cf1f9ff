"""Do the samplers agree? Means and widths of every parameter, of each sampler against the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from skytrace.spectra.inference_posterior import SpectrumPosterior

__all__ = ["MEAN_SIGMA", "WIDTH_RATIO", "agreement_table"]

#: How far a mean may lie from the reference's, in its standard deviations, and a width from its width, as a share.
MEAN_SIGMA, WIDTH_RATIO = 0.2, 0.2


def agreement_table(posteriors: Sequence[SpectrumPosterior]) -> pd.DataFrame:
    """One row a parameter and sampler but the first, the reference: method, reference, mean_offset_sigma, width_ratio,
    agrees, words ("" where it does). Compared in the coordinates on [0, 1].

    Raises CatalogueError for fewer than two posteriors, or such of other parameters.
    """
    import pandas as pd

    if len(posteriors) < 2:
        raise CatalogueError(f"{len(posteriors)} posterior(s) cannot be compared: two are needed")
    first = posteriors[0]
    rows = []
    for other in posteriors[1:]:
        if other.names != first.names:
            raise CatalogueError(f"{other.method} has the parameters {other.names}, {first.method} has {first.names}")
        sd, sd_other = first.flat.std(axis=0), other.flat.std(axis=0)
        offset = (other.flat.mean(axis=0) - first.flat.mean(axis=0)) / sd
        for i, name in enumerate(first.names):
            ratio = float(sd_other[i] / sd[i])
            wrong = []
            if abs(offset[i]) > MEAN_SIGMA:
                wrong.append(f"means differ by {offset[i]:+.2f} sigma")
            if abs(np.log(ratio)) > np.log1p(WIDTH_RATIO):
                wrong.append(f"widths by a factor {ratio:.2f}")
            words = f"{name}: {' and '.join(wrong)} between {other.method} and {first.method}" if wrong else ""
            rows.append({
                "parameter": name, "method": other.method, "reference": first.method,
                "mean_offset_sigma": float(offset[i]), "width_ratio": ratio, "agrees": not wrong, "words": words,
            })  # fmt: skip
    return pd.DataFrame(rows)
