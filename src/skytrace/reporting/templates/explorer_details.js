// The panel beside the map: what was measured in a cell, why its interval is what it is, and its row of the map.
function line(list, term, value, kind) {
  html("dt", list, term);
  html("dd", list, value, kind || "");
}
function showCell() {
  const place = view.pointed || view.pinned, row = cellAt(place), panel = byId("details");
  document.querySelectorAll("svg[role=grid]").forEach(svg => placeMarker(svg, place, view.pinned && !view.pointed));
  panel.replaceChildren();
  if (row) describe(panel, row);
  else invite(panel);
  if (extra.marginals) markMarginals(place);
  if (extra.comparison) describeComparison(place);
}
function invite(panel) {
  const shown = shownRows();
  html("h3", panel, "Point at a cell");
  html("p", panel, `Depth ${view.depth.toFixed(2)}, score \u2265 ${thresholdText(view.threshold)}: ${plural(shown.reduce((sum, r) => sum + (known(r.n_own) ? r.n_own : r.n), 0), "injection", "injections")} in ${shown.filter(hasValue).length} cells, ${shown.filter(r => !hasValue(r)).length} without hosts.`);
}
function describe(panel, row) {
  html("h3", panel, `\u03b8E ${row.theta_e.toFixed(2)}\u2033, PSF ${row.psf_fwhm.toFixed(2)}\u2033, depth ${row.depth.toFixed(2)}`);
  const list = html("dl", panel);
  if (hasValue(row)) {
    const shared = known(row.low68_hosts);
    line(list, "P(detected)", percent(row.completeness), "large");
    if (shared) {
      line(list, "68 %, shared hosts", span(row.low68_hosts, row.high68_hosts));
      if (known(row.low95_hosts)) line(list, "95 %, shared hosts", span(row.low95_hosts, row.high95_hosts));
    }
    line(list, shared ? "68 %, if independent" : "68 %, independent", span(row.low68, row.high68));
    line(list, shared ? "95 %, if independent" : "95 %, independent", span(row.low95, row.high95));
    line(list, "detected", `${count(row.n_detected)} of n = ${count(row.n)}`);
    line(list, "hosts", `${count(row.n_hosts)} (${row.mode})`);
    if (row.design_effect !== undefined) line(list, "design effect", effectText(row));
    if (known(row.share_host_detected)) line(list, "host alone passes", `${percent(row.share_host_detected)} of the injections: their host is above the threshold before injection`);
    if (row.state === "merged" && known(row.merge_cells)) line(list, "merged cells", `${row.merge_cells}` + (known(row.n_own) ? `; of this cell alone ${count(row.n_detected_own || 0)} of ${count(row.n_own)}` : ""));
  }
  line(list, "state", stateText(row.state));
  explanations(row).forEach(words => html("p", panel, words, "why"));
  slice(panel, row);
}
function effectText(row) {
  const trials = known(row.n_effective) ? `${row.n_effective.toFixed(1)} effective trials` : "";
  return known(row.design_effect) ? `${row.design_effect.toFixed(2)}${trials && "; " + trials}` : `not measurable here${trials && "; from the other cells " + trials}`;
}
const NONE = "None was detected. A Jeffreys interval has equal tails, so its lower end lies a little above 0 although 0 is not excluded: read the upper end as a limit.";
const ALL = "All were detected. A Jeffreys interval has equal tails, so its upper end lies a little below 100 % although 100 % is not excluded: read the lower end as a limit.";
function explanations(row) {
  const words = [];
  if (!hasValue(row)) return ["No host of this seeing and depth was found and none could be degraded to it: nothing is known here, and it is not 0."];
  if (row.n_detected === 0) words.push(NONE);
  if (row.n_detected === row.n) words.push(ALL);
  if (row.state === "insufficient") words.push("Fewer injections than the minimum: the interval holds, the cell is not a published number.");
  if (row.mode === "degraded") words.push("Better-seeing, deeper hosts, convolved and noised to this cell.");
  return words;
}
// P(detected) along theta_E at this PSF size and depth
function slice(panel, row) {
  const points = shownRows().filter(r => r.psf_fwhm === row.psf_fwhm && hasValue(r)).sort((a, b) => a.theta_e - b.theta_e);
  if (points.length < 2) return;
  html("h3", panel, `Row of the map: PSF ${row.psf_fwhm.toFixed(2)}\u2033`).className = "screen";
  const low = r => known(r.low68_hosts) ? r.low68_hosts : r.low68, high = r => known(r.high68_hosts) ? r.high68_hosts : r.high68;
  const low95 = r => known(r.low95_hosts) ? r.low95_hosts : r.low95, high95 = r => known(r.high95_hosts) ? r.high95_hosts : r.high95;
  const list = points.map(r => ({ value: r.theta_e, completeness: r.completeness, low68: low(r), high68: high(r), low95: low95(r), high95: high95(r), n: r.n, n_detected: r.n_detected, faint: r.state !== "ok" }));
  const svg = node("svg", { role: "img", "aria-label": "probability of detection against Einstein radius at this PSF size" }, panel);
  bandPlot(svg, thetas, list, { top: niceTop(list), label: "\u03b8E (arcsec)", height: 170, at: row.theta_e });
}
