"""The ranked candidates as one page that works from a file: no network, no script, all text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skytrace.reporting.evaluation_tables import DASH, PageTable, number_text
from skytrace.reporting.html_templates import html_template

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIGURE_CAPTIONS", "Candidate", "candidate_lines", "probability_text", "triage_page"]

#: Figure name -> what it shows.
FIGURE_CAPTIONS = {
    "discovery": "Left: ROC of the test fields; dots: recall at three false-positive rates, read off the line between "
    "the points on both sides, with 95 % Jeffreys intervals. Right: discoveries in the survey against hours of review, "
    "with 68 and 95 %, and of as many fields drawn blindly. Grey, on both sides: fewer than five of the test fields' "
    "non-lenses decide (open dots), so what is drawn there is extrapolated from the very top of the ranking. Orange: "
    "down to the same curve with every false-positive rate at the upper end of its 95 % Jeffreys interval. Dotted: the "
    "sum of the probabilities of as many fields.",
    "ablation": "AUROC on the test fields: the stack, its members, nnPU with groups of features left out and on each "
    "alone, single columns (the best ones chosen on the training fields; a count of objects of other colours is no "
    "cut in a colour and stands by itself), and where there is truth an oracle: the same trees, learnt "
    "from true labels. Grey line: the stack.",
    "importance": "Mean absolute Shapley value of nnPU's trees over the training fields, the largest twenty. A large "
    "value says what the trees use, not what causes lensing.",
    "prior": "What the prior does, 68 % shaded. Left: precision. Middle: mean probability over the prior; grey: "
    "0.8-1.2. Right: AUROC of a learner told this share of lenses among its unlabelled fields.",
    "prior_study": "What estimates of the prior are worth, on simulations of known densities: median and 16-84 % of "
    "estimate over truth, drawn at 0.01 where it is smaller; grey: within a factor of two.",
    "robustness": "AUROC of the same test fields under a worse sky minus that as observed, by models as they were "
    "trained; thick: 68 %, thin: 95 %.",
}


@dataclass(frozen=True)
class Candidate:
    """rank: 1 is the best. name: the cluster's. lines: what is known. flags: what to beware of. png: its strip."""

    rank: int
    name: str
    lines: tuple[str, ...]
    flags: tuple[str, ...]
    png: bytes


def probability_text(value: float) -> str:
    """A probability with two figures, as small as it may be."""
    return f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"


def candidate_lines(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What the page says of one row of the table of candidates."""
    from skytrace.compute.json_values import json_ready

    known = json_ready(dict(row))
    theta = known.get("theta_e_richness_arcsec")
    return (
        f"probability {probability_text(known['probability'])}  (68 %: {probability_text(known['low_68'])} to "
        f"{probability_text(known['high_68'])}; 95 %: {probability_text(known['low_95'])} to "
        f"{probability_text(known['high_95'])}); logit {known['logit']:.2f}",
        f"RA {known['ra']:.5f}, Dec {known['dec']:+.5f} deg; z {known['redshift']:.3f}; "
        f"richness {known['richness']:.0f}",
        f"θE proxy {DASH if theta is None else format(theta, '.1f')} arcsec; farther from non-lenses than "
        f"{100 * (1 - known['anomaly_tail_share']):.1f} % of these; sky split {known['split']}",
    )


def triage_page(
    candidates: Sequence[Candidate],
    *,
    subtitle: str,
    sentences: Sequence[str],
    comparison: pd.DataFrame | None = None,
    discoveries: Sequence[Mapping[str, Any]] = (),
    figures: Mapping[str, bytes] | None = None,
    title: str = "Candidates for clusters that lens clusters",
) -> str:
    """HTML of the candidates, best first, with strips, and how good the ranking is.

    comparison: variant, auroc, auroc_low_95, auroc_high_95, average_precision, difference_value, difference_low_95,
    difference_high_95. discoveries: rows of ``rare_events.discovery_curve``. figures: name of FIGURE_CAPTIONS ->
    PNG bytes.
    """
    return html_template("triage.html.j2").render(
        title=title,
        subtitle=subtitle,
        sentences=list(sentences),
        legend=(
            "Best first; known lenses are not listed. Strip: composite of g, r, i; S/N of g + r + i without the median "
            "of each circle about the BCG; map of g − i from 0 to 4 mag (dark blue to yellow), grey where nothing is "
            "seen. North is up where the cutout's y axis points north."
        ),
        candidates=[vars(one) for one in candidates],
        tables=[
            *([_discoveries(discoveries)] if discoveries else []),
            *([] if comparison is None else [_comparison(comparison)]),
        ],
        figures=[{"png": png, "caption": FIGURE_CAPTIONS[name]} for name, png in (figures or {}).items()],
    )


def _comparison(table: pd.DataFrame) -> PageTable:
    from skytrace.reporting.cluster_figures import in_words

    rows = tuple(
        (
            in_words(str(row.variant)), f"{number_text(row.auroc)}",
            f"{row.auroc_low_95:.3f} to {row.auroc_high_95:.3f}", f"{row.average_precision:.3g}",
            f"{row.difference_value:+.3f} ({row.difference_low_95:+.3f} to {row.difference_high_95:+.3f})",
        )
        for row in table.itertuples()
    )  # fmt: skip
    columns = ("variant", "AUROC", "95 %", "average precision at the prior", "AUROC minus the stack's (95 %, in pairs)")
    return PageTable("Rankings of the test fields", columns, rows, (False, True, True, True, True))


def _discoveries(curve: Sequence[Mapping[str, Any]]) -> PageTable:
    rows = tuple(
        (
            f"{row['hours']:g}", f"{row['reviewed']:,.0f}",
            f"{number_text(row['discoveries'])} ({number_text(row['low_95'])} to {number_text(row['high_95'])})",
            number_text(row["at_limit"]), number_text(row.get("by_probability")), number_text(row["at_random"]),
            "yes" if row["resolved"] else "no: extrapolated",
        )
        for row in curve
    )  # fmt: skip
    columns = (
        "hours of review", "fields reviewed", "discoveries, as the test fields rank (95 %)",
        "at the upper limit of the false-positive rate", "sum of probabilities", "at random",
        "a test non-lens above that threshold",
    )  # fmt: skip
    return PageTable("Discoveries in the survey", columns, rows, (True,) * 6 + (False,))
