"use strict";
// What the page knows and shows: the table's rows, the view (detector, depth, threshold, cell), numbers as text.
const byId = id => document.getElementById(id);
const read = id => JSON.parse(byId(id).textContent);
const columns = read("cells"), colours = read("colours"), extra = read("explorer");

function toRows(table) {
  const names = Object.keys(table);
  return table[names[0]].map((_, i) => Object.fromEntries(names.map(name => [name, table[name][i]])));
}
const sorted = values => [...new Set(values)].sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
const rows = toRows(columns);
const detectors = [...new Set(columns.detector)];
const thetas = sorted(columns.theta_e), psfs = sorted(columns.psf_fwhm), depths = sorted(columns.depth);
const thresholdsOf = Object.fromEntries(detectors.map(name =>
  [name, sorted(rows.filter(r => r.detector === name).map(r => r.threshold))]));

function ownThreshold(detector) {
  const own = extra.own_threshold[detector];
  const first = rows.find(r => r.detector === detector).threshold;
  return own === undefined || own === null ? first : nearest(thresholdsOf[detector], own);
}
function nearest(values, wanted) {
  return values.reduce((best, v) => Math.abs(v - wanted) < Math.abs(best - wanted) ? v : best, values[0]);
}
const view = {
  detector: detectors[0], depth: depths[Math.floor(depths.length / 2)], threshold: ownThreshold(detectors[0]),
  pinned: null, pointed: null,
};
const shownRows = () => rows.filter(r => r.depth === view.depth && r.threshold === view.threshold && r.detector === view.detector);
const cellAt = place => place && shownRows().find(r => r.theta_e === place.theta_e && r.psf_fwhm === place.psf_fwhm);

// numbers as text
const known = value => value !== undefined && value !== null;
function percent(p) {
  if (!known(p)) return "\u2013";
  if (p > 0 && p < 0.00005) return "< 0.01 %";
  if (p < 1 && p >= 0.9995) return "> 99.9 %";
  return (p === 0 || p === 1 ? String(100 * p) : (100 * p).toFixed(p < 0.1 ? 2 : 1)) + " %";
}
const span = (low, high) => known(low) ? `${percent(low)} to ${percent(high)}` : "not measured";
const wholePercent = p => (100 * p).toFixed(p > 0 && p < 0.0995 ? 1 : 0) + " %";
function briefPercent(p) {
  if (p > 0 && p < 0.005) return "<1";
  if (p < 1 && p >= 0.995) return ">99";
  return String(Math.round(100 * p));
}
const count = n => n.toLocaleString("en-GB");
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
const thresholdDigits = Math.max(3, ...Object.values(thresholdsOf).map(list => {
  for (let digits = 3; digits < 9; digits++) if (new Set(list.map(t => t.toPrecision(digits))).size === list.length) return digits;
  return 9;
}));
const thresholdText = t => t.toPrecision(thresholdDigits);
const STATES = {
  ok: "ok", insufficient: "insufficient: fewer injections than the minimum", no_hosts: "no hosts: nothing was measured",
  merged: "merged: published together with neighbouring cells",
};
const stateText = state => STATES[state] || state.replace(/_/g, " ");
const hasValue = row => row.state !== "no_hosts" && known(row.completeness);

// elements
function node(tag, attributes, parent, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.appendChild(element);
  return element;
}
function html(tag, parent, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  if (parent) parent.appendChild(element);
  return element;
}
function roomIn(box) {  // width [px] of what stands in ``box``
  const style = getComputedStyle(box);
  return Math.floor(box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
}
function fillTable(box, headings, body) {
  const table = html("table");
  const head = html("tr", html("thead", table));
  headings.forEach((heading, k) => { html("th", head, heading, k ? "number" : "").scope = "col"; });
  const rest = html("tbody", table);
  body.forEach(cells => {
    const line = html("tr", rest);
    cells.forEach(text => html("td", line, text, /^[\d<>\u2013+\u2212]/.test(text) ? "number" : ""));
  });
  box.replaceChildren(table);
}

// the address of the page: #depth=23.5&threshold=0.5&detector=...&theta_e=1.25&psf=1.05
function writeAddress() {
  const words = new URLSearchParams({ depth: view.depth, threshold: view.threshold });
  if (detectors.length > 1) words.set("detector", view.detector);
  if (view.pinned) { words.set("theta_e", view.pinned.theta_e); words.set("psf", view.pinned.psf_fwhm); }
  history.replaceState(null, "", "#" + words);
}
function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1)), missed = [];
  const asked = (name, values, tolerance) => {
    const text = words.get(name);
    if (!text) return null;
    const value = nearest(values, Number(text));
    if (Math.abs(value - Number(text)) <= tolerance) return value;
    missed.push(`${name} = ${text}`);
    return null;
  };
  if (words.get("detector")) {
    if (detectors.includes(words.get("detector"))) view.detector = words.get("detector");
    else missed.push(`detector = ${words.get("detector")}`);
  }
  const threshold = asked("threshold", thresholdsOf[view.detector], 0.0005);
  view.threshold = threshold !== null ? threshold
    : thresholdsOf[view.detector].includes(view.threshold) ? view.threshold : ownThreshold(view.detector);
  const depth = asked("depth", depths, 0.005);
  if (depth !== null) view.depth = depth;
  const theta = asked("theta_e", thetas, 0.005), psf = asked("psf", psfs, 0.005);
  if (theta !== null && psf !== null) view.pinned = { theta_e: theta, psf_fwhm: psf };
  const note = byId("link-note");
  note.hidden = !missed.length;
  if (!missed.length) return;
  const who = detectors.length > 1 ? `${view.detector}, ` : "";
  note.textContent = `The address asked for ${missed.join(", ")}, which was not measured here. Shown, and in the address now: ${who}depth ${view.depth.toFixed(2)}, score \u2265 ${thresholdText(view.threshold)}.`;
  writeAddress();
}
