"""The ranked candidates, the figures, and the page."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.learning.rare_events import RareEventOptions
from skytrace.pipelines.cluster_pu.fields import fields_in_order
from skytrace.pipelines.cluster_pu.options import PriorOptions, TriageOptions

Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["FIGURES", "rank_candidates", "write_page"]

#: Figures in the order in which ``write_page`` returns them, each twice: PNG and PDF.
FIGURES = ("discovery", "ablation", "importance", "prior", "prior_study", "robustness")
_MANY_MISSING, _PADDED = 0.1, 0.02


def rank_candidates(
    clusters: Table, fields: Table, features: Table, logits: Table, anomalies: Table, prior: PriorOptions
) -> Table:
    """One row a field, best first: rank among the unlabelled (0: a known lens), probability at the sky's prior with 68
    and 95 % intervals, what it was computed from, and flags in words, joined by "; ".

    The intervals hold the prior's uncertainty and the calibration's, not the scatter of the trees.
    """
    from scipy.special import expit

    from skytrace.learning.pu_uncertainty import probability_intervals, scale_draws
    from skytrace.statistics import LEVELS

    val = logits["split"] == "val"
    draws = scale_draws(
        logits.loc[val, "stack"], logits.loc[val, "known_lens"].astype(int), prior=prior.unlabelled,
        log_sd=prior.log_sd, n_draws=prior.n_draws, seed=prior.seed,
    )  # fmt: skip
    ends = probability_intervals(
        logits["stack"], draws, prior=prior.unlabelled, target_prior=prior.sky, levels=dict(LEVELS)
    )
    table = pd.concat([logits.reset_index(drop=True), ends], axis=1).assign(
        probability=expit(logits["logit"].to_numpy())
    )
    told = ["cluster_id", "ra", "dec", "redshift", "richness"]
    table = table.merge(clusters[told], on="cluster_id", validate="1:1")
    seen = ["cluster_id", "theta_e_richness_arcsec", "redder_flagged", "agreeing_peaks", "empty_patches"]
    table = table.merge(features[[name for name in seen if name in features]], on="cluster_id", validate="1:1")
    table = table.merge(fields[["cluster_id", "padded_fraction", "missing_fraction"]], on="cluster_id", validate="1:1")
    renamed = anomalies.rename(columns={"distance": "anomaly_distance", "tail_share": "anomaly_tail_share"})
    table = table.merge(renamed, on="cluster_id", validate="1:1")
    table["flags"] = [_flags(row) for row in table.to_dict("records")]
    table = table.sort_values(["logit", "cluster_id"], ascending=[False, True], kind="stable").reset_index(drop=True)
    unlabelled = ~table["known_lens"].to_numpy(dtype=bool)
    table.insert(0, "rank", np.where(unlabelled, np.cumsum(unlabelled), 0))
    return table


def _flags(row: dict[str, Any]) -> str:
    found = []
    if row["anomalous"]:
        found.append("unlike the non-lenses")
    if row["redder_flagged"] == 1.0:
        found.append("red peaks of several colours")
    if row["padded_fraction"] > _PADDED:
        found.append(f"{100 * row['padded_fraction']:.0f} % beyond the mosaic")
    if row["missing_fraction"] > _MANY_MISSING:
        found.append(f"{100 * row['missing_fraction']:.0f} % without data")
    if row.get("empty_patches", 0.0) > 0:
        found.append(f"{row['empty_patches']:.0f} patches without data in a band")
    return "; ".join(found)


def _draw_figures(
    curves: Table, ablation_table: Table, importance: Table, by_prior: Table, prior_study: Table, evaluation: Report,
    rare: RareEventOptions,
) -> tuple[Any, ...]:  # fmt: skip
    """Every figure of FIGURES."""
    from skytrace.reporting import cluster_figures as draw

    return (
        draw.discovery_figure(curves, evaluation["rare_events"]),
        draw.ablation_figure(ablation_table),
        draw.importance_figure(importance),
        draw.prior_figure(by_prior, recall=rare.recall),
        draw.prior_study_figure(prior_study),
        draw.robustness_figure(evaluation["robustness"]),
    )


def write_page(
    candidates: Table, fields: Table, evaluation: Report, survey_report: Report, learning_report: Report,
    shuffle_report: Report, ablation_table: Table, importance: Table, curves: Table, by_prior: Table,
    prior_study: Table, prior: PriorOptions, options: TriageOptions, rare: RareEventOptions,
) -> tuple[Any, ...]:  # fmt: skip
    """Every figure of FIGURES, for its PNG and for its PDF, and last the page: the best candidates with their strips,
    read from the shards one by one, and how good the ranking is.
    """
    from skytrace.reporting.cluster_strips import field_strip_png
    from skytrace.reporting.style import figure_png
    from skytrace.reporting.triage_page import Candidate, candidate_lines, triage_page

    best = candidates[candidates["rank"] > 0].head(options.candidates)
    shown = []
    for row, (name, cutouts, k) in zip(
        best.to_dict("records"), fields_in_order(fields, best["cluster_id"].to_list()), strict=True
    ):
        strip = field_strip_png(cutouts.image[k], cutouts.noise[k], zoom=options.zoom)
        flags = tuple(part for part in str(row["flags"]).split("; ") if part)
        shown.append(Candidate(int(row["rank"]), name, candidate_lines(row), flags, strip))
    drawn = _draw_figures(curves, ablation_table, importance, by_prior, prior_study, evaluation, rare)
    pictures = {name: figure_png(figure) for name, figure in zip(FIGURES, drawn, strict=True)}
    subtitle = f"{len(candidates)} fields, {int((candidates['rank'] > 0).sum())} of them unlabelled"
    page = triage_page(
        shown, subtitle=subtitle,
        sentences=[
            *_sentences(evaluation, learning_report, shuffle_report, prior), *_kind_words(evaluation),
            *_backstop_words(evaluation["anomalies"]), *_bound_words(evaluation["prior_upper_bound"]),
            *_more_words(evaluation["more_non_lenses"]), *_survey_words(survey_report),
        ],
        comparison=ablation_table, discoveries=evaluation["rare_events"]["discovery_curve"], figures=pictures,
    )  # fmt: skip
    return *(figure for figure in drawn for _ in range(2)), page


def _sentences(evaluation: Report, learning: Report, shuffle: Report, prior: PriorOptions) -> list[str]:
    from skytrace.reporting.cluster_figures import in_words

    rare = evaluation["rare_events"]
    auroc, sample, precision = rare["auroc"], rare["sample"], rare["average_precision"]
    mean, own = (
        found["mean_over_prior"] for found in (rare["calibration"], evaluation["calibration_at_unlabelled_prior"])
    )
    cost, recall = rare["cost_per_discovery_hours"]["value"], 100 * rare["precision_at_recall"]["recall"]
    shuffled = "; ".join(f"{in_words(name)}: {value:.3f}" for name, value in shuffle["mean"].items())
    verdict = "no leak between folds is seen" if shuffle["passes"] else "SOMETHING LEAKS between the folds"
    spent = "" if cost is None else f" A discovery costs {cost:,.1f} hours on the way to {recall:.0f} % of the lenses."
    return [
        f"Probabilities are told for a survey in which one field in {1 / prior.sky:,.0f} is such a lens. The data do "
        f"not tell this number: it is given, as LogNormal with a width of {prior.log_sd:g} in ln, and the intervals "
        "hold that and the calibration's uncertainty, not the scatter of the classifiers.",
        f"Ranking: AUROC {auroc['value']:.3f} ({auroc['low_95']:.3f} to {auroc['high_95']:.3f} at 95 %) on "
        f"{sample['positives']} lenses and {sample['negatives']} other test fields; truth: {evaluation['truth']}. Mean "
        f"probability over the prior {own['value']:.2f} ({own['low_95']:.2f} to {own['high_95']:.2f}) at the prior of "
        f"the unlabelled fields, {mean['value']:.2f} ({mean['low_95']:.2f} to {mean['high_95']:.2f}) at the survey's, "
        f"where non-lenses too rare to be among the test fields would add to it.{spent}",
        f"Learnt from {learning['known_lenses']} known lenses and {learning['unlabelled']} unlabelled fields. With "
        f"labels dealt at random the out-of-fold AUC is {shuffled}; {verdict}.",
        f"False-positive rates below {sample['lowest_resolved_false_positive_rate']:.2g} are not resolved by these "
        "test fields, and the prior is smaller than that: how pure the top of a survey's list is, is an extrapolation. "
        f"{100 * precision['recall_without_false_positives']:.0f} % of the lenses rank above every test non-lens. "
        f"The average precision at the prior is {precision['value']:.3g} if nothing else would rank there, and "
        f"{precision['at_limit']:.2g} with every false-positive rate at the upper end of its 95 % interval.",
    ]


def _kind_words(evaluation: Report) -> list[str]:
    """What the false positives are, where a simulated sky knows."""
    others = [kind for kind in evaluation["kinds"] if kind["kind"] != "lens"]
    if not others:
        return []
    others.sort(key=lambda kind: -kind["above_median_lens"])
    shares = ", ".join(
        f"{kind['kind'].replace('_', ' ')} {100 * kind['above_median_lens']:.0f} % (of {kind['n']})" for kind in others
    )
    return [f"What ranks above the median lens, by kind of field: {shares}."]


def _more_words(more: Report | None) -> list[str]:
    """What a larger number of fields without a lens says of the top of the ranking."""
    if more is None:
        return []
    mean, sample, precision = more["calibration"]["mean_over_prior"], more["sample"], more["average_precision"]
    return [
        f"With {more['lens_free_fields']:,} more fields of the simulated sky that hold no lens "
        f"({sample['negatives']:,} non-lenses in all) false-positive rates are resolved down to "
        f"{sample['lowest_resolved_false_positive_rate']:.2g}. Mean probability over the survey's prior: "
        f"{mean['value']:.2f} ({mean['low_95']:.2f} to {mean['high_95']:.2f}). Average precision: "
        f"{precision['value']:.3g} ({precision['low_95']:.2g} to {precision['high_95']:.2g}), "
        f"{precision['at_limit']:.2g} at the upper limit of the rates."
    ]


def _bound_words(bounds: list[dict[str, Any]]) -> list[str]:
    """Whether the upper bound of the prior holds as often as it says, where the prior is known."""
    if not bounds:
        return []
    shares = "; ".join(
        f"{one['prior']:g}: {one['covers']:.3f} ({one['covers_low_95']:.3f} to {one['covers_high_95']:.3f})"
        for one in bounds
    )
    return [
        f"The upper bound of the prior holds in 95 % of cases or more by construction; in "
        f"{bounds[0]['n_simulations']} simulations of each prior it held in a share of: {shares}."
    ]


def _backstop_words(found: Report) -> list[str]:
    """What the distance from non-lenses finds, against as many fields drawn blindly."""
    over = found["over_chance"]
    if not over["called"]:
        return ["The anomaly backstop calls none of the test fields unlike the non-lenses, so it finds no lens."]
    verdict = (
        "no better than chance, as far as so few can tell" if over["low_95"] <= 1.0 <= over["high_95"]
        else "more than chance" if over["ratio"] > 1.0 else "less than chance"
    )  # fmt: skip
    return [
        f"The anomaly backstop (distance from non-lenses beyond a quantile of theirs) calls {over['called']} test "
        f"fields unlike the non-lenses, {over['found']} of them lenses, of {found['lenses']['n']} in all. As many "
        f"fields drawn blindly would hold {over['by_chance']:.1f}: it finds {over['ratio']:.1f} times as many "
        f"({over['low_95']:.1f} to {over['high_95']:.1f} at 95 %), {verdict}."
    ]


def _survey_words(survey: Report) -> list[str]:
    if survey["status"] != "read":
        return []
    prior, beyond = survey["prior"], survey["beyond_the_sample"]
    outside = 100 * max(part["below"] + part["above"] for part in beyond.values())
    return [
        f"The {survey['clusters']:,} clusters of {survey['catalogue']} are expected to lens "
        f"{survey['expected_lenses']:.1f} of one another by chance alignment (one in {1 / prior['by_alignment']:,.0f}: "
        f"{prior['ratio']:.2g} times the prior given), which is good to a factor of a few. {outside:.0f} % of them lie "
        "outside the middle 98 % of this sample's redshifts or richnesses, and nobody looked at their pixels."
    ]
