"""Which sources and hosts a selection function is of, in words, from the metadata that travel in its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["POPULATION_HEADING", "population_words"]

POPULATION_HEADING = "Which sources and hosts the number is of"


def population_words(
    metadata: Mapping[str, Any], *, sensitivity: Mapping[str, Any] | None = None
) -> list[tuple[str, str]]:
    """(what, in words) of metadata's population, hosts and host_selection; of what the file lacks, that it does.

    sensitivity: report of ``selection.sensitivity`` (verdict, sentence) of the same surface, for its headline. One of
    another threshold than metadata's threshold_default is of another surface, and is not cited.
    """
    population, hosts = metadata.get("population"), metadata.get("hosts")
    rows = _sources(population) if population else [("Sources", "not stated in the file")]
    rows += _hosts(hosts, metadata.get("host_selection") or {}) if hosts else [("Hosts", "not stated in the file")]
    return [*rows, ("Other sources and hosts", _sensitivity_words(metadata, sensitivity))]


def _sources(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    if known["image_share"]:
        shape = f"stamps of real galaxies, library {str(known['source_library_checksum'])[:12]}"
    else:
        clumpy = known["clumpy_share"]
        shape = (
            f"Sersic of n = {known['sersic_min']:g} to {known['sersic_max']:g}, median {known['sersic_median']:g}, "
            f"scatter {known['sersic_scatter_dex']:g} dex, axis ratio {known['source_q_min']:g} to 1; {clumpy:.0%} of "
            f"them with {known['n_clumps']} clumps that hold {known['clump_share_min']:.0%} to "
            f'{known["clump_share_max"]:.0%} of the light and have a sigma of {known["clump_sigma_min_arcsec"]:g}" to '
            f'{known["clump_sigma_max_arcsec"]:g}"'
        )
    positions = {
        "magnification": f"uniform where a point's total magnification is at least {known['minimum_magnification']:g}",
        "multiply_imaged": "uniform where a point is multiply imaged, whatever the magnification",
    }
    slope = f"slope {known['slope_mean']:g}" + (f" with scatter {known['slope_sigma']:g}" * bool(known["slope_sigma"]))
    return [
        (
            "Source magnitudes",
            f"r = {known['mag_r_min']:g} to {known['mag_r_max']:g} AB before lensing, "
            f"numbers rising as 10^({known['counts_slope']:g} m)",
        ),
        (
            "Source sizes",
            f'half-light radius {known["size_at_mag24_arcsec"]:g}" in the median at r = 24, '
            f"{known['size_slope_dex_per_mag']:+g} dex per mag, scatter {known['size_scatter_dex']:g} dex, within "
            f'{known["size_min_arcsec"]:g}" to {known["size_max_arcsec"]:g}"',
        ),
        (
            "Source colours",
            f"g-r {known['g_r_mean']:g} with scatter {known['g_r_sigma']:g}, r-z {known['r_z_mean']:g} with scatter "
            f"{known['r_z_sigma']:g} (AB)",
        ),
        ("Source shapes", shape),
        ("Source positions", positions.get(known["position_rule"], str(known["position_rule"]))),
        (
            "Deflectors",
            f"power law of {slope}; axis ratio of the host's light with scatter {known['q_scatter']:g}, within "
            f"{known['q_min']:g} to {known['q_max']:g}, angle with scatter {known['angle_scatter_deg']:g} deg; each "
            f"shear component of scatter {known['shear_sigma']:g}",
        ),
    ]


def _hosts(known: Mapping[str, Any], selection: Mapping[str, Any]) -> list[tuple[str, str]]:
    whose = {
        "test": "galaxies of the detector's test split that are no known lenses",
        "any": "galaxies of a sky that the detector never saw, no known lenses",
    }
    words = [whose.get(known["host_splits"], str(known["host_splits"]))]
    if selection:
        words.append(f"Tractor types {', '.join(selection['types'])}, z < {selection['mag_z_max']:g} AB")
    colour = known["min_g_r"]
    words.append("any colour" if colour is None else f"g-r of {colour:g} or more")
    use = (
        f"at most {known['max_hosts_per_cell']} in a (PSF, depth) condition, {known['max_injections_per_host']} "
        f"injections of a cell into each; "
    )
    degraded = f"better hosts are degraded to a condition with fewer than {known['min_matched_hosts']} of its own"
    use += degraded if known["degraded_hosts"] else "none is degraded to other conditions"
    return [("Hosts", "; ".join(words)), ("Use of hosts", use)]


def _sensitivity_words(metadata: Mapping[str, Any], report: Mapping[str, Any] | None) -> str:
    words = "P is an average over these; another choice gives another number"
    own = metadata.get("threshold_default")
    if report and own is not None and abs(float(report["threshold"]) - float(own)) < 1e-6:
        return f"{words}. {report['sentence']}"
    return (
        f"{words}. By how much is measured by the pipeline injection_studies, whose sensitivity.json says whether "
        "priors dominate; it is not part of this file."
    )
