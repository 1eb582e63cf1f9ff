// Lines with 68 and 95 % bands along an axis, and the maps of a comparison.
const NICE = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1];
function niceTop(list) {
  const highest = Math.max(0, ...list.filter(p => known(p.high95)).map(p => p.high95));
  return NICE.find(end => highest <= end) || 1;
}
// values: all bins of the axis, measured or not; list: measured and unmeasured bins
function bandPlot(svg, values, list, options) {
  const width = Math.max(200, roomIn(svg.parentNode)), height = options.height;
  const left = 50, right = 8, top = 8, foot = height - 38;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const half = values.length > 1 ? 0.5 * (values[1] - values[0]) : 0.5;
  const first = values[0] - half, last = values[values.length - 1] + half;
  const x = v => left + (width - left - right) * (v - first) / (last - first), y = p => foot - (foot - top) * Math.min(1, p / options.top);
  [0, .5, 1].forEach(share => {
    const p = share * options.top;
    node("line", { x1: left, x2: width - right, y1: y(p), y2: y(p), stroke: "#d0d7de" }, svg);
    node("text", { x: left - 5, y: y(p) + 4, "text-anchor": "end", "font-size": TEXT }, svg, +(100 * p).toPrecision(3) + " %");
  });
  const every = Math.ceil(values.length * 34 / (width - left - right));
  values.forEach((v, i) => { if (i % every === 0) node("text", { x: x(v), y: foot + 16, "text-anchor": "middle", "font-size": TEXT }, svg, +v.toFixed(2)); });
  node("text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle", "font-size": TEXT }, svg, options.label);
  const measured = list.filter(p => known(p.completeness)).sort((a, b) => a.value - b.value);
  runs(values, measured).forEach(run => {
    for (const [low, high, colour] of [["low95", "high95", "#cfe0f3"], ["low68", "high68", "#8fb6de"]]) {
      const ends = run.length > 1 ? run.map(p => [x(p.value), p]) : [[x(run[0].value) - 4, run[0]], [x(run[0].value) + 4, run[0]]];
      const path = [...ends.map(([at, p]) => [at, y(p[high])]), ...ends.reverse().map(([at, p]) => [at, y(p[low])])];
      node("polygon", { class: `band ${low}`, points: path.map(q => q.join(",")).join(" "), fill: colour }, svg);
    }
    node("polyline", { points: run.map(p => `${x(p.value)},${y(p.completeness)}`).join(" "), fill: "none", stroke: "#1f4e8c", "stroke-width": 1.5 }, svg);
  });
  measured.forEach(p => {
    const dot = node("circle", { class: "dot", cx: x(p.value), cy: y(p.completeness), r: 3.5, fill: p.faint ? "#fff" : "#1f4e8c", stroke: "#1f4e8c", "stroke-width": 1.5, "data-value": p.value }, svg);
    node("title", {}, dot, `${+p.value.toFixed(3)}: ${percent(p.completeness)} (68 % ${span(p.low68, p.high68)}; 95 % ${span(p.low95, p.high95)}), ${count(p.n_detected)} of ${count(p.n)}`);
  });
  const empty = values.filter(v => !measured.some(p => p.value === v));
  empty.forEach(v => node("text", { class: "empty", x: x(v), y: foot - 5, "text-anchor": "middle", "font-size": 13 }, svg, "\u00d7"));
  if (!measured.length) node("text", { x: (left + width - right) / 2, y: (top + foot) / 2, "text-anchor": "middle", "font-size": 13 }, svg, "nothing was measured");
  if (known(options.at)) node("line", { class: "at", x1: x(options.at), x2: x(options.at), y1: top, y2: foot, stroke: "#d1242f", "stroke-dasharray": "4 3" }, svg);
  return empty.length;
}
// measured neighbours without an unmeasured bin between them
function runs(values, measured) {
  const found = [];
  let previous = -2;
  measured.forEach(p => {
    const place = values.indexOf(p.value);
    if (place !== previous + 1) found.push([]);
    found[found.length - 1].push(p);
    previous = place;
  });
  return found;
}

const PANELS = [["theta_e", "Einstein radius \u03b8E (arcsec)"], ["psf_fwhm", "PSF size in r (arcsec)"], ["depth", "5\u03c3 PSF depth in r (AB mag)"]];
const marginalRows = extra.marginals ? toRows(extra.marginals) : [];
const shownMarginals = () => marginalRows.filter(r => Math.abs(r.threshold - view.threshold) < 1e-6 && (r.detector === undefined || r.detector === view.detector));
function drawMarginals() {
  const box = byId("marginals"), list = shownMarginals(), words = [];
  box.replaceChildren();
  byId("marginals-note").textContent = `None were given for ${detectors.length > 1 ? view.detector + " at " : ""}score \u2265 ${thresholdText(view.threshold)}.`;
  if (!list.length) return;
  let empty = 0;
  PANELS.forEach(([axis, label]) => {
    const part = list.filter(r => r.axis === axis);
    if (!part.length) return;
    const panel = html("div", box);
    html("h3", panel, plural(part.reduce((sum, r) => sum + r.n, 0), "injection", "injections"));
    const svg = node("svg", { role: "img", "data-axis": axis, "aria-label": `probability of detection along ${label}` }, panel);
    empty += bandPlot(svg, sorted(part.map(r => r.value)), part, { top: niceTop(list), label, height: 230 });
  });
  words.push(`Score \u2265 ${thresholdText(view.threshold)}; all injections of a bin pooled over the other axes, as many as each cell has, matched and degraded hosts together. Dots are the measured bins; lines and bands (dark 68 %, light 95 %, ${extra.shared_hosts ? "with shared hosts" : "independent trials"}) only join them.`);
  if (empty) words.push("\u00d7: nothing was measured in this bin.");
  const none = list.filter(r => r.n > 0 && r.n_detected === 0).length;
  if (none) words.push(`${plural(none, "bin has", "bins have")} no detection. ${NONE.replace("None was detected. ", "")}`);
  byId("marginals-note").textContent = words.join(" ");
  if (byId("marginal-numbers").open) drawMarginalNumbers();
}
function drawMarginalNumbers() {
  fillTable(byId("marginal-numbers").querySelector(".scroll"), ["axis", "bin", "P(detected)", "68 %", "95 %", "detected", "n"],
    shownMarginals().map(r => [r.axis, String(+r.value.toFixed(3)), percent(r.completeness), span(r.low68, r.high68), span(r.low95, r.high95), count(r.n_detected), count(r.n)]));
}
function markMarginals(place) {
  document.querySelectorAll("#marginals svg").forEach(svg => {
    svg.querySelectorAll(".dot").forEach(dot => {
      const at = svg.dataset.axis === "depth" ? view.depth : place && place[svg.dataset.axis];
      const here = Number(dot.dataset.value) === at;
      dot.setAttribute("r", here ? 6 : 3.5);
      dot.setAttribute("stroke", here ? "#d1242f" : "#1f4e8c");
    });
  });
}

// ours, theirs, and the difference, on the cells whose centres coincide
const compared = extra.comparison ? toRows(extra.comparison) : [];
const comparedAt = () => compared.filter(r => r.depth === view.depth);
const SIDES = { ours: "This surface", theirs: "Published surface" };
function comparisonTop(side) {
  const highest = Math.max(0, ...compared.map(r => r[`completeness_${side}`] || 0));
  return NICE.find(end => end >= 0.05 && highest <= end) || 1;  // as the other maps: from 0 to 5 % at least
}
function sideLook(side, top) {
  return row => {
    const value = row[`completeness_${side}`], state = row[`state_${side}`], label = comparisonLabel(row);
    if (!known(value)) return { fill: "url(#hatch-none)", hatch: "", text: "", label, state };
    const kind = wrap[state] ? state : "insufficient";
    return { fill: fill(value, top), text: wrap[kind](briefPercent(value)), dark: lit(value, top), hatch: kind === "ok" ? "" : kind, mark: row[`mode_${side}`] === "degraded", label, state };
  };
}
function differenceLook(top) {
  return row => {
    const value = row.difference, label = comparisonLabel(row);
    if (!known(value)) return { fill: "url(#hatch-none)", hatch: "", text: "", label };
    const place = Math.max(0, Math.min(64, Math.round(32 + 32 * value / top))), points = signed(value, 0);
    return { fill: extra.diverging[place], text: row.excludes_zero ? points : `(${points})`, dark: Math.abs(place - 32) < 20, hatch: row.excludes_zero ? "" : "zero", label };
  };
}
const signed = (value, digits) => { const text = (100 * Math.abs(value)).toFixed(digits); return Number(text) === 0 ? text : (value < 0 ? "\u2212" : "+") + text; };
function comparisonLabel(row) {
  const said = side => known(row[`completeness_${side}`])
    ? `${percent(row[`completeness_${side}`])} (68 % ${span(row[`low68_${side}`], row[`high68_${side}`])}; ${count(row[`n_detected_${side}`])} of ${count(row[`n_${side}`])}, ${row[`mode_${side}`]} hosts, ${row[`state_${side}`].replace(/_/g, " ")})` : "not measured";
  const gap = known(row.difference) ? `; difference ${signed(row.difference, 2)} points (95 % ${signed(row.difference_low95, 2)} to ${signed(row.difference_high95, 2)})` : "";
  return `theta_E ${row.theta_e.toFixed(2)}, PSF ${row.psf_fwhm.toFixed(2)}, depth ${row.depth.toFixed(2)}: this surface ${said("ours")}; published ${said("theirs")}${gap}. ${capital(extra.roles[row.role] || row.role)}.`;
}
const capital = words => words[0].toUpperCase() + words.slice(1);
function drawComparison() {
  const box = byId("comparison"), list = comparedAt();
  const cut = extra.limits.map(limit => known(limit) ? `score \u2265 ${+limit.toPrecision(3)}` : "its own threshold");
  byId("comparison-note").textContent = `Cells with the same centre in both, at the depth chosen above, always at ${cut[0]} here and ${cut[1]} there. Each surface has its own colour scale: detectors, thresholds, sources and sky differ, so compare shapes, not levels.` + (list.length ? "" : " There is no such cell at this depth.");
  box.replaceChildren();
  if (!list.length) return;
  const gap = Math.max(...compared.map(r => Math.abs(r.difference || 0))), gapTop = NICE.find(end => end >= 0.05 && gap <= end) || 1;
  const maps = [["ours", sideLook("ours", comparisonTop("ours")), colours, [0, .5, 1].map(s => wholePercent(s * comparisonTop("ours")))],
    ["theirs", sideLook("theirs", comparisonTop("theirs")), colours, [0, .5, 1].map(s => wholePercent(s * comparisonTop("theirs")))],
    ["difference", differenceLook(gapTop), extra.diverging, [-1, 0, 1].map(s => signed(s * gapTop, gapTop < 0.1 ? 1 : 0))]];
  maps.forEach(([name, look, table, ends]) => {
    const panel = html("div", box);
    html("h3", panel, SIDES[name] || "Difference in points; ( ) hatched: 95 % holds 0");
    const svg = node("svg", { id: `map-${name}` }, panel);
    heatMap(svg, list, look, SIDES[name] || "difference of both surfaces");
    listen(svg);
    legendRamp(html("div", panel, undefined, "legend"), table, ends);
  });
}
function describeComparison(place) {
  const row = place && comparedAt().find(r => r.theta_e === place.theta_e && r.psf_fwhm === place.psf_fwhm);
  byId("comparison-cell").textContent = row ? comparisonLabel(row) : "";
}
