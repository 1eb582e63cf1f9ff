"""What a real catalogue of clusters says of the survey that a search is for: how many, how strong, which prior."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.clusters.options import SurveyScaleOptions
from skytrace.pipelines.cluster_pu.options import FeatureOptions, PriorOptions
from skytrace.surveys.data_root import under_data_root

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["describe_survey"]

_COLUMNS = (
    "cluster_id", "group", "cell", "redshift", "richness", "theta_e_richness_arcsec", "alignment_probability",
)  # fmt: skip
_QUANTILES = (0.05, 0.5, 0.95)


def describe_survey(
    clusters: Table, options: SurveyScaleOptions, features: FeatureOptions, prior: PriorOptions
) -> tuple[Table, Report]:
    """(a row a cluster of the survey's catalogue: theta_E proxy and the chance that it lenses a cluster behind it; by
    catalogue the area, the distributions, the lenses expected and their share, beside the prior that was given).
    Without a catalogue no row, and the reason. Raises SurveyError where the file cannot be used.
    """
    absent = _absent(options)
    if absent:
        return pd.DataFrame(columns=list(_COLUMNS)), {"status": "absent", "reason": absent}
    from skytrace.clusters.survey_scale import survey_table
    from skytrace.surveys.clusters.tables import read_cluster_table

    table = read_cluster_table(under_data_root(str(options.catalogue)), options.columns)
    if "group" not in table:
        table = table.assign(group="catalogue")
    found = survey_table(table, options=options, cosmology=features.catalogue)
    chance = found["alignment_probability"].to_numpy()
    return found, {
        "status": "read",
        "catalogue": str(options.catalogue),
        "clusters": len(found),
        "share_of_clusters": options.share,
        "catalogues": [_of_group(str(name), rows, options) for name, rows in found.groupby("group")],
        "expected_lenses": float(chance.sum()),
        "prior": {
            "by_alignment": float(chance.mean()), "given": prior.sky,
            "ratio": float(chance.mean() / prior.sky), "log_sd_given": prior.log_sd,
        },
        "beyond_the_sample": _beyond(found, clusters),
    }  # fmt: skip


def _absent(options: SurveyScaleOptions) -> str:
    if options.catalogue is None:
        return "No catalogue of a survey is configured (survey.catalogue is null)."
    if not under_data_root(options.catalogue).exists():
        return f"A catalogue of a survey is configured, but the data root holds no {options.catalogue}."
    return ""


def _of_group(name: str, rows: Table, options: SurveyScaleOptions) -> Report:
    from skytrace.clusters.survey_scale import occupied_area_deg2

    quantiles = {
        column: dict(zip(("q05", "median", "q95"), np.quantile(rows[column], _QUANTILES).tolist(), strict=True))
        for column in ("redshift", "richness", "theta_e_richness_arcsec")
    }
    return {
        "catalogue": name, "clusters": len(rows),
        "area_deg2": occupied_area_deg2(rows["cell"], nside=options.nside),
        "expected_lenses": float(rows["alignment_probability"].sum()),
        "prior": float(rows["alignment_probability"].mean()), **quantiles,
    }  # fmt: skip


def _beyond(found: Table, clusters: Table) -> Report:
    """Share of the survey's clusters outside the middle 98 % of the sample that the models see: extrapolated there."""
    shares = {}
    for column in ("redshift", "richness"):
        low, high = np.quantile(clusters[column], [0.01, 0.99])
        values = found[column].to_numpy()
        shares[column] = {
            "sample_q01": float(low), "sample_q99": float(high), "below": float((values < low).mean()),
            "above": float((values > high).mean()),
        }  # fmt: skip
    return shares
