"""The card of a selection function, as Markdown and as HTML: what it is, where it holds, what must not be claimed.

After Mitchell et al. (2019), "Model Cards for Model Reporting". Every number is read from the tables handed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.html_templates import html_template
from skytrace.reporting.population_words import POPULATION_HEADING, population_words
from skytrace.selection.bound_history import bound_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from skytrace.selection.selection_function import SelectionFunction

__all__ = ["NEVER_CLAIM", "ModelCard", "Section", "model_card"]

_UNITS = {"theta_e": "arcsec", "psf_fwhm": "arcsec", "depth": "AB mag"}
_NAMES = {"theta_e": "Einstein radius", "psf_fwhm": "PSF size", "depth": "5-sigma depth"}

#: What no measurement of this kind can support: (claim, why not).
NEVER_CLAIM = (
    ("It is the completeness of a survey's lens search.",
     "Cells are averaged over an assumed population of sources and deflectors, and what comes before and after the "
     "detector (preselection, inspection) is not in it."),
    ("It holds for another detector, another threshold or other preprocessing.",
     "It was measured for the network with the hash on this card; a score of another network is another quantity."),
    ("The mean over the cells is the completeness of the sky.",
     "Cells are filled in equal number, not in the proportions in which the sky or the lenses have them."),
    ("It can be extrapolated beyond the envelope, or interpolated where cells are empty or insufficient.",
     "Nothing, or too little, was measured there."),
    ("It gives the number of lenses on the sky.",
     "That needs the rate of false positives at the same threshold and a forward model of the counts."),
    ("Cells that differ by their intervals are independent measurements.",
     "The same hosts serve all Einstein radii of a condition; use the host-aware intervals, or resample hosts."),
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, bullet points, and a table (header and rows; empty for none). Plain text everywhere."""

    heading: str
    paragraphs: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """title, verdict (GO, NO-GO, INSUFFICIENT), stamp (a sentence on it), sections."""

    title: str
    verdict: str
    stamp: str
    sections: tuple[Section, ...]

    def to_markdown(self) -> str:
        """CommonMark; whatever the texts hold appears as text."""
        lines = [f"# {_markdown(self.title)}", f"**Realism gates: {_markdown(self.verdict)}.** {_markdown(self.stamp)}"]
        for section in self.sections:
            lines.append(f"## {_markdown(section.heading)}")
            lines += [_markdown(words) for words in section.paragraphs]
            if section.points:
                lines.append("\n".join(f"- {_markdown(words)}" for words in section.points))
            if section.rows:
                lines.append("\n".join(_row(cells) for cells in _with_rule(section)))
        return "\n\n".join(lines) + "\n"

    def to_html(self) -> str:
        """One document without a network or a script; all text is escaped."""
        return html_template("model_card.html.j2").render(card=self)


def model_card(
    selection: SelectionFunction,
    realism: Mapping[str, Any],
    *,
    conditions: pd.DataFrame | None = None,
    trends: Mapping[str, Mapping[str, Any]] | None = None,
    comparison: Sequence[str] = (),
    sensitivity: Mapping[str, Any] | None = None,
    survey: str = "",
    title: str = "Selection function: model card",
) -> ModelCard:
    """The card of ``selection`` at its default threshold.

    realism: the realism report (verdict, gates with name, status, sentence; limits). conditions: one row a (PSF, depth)
    with psf_fwhm, depth, mode, n_matched, n_degraded, n_hosts. trends: ``trend_tests``. comparison: sentences of
    ``comparison_summary``. sensitivity: report of the studies, whose headline is cited where it is of this surface.
    survey: the sky, where the metadata do not name it. A verdict in the report that is not the file's is said on the
    card, and the worse of both stands on top.
    """
    verdict = _worse(str(selection.metadata["verdict"]), str(realism.get("verdict", "INSUFFICIENT")))
    gates = list(realism.get("gates", ()))
    sections = [
        _what(selection, survey),
        Section(
            POPULATION_HEADING,
            header=("", ""),
            rows=tuple(population_words(selection.metadata, sensitivity=sensitivity)),
        ),
        _validation(selection, realism, gates, verdict),
        Section(
            "Not to be claimed",
            points=tuple(f'Not "{claim}" {why}' for claim, why in _claims(selection, verdict, survey)),
        ),
        _envelope(selection),
        _threshold(selection),
        _hosts(selection, conditions),
        _cells(selection),
    ]
    if trends:
        sections.append(Section("Trends", points=tuple(str(trend["sentence"]) for trend in trends.values())))
    if comparison:
        sections.append(Section("Beside the published DR10 surface", points=tuple(map(str, comparison))))
    limits = tuple(map(str, realism.get("limits", ())))
    if limits:
        sections.append(Section("What the gates do not show", points=limits))
    sections.append(_use(selection))
    return ModelCard(title, verdict, _stamp(verdict, gates), tuple(sections))


def _worse(first: str, second: str) -> str:
    order = ("GO", "INSUFFICIENT", "NO-GO")
    known = [word if word in order else "INSUFFICIENT" for word in (first, second)]
    return max(known, key=order.index)


def _stamp(verdict: str, gates: Sequence[Mapping[str, Any]]) -> str:
    fallen = ", ".join(str(gate["name"]) for gate in gates if gate["status"] == "fail")
    reported = ", ".join(str(gate["name"]) for gate in gates if gate["status"] == "reported")
    open_ones = ", ".join(str(gate["name"]) for gate in gates if gate["status"] not in ("pass", "fail", "reported"))
    if verdict == "GO":
        beside = f" Reported without a bound: {reported}." if reported else ""
        passed = sum(gate["status"] == "pass" for gate in gates)
        return f"Validated by the {passed} gates that are judged; what they do not show is said below.{beside}"
    words = "Not validated: the numbers are of these injections and not shown to hold for real lenses."
    if fallen:
        words += f" Fallen: {fallen}."
    return words + (f" Not judged for lack of lenses or measurements: {open_ones}." if open_ones else "")


def _what(selection: SelectionFunction, survey: str) -> Section:
    known = selection.metadata
    rows = [
        ("Quantity", "P(score >= threshold | Einstein radius, PSF size, depth) of injected lenses, in cells"),
        ("Sky", str(known.get("survey", survey) or "not stated")),
        ("Detector", str(known.get("detector", "not stated"))),
        ("Detector hash", str(known.get("detector_hash", "not stated"))),
        ("Injections", _injections(selection)),
        ("Source positions", str(known.get("source_position_rule", "not stated"))),
        ("Einstein radius in a cell", str(known.get("theta_e_in_cell", "not stated"))),
    ]
    return Section("What it is", header=("", ""), rows=tuple(rows))


def _injections(selection: SelectionFunction) -> str:
    return f"{int(_default(selection)['n'].sum()):,} in the cells of the default threshold"


def _validation(
    selection: SelectionFunction, realism: Mapping[str, Any], gates: Sequence[Mapping[str, Any]], verdict: str
) -> Section:
    words = [f"Verdict: {verdict}. One failed gate makes NO-GO; else one that could not be judged makes INSUFFICIENT."]
    filed, reported = str(selection.metadata["verdict"]), str(realism.get("verdict", "INSUFFICIENT"))
    if filed != reported:
        words.append(f"The file says {filed}, the report {reported}: they are not of one run. The worse one stands.")
    words += bound_words(realism, selection.metadata.get("population")) if gates else []
    if "options_hash" in realism:
        words.append(f"The hash of all that decides the comparison, bounds included, is {realism['options_hash']}.")
    if "injected_pixels" in realism:
        words.append(str(realism["injected_pixels"]["sentence"]))
    rows = tuple((str(gate["name"]), str(gate["status"]), str(gate["sentence"])) for gate in gates)
    if not rows:
        words.append("No gate was run.")
    return Section(
        "Validation", tuple(words), header=("Gate", "Result", "What was measured") if rows else (), rows=rows
    )


def _claims(selection: SelectionFunction, verdict: str, survey: str) -> list[tuple[str, str]]:
    claims = list(NEVER_CLAIM)
    if verdict != "GO":
        why = "The realism gates have not said GO: injections may be easier or harder to find than real lenses."
        claims.insert(0, ("It is the probability that a real lens is found.", why))
    else:
        why = "GO means that observable injections resemble known lenses in what was compared, within its bounds."
        claims.insert(0, ("Injections cannot be told from real lenses.", why))
    if "mock" in str(selection.metadata.get("survey", survey)).lower():
        why = "Hosts, noise and lenses are simulated: it shows that the measurement works, not what a survey finds."
        claims.insert(0, ("It describes a real survey.", why))
    if (_default(selection)["mode"] == "degraded").any():
        why = "Their hosts were degraded to the cell from better data; no host of these conditions was seen."
        claims.append(("Degraded cells are measured like matched ones.", why))
    return claims


def _envelope(selection: SelectionFunction) -> Section:
    rows = tuple(
        (
            _NAMES[axis],
            f"{low:g} to {high:g} {_UNITS[axis]}",
            str(selection.metadata.get(f"{axis}_definition", "not stated")),
        )
        for axis, (low, high) in selection.envelope.items()
    )
    words = (
        "Lower ends are included, upper ends are not. A question outside is refused, and one about an empty cell too."
    )
    return Section("Envelope", (words,), header=("Axis", "Measured", "Definition"), rows=rows)


def _threshold(selection: SelectionFunction) -> Section:
    listed = ", ".join(f"{value:g}" for value in selection.thresholds)
    default = float(_default(selection)["threshold"].iloc[0])
    words = (
        f"Detected means score >= {default:g} unless asked otherwise; the file holds {listed}.",
        "A threshold belongs to this detector: its score is no rate.",
    )
    rates = selection.metadata.get("host_false_positives") or ()
    if not rates:
        return Section("Threshold", (*words, "False positives on the hosts are not stated in the file."))
    rows = tuple(
        (f"{rate['threshold']:g}", f"{rate['k']:,} of {rate['n']:,}", f"{rate['k'] / max(rate['n'], 1):.3g}",
         f"{rate['low68']:.3g} to {rate['high68']:.3g}")
        for rate in rates
    )  # fmt: skip
    why = (
        "Hosts that pass without any injection, one count a host and condition: the rate of false positives among "
        "galaxies chosen as hosts are, not among all galaxies of a search."
    )
    return Section("Threshold", (*words, why), header=("Threshold", "Hosts that pass", "Rate", "68 %"), rows=rows)


def _hosts(selection: SelectionFunction, conditions: pd.DataFrame | None) -> Section:
    table = _default(selection)
    filled = table[table["n"] > 0]
    words = ["Hosts are galaxies that the detector did not train on and that are no known lenses."]
    if len(filled) and filled["n_hosts"].notna().all():
        words.append(
            f"A filled cell has {_span(filled['n_hosts'])} hosts; intervals with the ending _hosts know that "
            "injections into one host are not independent."
        )
    if "design_effect" in filled and filled["design_effect"].notna().any():
        effect = filled["design_effect"].dropna()
        words.append(
            f"Design effect of shared hosts: median {effect.median():.2f}, 95th percentile {effect.quantile(0.95):.2f}."
        )
    if conditions is None or conditions.empty:
        return Section("Hosts", tuple(words))
    names = ("psf_fwhm", "depth", "mode", "n_matched", "n_degraded", "n_hosts")
    rows = tuple(tuple(_word(row[name]) for name in names) for _, row in conditions.iterrows())
    header = ("PSF size (arcsec)", "Depth (AB mag)", "Hosts are", "Matched at hand", "Degradable at hand", "Used")
    return Section("Hosts", tuple(words), header=header, rows=rows)


def _cells(selection: SelectionFunction) -> Section:
    table = _default(selection)
    count = table["state"].value_counts()
    points = [f"{name}: {int(count[name])} of {len(table)} cells" for name in sorted(count.index)]
    modes = table.loc[table["n"] > 0, "mode"].value_counts()
    points += [f"{name} hosts: {int(modes[name])} of {int(modes.sum())} filled cells" for name in sorted(modes.index)]
    value = table["completeness"].dropna()
    if len(value):
        points.append(
            f"completeness of the filled cells: {value.min():.3f} to {value.max():.3f}, median {value.median():.3f} "
            "(cells counted alike; not an average over the sky)"
        )
    return Section("Cells", points=tuple(points))


def _use(selection: SelectionFunction) -> Section:
    middle = {axis: 0.5 * (low + high) for axis, (low, high) in selection.envelope.items()}
    asked = ", ".join(f"{axis}={value:.4g}" for axis, value in middle.items())
    return Section(
        "Use",
        (
            f"SelectionFunction.load(path).probability({asked}) gives value, intervals, n, hosts, state and validated.",
            "Quote the interval with the ending _hosts, the state, the threshold and the detector's hash.",
            "Cite the file by its SHA-256, with the run and commit that made it: the run manifest has all three.",
        ),
    )


def _default(selection: SelectionFunction) -> pd.DataFrame:
    """Rows of the default threshold."""
    table = selection.table
    wanted = float(selection.metadata.get("threshold_default", table["threshold"].iloc[0]))
    known = np.asarray(selection.thresholds)
    return table[table["threshold"] == known[np.argmin(np.abs(known - wanted))]]


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or value != value else f"{value:g}"


def _markdown(text: str) -> str:
    """``text`` as CommonMark shows it literally: no tag, link, emphasis, table rule or block can come out of it."""
    flat = re.sub(r"\s+", " ", str(text)).strip()
    flat = re.sub(r"([\\`*_{}\[\]<>#|&~$!@])", r"\\\1", flat)
    flat = re.sub(r"://|(?<=www)\.", lambda found: f"\\{found[0]}", flat)  # bare addresses become links on some sites
    return re.sub(r"^(?:([-+=:])|(\d+)([.)])(?=\s|$))", r"\2\\\1\3", flat)  # what opens a list or a rule


def _with_rule(section: Section) -> list[tuple[str, ...]]:
    return [section.header, ("---",) * len(section.header), *section.rows]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell if cell == "---" else _markdown(cell) for cell in cells) + " |"
