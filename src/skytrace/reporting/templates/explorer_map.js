// Heat maps: cells by Einstein radius and PSF size, drawn at the width they have, so that text keeps its size.
const TEXT = 12.5;
const fill = (p, top) => colours[Math.max(0, Math.min(64, Math.round(64 * p / top)))];
const lit = (value, top) => value >= 0.55 * top;

// look(row) -> { fill, text, dark (text on a light cell), hatch (pattern or ""), mark (degraded hosts), label }
function heatMap(svg, list, look, title) {
  const width = Math.max(240, roomIn(svg.parentNode));
  const left = 52, right = 4, top = 6, w = (width - left - right) / thetas.length;
  const h = Math.max(30, Math.min(52, 0.82 * w)), foot = top + h * psfs.length, height = foot + 44;
  svg.replaceChildren();
  for (const [key, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, role: "grid", "aria-label": title,
    "aria-rowcount": psfs.length, "aria-colcount": thetas.length })) svg.setAttribute(key, value);
  const every = Math.ceil(32 / w);
  thetas.forEach((t, i) => { if (i % every === 0) node("text", { x: left + (i + .5) * w, y: foot + 16, "text-anchor": "middle", "font-size": TEXT }, svg, t.toFixed(2)); });
  psfs.forEach((p, j) => node("text", { x: left - 5, y: foot - (j + .5) * h + 4, "text-anchor": "end", "font-size": TEXT }, svg, p.toFixed(2)));
  node("text", { x: left + (width - left - right) / 2, y: foot + 36, "text-anchor": "middle", "font-size": 13 }, svg, "Einstein radius \u03b8E (arcsec)");
  node("text", { transform: `translate(13 ${top + h * psfs.length / 2}) rotate(-90)`, "text-anchor": "middle", "font-size": 13 }, svg, "PSF size in r (arcsec)");
  const layer = node("g", { class: "layer" }, svg);
  [...psfs].reverse().forEach(psf => {
    const line = node("g", { role: "row" }, layer);
    thetas.forEach(theta => {
      const row = list.find(r => r.theta_e === theta && r.psf_fwhm === psf);
      if (row) drawCell(line, row, look(row), { x: left + thetas.indexOf(theta) * w, y: foot - (psfs.indexOf(psf) + 1) * h, w, h });
    });
  });
  node("rect", { class: "marker", visibility: "hidden", width: w, height: h }, svg);
  svg.dataset.left = left; svg.dataset.foot = foot; svg.dataset.w = w; svg.dataset.h = h;
}
function drawCell(line, row, looks, at) {
  node("rect", { class: "cell", x: at.x, y: at.y, width: at.w, height: at.h, fill: looks.fill, role: "gridcell", tabindex: -1, "aria-label": looks.label,
    "data-theta": row.theta_e, "data-psf": row.psf_fwhm, "data-state": looks.state || "" }, line);
  if (looks.hatch) node("rect", { class: "hatch", x: at.x, y: at.y, width: at.w, height: at.h, fill: `url(#hatch-${looks.hatch})`, "pointer-events": "none" }, line);
  if (looks.mark) node("path", { class: "degraded", d: `M ${at.x + 1} ${at.y + 1} h 8 l -8 8 z`, fill: "#d55e00", "pointer-events": "none" }, line);
  if (!looks.text) return;
  // brackets say what a number is worth: where there is little room the text shrinks, nothing of it is left out
  const size = Math.min(at.w > 42 ? 13 : TEXT, (at.w - 2) / (0.56 * looks.text.length));
  const text = node("text", { x: at.x + at.w / 2, y: at.y + at.h / 2 + 0.35 * size, "text-anchor": "middle", "font-size": +size.toFixed(2), class: looks.dark ? "on-light" : "on-dark" }, line, looks.text);
  if (looks.hatch) { text.setAttribute("stroke", looks.dark ? "#fff" : "#1b1f24"); text.setAttribute("stroke-width", 3); text.setAttribute("paint-order", "stroke"); }
}
function placeMarker(svg, place, pinned) {
  const marker = svg.querySelector(".marker");
  if (!marker) return;
  const there = place && svg.querySelector(`.cell[data-theta="${place.theta_e}"][data-psf="${place.psf_fwhm}"]`);
  marker.setAttribute("visibility", there ? "visible" : "hidden");
  marker.classList.toggle("pinned", Boolean(pinned));
  if (there) ["x", "y"].forEach(key => marker.setAttribute(key, there.getAttribute(key)));
  const cells = [...svg.querySelectorAll(".cell")];
  cells.forEach(cell => { cell.setAttribute("tabindex", -1); cell.setAttribute("aria-selected", cell === there); });
  const stop = there || cells[0];  // one stop of the Tab key a map
  if (stop) stop.setAttribute("tabindex", 0);
}
const placeOf = cell => ({ theta_e: Number(cell.dataset.theta), psf_fwhm: Number(cell.dataset.psf) });

// pointing shows a cell, a click, a tap or Enter keeps it, Escape lets it go, arrows move
function listen(svg) {
  const hit = event => event.target.closest && event.target.closest(".cell");
  svg.addEventListener("mouseover", event => { const cell = hit(event); if (cell) { view.pointed = placeOf(cell); showCell(); } });
  svg.addEventListener("mouseleave", () => { if (!svg.contains(document.activeElement)) view.pointed = null; showCell(); });
  svg.addEventListener("focusin", event => { const cell = hit(event); if (cell) { view.pointed = placeOf(cell); showCell(); } });
  svg.addEventListener("focusout", () => { view.pointed = null; showCell(); });
  svg.addEventListener("click", event => { const cell = hit(event); if (cell) keep(placeOf(cell)); });
  svg.addEventListener("keydown", event => {
    const cell = hit(event);
    if (!cell) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], Home: [-thetas.length, 0], End: [thetas.length, 0] };
    if (event.key === "Enter" || event.key === " ") keep(placeOf(cell));
    else if (event.key === "Escape") keep(null);
    else if (moves[event.key]) step(svg, placeOf(cell), ...moves[event.key]);
    else return;
    event.preventDefault();
  });
}
function step(svg, place, dx, dy) {
  const clamp = (value, length) => Math.max(0, Math.min(length - 1, value));
  const theta = thetas[clamp(thetas.indexOf(place.theta_e) + dx, thetas.length)];
  const psf = psfs[clamp(psfs.indexOf(place.psf_fwhm) + dy, psfs.length)];
  const next = svg.querySelector(`.cell[data-theta="${theta}"][data-psf="${psf}"]`);
  if (next) next.focus();
}
function keep(place) {
  const same = place && view.pinned && place.theta_e === view.pinned.theta_e && place.psf_fwhm === view.pinned.psf_fwhm;
  view.pinned = same ? null : place;
  writeAddress();
  showCell();
}

// the map of the surface
const wrap = { ok: t => t, insufficient: t => `(${t})`, merged: t => `[${t}]` };
function surfaceLook(row) {
  const top = row.colour_max, value = row.completeness;
  if (!hasValue(row)) return { fill: "url(#hatch-none)", hatch: "", mark: false, text: "", label: cellLabel(row), state: row.state };
  const hatch = row.state === "ok" ? "" : row.state === "merged" ? "merged" : "insufficient";
  return { fill: fill(value, top), text: (wrap[row.state] || wrap.insufficient)(briefPercent(value)), dark: lit(value, top),
    hatch, mark: row.mode === "degraded", label: cellLabel(row), state: row.state };
}
function cellLabel(row) {
  const where = `theta_E ${row.theta_e.toFixed(2)} arcsec, PSF ${row.psf_fwhm.toFixed(2)} arcsec: `;
  if (!hasValue(row)) return where + stateText(row.state);
  return where + `${percent(row.completeness)}, ${row.n_detected} of ${row.n} detected, ${row.n_hosts} ${row.mode} hosts, ${stateText(row.state)}`;
}
function ramp(table) {
  const svg = node("svg", { viewBox: "0 0 65 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  table.forEach((colour, k) => node("rect", { x: k, y: 0, width: 1.05, height: 10, fill: colour, "shape-rendering": "crispEdges" }, svg));
  return svg;
}
function legendRamp(box, table, ends) {
  const item = html("span", box, undefined, "ramp");
  item.appendChild(ramp(table));
  ends.forEach(text => html("span", item, text, "scale"));
}
function swatch(box, words, draw) {
  const item = html("span", box, undefined, "item");
  draw(node("svg", { viewBox: "0 0 22 14", "aria-hidden": "true" }, item));
  html("span", item, words);
}
function drawLegend(box, shown, top) {
  box.replaceChildren();
  legendRamp(box, colours, [0, top / 2, top].map(wholePercent));
  const tally = state => shown.filter(r => r.state === state).length;
  const hatched = name => svg => { node("rect", { width: 22, height: 14, fill: colours[24] }, svg); node("rect", { width: 22, height: 14, fill: `url(#hatch-${name})` }, svg); };
  if (tally("insufficient")) swatch(box, `( ) insufficient: ${tally("insufficient")}`, hatched("insufficient"));
  if (tally("merged")) swatch(box, `[ ] merged: ${tally("merged")}`, hatched("merged"));
  if (tally("no_hosts")) swatch(box, `no hosts: ${tally("no_hosts")}`, svg => node("rect", { width: 22, height: 14, fill: "url(#hatch-none)" }, svg));
  const degraded = shown.filter(r => r.mode === "degraded").length;
  if (degraded) swatch(box, `degraded hosts: ${degraded}`, svg => node("path", { d: "M 6 2 h 10 l -10 10 z", fill: "#d55e00" }, svg));
}
function drawMap() {
  const shown = shownRows(), top = shown.length ? shown[0].colour_max : 1;
  heatMap(byId("map"), shown, surfaceLook, `probability of detection at depth ${view.depth}, score at least ${thresholdText(view.threshold)}`);
  drawLegend(byId("legend"), shown, top);
  byId("scale-note").textContent = `Colours run from 0 to ${wholePercent(top)}, for all depths at this threshold; numbers in the cells are per cent.`;
  const missing = thetas.length * psfs.length - shown.length, fine = shown.filter(r => r.state === "ok").length;
  byId("state-note").textContent = `${fine} of ${shown.length} cells at this depth have enough injections` + (missing ? `; ${plural(missing, "cell is", "cells are")} not in the table.` : ".");
  if (byId("numbers").open) drawNumbers();
}
function drawNumbers() {
  const hosts = row => known(row.low68_hosts) ? [span(row.low68_hosts, row.high68_hosts), span(row.low95_hosts, row.high95_hosts)] : [span(row.low68, row.high68), span(row.low95, row.high95)];
  fillTable(byId("numbers").querySelector(".scroll"), ["\u03b8E", "PSF", "P(detected)", "68 %", "95 %", "detected", "n", "hosts", "kind", "state"],
    shownRows().map(r => [r.theta_e.toFixed(2), r.psf_fwhm.toFixed(2), percent(hasValue(r) ? r.completeness : null), ...hosts(r), count(r.n_detected), count(r.n), count(r.n_hosts), r.mode, r.state.replace(/_/g, " ")]));
}
