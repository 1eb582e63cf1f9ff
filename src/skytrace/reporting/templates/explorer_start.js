// Controls, the address, downloads, printing: what makes the page answer.
function setSlider(name, values, value, text) {
  const input = byId(name), place = values.indexOf(value);
  input.max = values.length - 1;
  input.value = place;
  input.disabled = values.length < 2;
  input.setAttribute("aria-valuetext", text(value));
  byId(`${name}-value`).value = text(value);
  byId(`${name}-first`).textContent = text(values[0]);
  byId(`${name}-last`).textContent = text(values[values.length - 1]);
  document.querySelectorAll(`[data-steps="${name}"]`).forEach(button => { const to = place + Number(button.dataset.by); button.disabled = to < 0 || to >= values.length; });
}
function thresholdWords(t) { return thresholdText(t) + (known(extra.own_threshold[view.detector]) && t === ownThreshold(view.detector) ? " (the detector\u2019s own)" : ""); }
function draw() {
  byId("detector").value = view.detector;
  setSlider("depth", depths, view.depth, d => d.toFixed(2));
  setSlider("threshold", thresholdsOf[view.detector], view.threshold, thresholdText);
  byId("threshold-value").value = thresholdWords(view.threshold);
  drawMap();
  if (extra.marginals) drawMarginals();
  if (extra.comparison) drawComparison();
  showCell();
}
function change() {
  byId("link-note").hidden = true;
  writeAddress();
  draw();
}
byId("depth").addEventListener("input", event => { view.depth = depths[Number(event.target.value)]; change(); });
byId("threshold").addEventListener("input", event => { view.threshold = thresholdsOf[view.detector][Number(event.target.value)]; change(); });
document.querySelectorAll("[data-steps]").forEach(button => button.addEventListener("click", () => {
  const input = byId(button.dataset.steps);
  input.value = Number(input.value) + Number(button.dataset.by);
  input.dispatchEvent(new Event("input"));
}));
detectors.forEach(name => { const option = html("option", byId("detector"), name); option.value = name; });
byId("detector-control").hidden = detectors.length < 2;
byId("detector").addEventListener("change", event => {
  const own = view.threshold === ownThreshold(view.detector);
  view.detector = event.target.value;
  view.threshold = own ? ownThreshold(view.detector) : nearest(thresholdsOf[view.detector], view.threshold);
  change();
});
byId("link-note").addEventListener("click", () => { byId("link-note").hidden = true; });
listen(byId("map"));
byId("numbers").addEventListener("toggle", drawNumbers);
if (extra.marginals) byId("marginal-numbers").addEventListener("toggle", drawMarginalNumbers);
document.querySelectorAll(".enlarge").forEach(button => button.addEventListener("click", () => {
  const full = button.parentNode.querySelector(".sheet").classList.toggle("full");
  button.setAttribute("aria-pressed", full);
  button.textContent = full ? "fit the page" : "full size";
}));
// Chromium refuses data: addresses beyond 2 MB: such a file is handed over as a Blob
document.querySelectorAll("#downloads a").forEach(link => link.addEventListener("click", event => {
  const address = link.getAttribute("href");
  if (address.length < 1.9e6 || !address.startsWith("data:")) return;
  event.preventDefault();
  const bytes = Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), c => c.charCodeAt(0));
  const blob = URL.createObjectURL(new Blob([bytes], { type: address.slice(5, address.indexOf(";")) }));
  const copy = html("a", document.body);
  copy.href = blob;
  copy.download = link.download;
  copy.click();
  copy.remove();
  setTimeout(() => URL.revokeObjectURL(blob), 10000);
}));
if (matchMedia("(max-width: 46rem)").matches && byId("gates-details")) byId("gates-details").open = false;
let closed = [];
addEventListener("beforeprint", () => { document.querySelectorAll("img[loading]").forEach(img => { img.loading = "eager"; }); closed = [...document.querySelectorAll("details:not([open])")].filter(d => d.classList.contains("gallery") || d.id === "gates-details" || d.id === "gate-figures"); closed.forEach(d => { d.open = true; }); });
addEventListener("afterprint", () => closed.forEach(d => { d.open = false; }));
addEventListener("hashchange", () => { readAddress(); draw(); });
let drawnWidth = innerWidth;
addEventListener("resize", () => { if (innerWidth !== drawnWidth) { drawnWidth = innerWidth; draw(); } });
readAddress();
draw();
