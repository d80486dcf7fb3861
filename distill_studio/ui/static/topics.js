/* The map of topics: points on a canvas, a list of topics beside it that does the same by keyboard,
   a shape drawn around points, and what can be done with the rows inside.
   After bench.js, inside one function per component. `props.value` is {workspace, can_act, nonce};
   everything shown comes from the operations diversity_*. Texts enter the page by textContent. */

const HUES = 12, NEAR_PX = 9, STEP_PX = 4, MOST_CORNERS = 1500, HOVER_REST_MS = 90;
const ui = {};
let config = null, topics = null, points = null, area = null, shape = [], ticked = new Set();
let tool = "lasso", view = { scale: 1, x: 0, y: 0 }, isDrawing = false, hovered = -1, loadNumber = 0, areaNumber = 0;
const fingers = new Map(), prompts = new Map();

function toolButton(name, text, title) {
  return h("button", { type: "button", class: "ds-map-tool", "aria-pressed": String(tool === name), "data-tool": name, title,
    onclick: () => { tool = name; drawTools(); } }, text);
}
element.replaceChildren(h("section", { class: "ds-map", "aria-label": "Topics" },
  ui.facts = h("ul", { class: "ds-map-facts" }),
  h("div", { class: "ds-map-cols" },
    h("div", { class: "ds-map-left" },
      ui.tools = h("div", { class: "ds-map-tools", role: "group", "aria-label": "Map tools" },
        toolButton("lasso", "Lasso", "Draw around points"), toolButton("box", "Rectangle", "Drag a rectangle"),
        toolButton("pan", "Move", "Drag the map"),
        h("span", { class: "gap" }),
        h("button", { type: "button", class: "ds-map-tool", "aria-label": "Zoom in", onclick: () => zoom(1.5) }, "+"),
        h("button", { type: "button", class: "ds-map-tool", "aria-label": "Zoom out", onclick: () => zoom(1 / 1.5) }, "−"),
        h("button", { type: "button", class: "ds-map-tool", onclick: () => { view = { scale: 1, x: 0, y: 0 }; draw(); } }, "Whole map")),
      ui.frame = h("div", { class: "ds-map-frame" },
        ui.canvas = h("canvas", { role: "img", "aria-label": "Map of prompts; the list of topics does the same" }),
        ui.tip = h("div", { class: "ds-map-tip", hidden: true })),
      ui.trust = h("p", { class: "ds-note" })),
    h("div", { class: "ds-map-right" },
      h("div", { class: "ds-map-key" },
        h("span", { class: "k kept" }), "kept", h("span", { class: "k accepted" }), "of them accepted", h("span", { class: "k gone" }), "removed"),
      ui.list = h("ul", { class: "ds-map-list" }))),
  ui.area = h("div", { class: "ds-map-area", "aria-live": "polite" })));

/* ---- loading ---- */
async function load() {
  const mine = ++loadNumber;
  if (!config || !config.workspace) return;
  try {
    const [nextTopics, nextPoints] = await Promise.all([
      callApi(config.workspace, "diversity_topics", {}), callApi(config.workspace, "diversity_points", {})]);
    if (mine !== loadNumber) return;
    if (!topics || topics.run !== nextTopics.run) { ticked.clear(); shape = []; prompts.clear(); view = { scale: 1, x: 0, y: 0 }; }
    topics = nextTopics; points = nextPoints;
  } catch (error) { if (mine === loadNumber) ui.area.replaceChildren(problem(error)); return; }
  drawFacts(); drawList(); buildIndex(); draw(); look();
}
const problem = (error) => h("p", { class: "ds-note bad", role: "alert" }, error.message || String(error));

/* What lies in the shape and the ticked topics; the newest question wins. */
async function look() {
  const mine = ++areaNumber;
  if (!topics || !topics.run || (!shape.length && !ticked.size)) { area = null; drawArea(); return; }
  try {
    const found = await callApi(config.workspace, "diversity_area", { run: topics.run, area: chosenArea() });
    if (mine !== areaNumber) return;
    area = found; drawArea();
  } catch (error) { if (mine === areaNumber) ui.area.replaceChildren(problem(error)); }
}
const chosenArea = () => ({ polygon: shape, topics: [...ticked] });

async function act(operation, args, said) {
  for (const button of ui.area.querySelectorAll("button")) button.disabled = true;
  try {
    const done = await callApi(config.workspace, operation, args);
    ticked.clear(); shape = [];
    trigger("select", { index: 0, value: "acted" });
    await load();
    ui.area.replaceChildren(h("p", { class: "ds-note good" },
      `${said(done)} ${done.kept.toLocaleString()} of ${done.considered.toLocaleString()} rows stay. Undo the last step below takes it back.`));
  } catch (error) { drawArea(); ui.area.append(problem(error)); }
}

/* ---- words ---- */
const rows = (n) => plural(n, "row", "rows");
const percent = (share) => `${(100 * share).toFixed(share < 0.095 ? 1 : 0)}%`;

function drawFacts() {
  const facts = topics.remarks.map((text) => h("li", {}, text));
  if (topics.unassigned) facts.push(h("li", { class: "warn" }, `${rows(topics.unassigned)} came since: press Find topics to add them.`));
  if (topics.set_aside) facts.push(h("li", {}, `${rows(topics.set_aside)} set aside or not selected.`,
    config.can_act && h("button", { type: "button", class: "ds-map-link", onclick: () => act("diversity_put_back", {}, (d) => `${rows(d.changed)} changed.`) }, "Put all back")));
  ui.facts.replaceChildren(...facts);
  setText(ui.trust, topics.run ? `Near points are alike; distances between far groups mean nothing. Of each prompt’s 10 nearest, ${percent(topics.trust)} are among its 10 nearest here (two principal components: ${percent(topics.trust_flat)}).`
    + (points.total > topics.laid_out ? ` ${topics.laid_out.toLocaleString()} of ${points.total.toLocaleString()} prompts are laid out, the others stand beside their nearest.` : "") : "");
}

function drawList() {
  const most = Math.max(1, ...topics.topics.map((t) => t.rows));
  const dropped = new Set(topics.topics.map((t) => t.number));
  for (const number of [...ticked]) if (!dropped.has(number)) ticked.delete(number);
  ui.list.replaceChildren(...topics.topics.map((topic) => topicRow(topic, most)));
}
function topicRow(topic, most) {
  const box = h("input", { type: "checkbox", id: `ds-topic-${topic.number}` });
  box.checked = ticked.has(topic.number);
  box.addEventListener("change", () => { if (box.checked) ticked.add(topic.number); else ticked.delete(topic.number); draw(); look(); });
  const name = h("label", { for: box.id, title: topic.terms.join(", ") }, topic.name);
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, part("accepted", topic.accepted, most), part("kept", Math.max(0, topic.kept - topic.accepted), most), part("gone", topic.rows - topic.kept, most));
  const told = `${topic.kept.toLocaleString()} of ${topic.rows.toLocaleString()} kept, ${topic.accepted.toLocaleString()} accepted`;
  const line = h("li", { class: topic.verdict }, box, h("i", { class: "dot", style: `background:var(--ds-map-${topic.number % HUES})`, "aria-hidden": "true" }), name,
    h("span", { class: "count", title: told }, topic.kept === topic.rows ? topic.rows.toLocaleString() : `${topic.kept.toLocaleString()} / ${topic.rows.toLocaleString()}`),
    bar, h("span", { class: "share" }, percent(topic.share)),
    topic.verdict ? h("span", { class: "ds-chip warn" }, topic.verdict) : h("span"),
    config.can_act ? h("button", { type: "button", class: "ds-map-link", "aria-label": `Rename ${topic.name}`, onclick: () => rename(topic, line, name) }, "Rename") : h("span"));
  line.addEventListener("pointerenter", () => { hovered = topic.number; draw(); });
  line.addEventListener("pointerleave", () => { hovered = -1; draw(); });
  return line;
}
const part = (kind, count, most) => h("i", { class: kind, style: `width:${(100 * count / most).toFixed(2)}%` });

function rename(topic, line, name) {
  const field = h("input", { type: "text", class: "ds-map-name", "aria-label": "New name; empty gives the found one back", maxlength: "80" });
  field.value = topic.name;
  let isOver = false;
  const end = async (isKept) => {
    if (isOver) return;
    isOver = true;
    if (!isKept || field.value === topic.name) { field.replaceWith(name); return; }
    try { topics = await callApi(config.workspace, "diversity_rename", { topic: topic.number, name: field.value }); drawFacts(); drawList(); draw(); }
    catch (error) { field.replaceWith(name); ui.area.replaceChildren(problem(error)); }
  };
  field.addEventListener("keydown", (event) => { if (event.key === "Enter") end(true); else if (event.key === "Escape") end(false); });
  field.addEventListener("blur", () => end(true));
  name.replaceWith(field);
  field.focus(); field.select();
}

function drawArea() {
  if (!area) { ui.area.replaceChildren(topics && topics.run ? h("p", { class: "ds-note" }, "Draw around points, or tick topics, to set their rows aside or to keep only them.") : ""); return; }
  const where = [shape.length ? "inside the shape" : "", ticked.size ? `of ${plural(ticked.size, "ticked topic", "ticked topics")}` : ""].filter(Boolean).join(", ");
  const buttons = [];
  if (config.can_act) {
    buttons.push(h("button", { type: "button", class: "ds-map-act", disabled: !area.would_go,
      onclick: () => act("diversity_set_aside", { run: topics.run, area: chosenArea() }, (d) => `Set ${rows(d.listed)} aside.`) }, `Set these aside (${area.would_go.toLocaleString()} go)`));
    buttons.push(h("button", { type: "button", class: "ds-map-act", disabled: !area.would_go_rest || !area.rows,
      onclick: () => act("diversity_set_aside", { run: topics.run, area: chosenArea(), keep_only: true }, (d) => `Kept only these; ${rows(d.listed)} set aside.`) }, `Keep only these (${area.would_go_rest.toLocaleString()} go)`));
  }
  buttons.push(h("button", { type: "button", class: "ds-map-link", onclick: () => { shape = []; ticked.clear(); drawList(); draw(); look(); } }, "Clear"));
  ui.area.replaceChildren(
    h("p", { class: "sum" }, h("b", {}, rows(area.rows)), ` ${where}: ${plural(area.prompts, "prompt", "prompts")}, ${area.kept.toLocaleString()} kept`
      + (area.accepted ? `, ${area.accepted.toLocaleString()} accepted, which always stay.` : ".")),
    h("div", { class: "acts" }, ...buttons),
    area.also && config.can_act ? h("p", { class: "ds-note warn" }, `The settings on this tab, not applied yet, change ${rows(area.also)} as well.`) : "",
    h("ul", { class: "examples" }, ...area.examples.map((one) => h("li", {}, one.prompt.slice(0, 240)))));
}
function drawTools() { for (const button of ui.tools.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool)); ui.canvas.dataset.tool = tool; }

/* ---- geometry: map units are -1.3 to 1.3, y upward; view is in units of half the canvas ---- */
let width = 1, height = 1;
const unit = () => Math.min(width, height) / 2.15 * view.scale;
const toScreen = (x, y) => [width / 2 + (x - view.x) * unit(), height / 2 - (y - view.y) * unit()];
const toMap = (px, py) => [(px - width / 2) / unit() + view.x, (height / 2 - py) / unit() + view.y];
function zoom(by, px = width / 2, py = height / 2) {
  const [x, y] = toMap(px, py);
  view.scale = Math.min(60, Math.max(0.6, view.scale * by));
  const [nx, ny] = toMap(px, py);
  view.x += x - nx; view.y += y - ny;
  draw();
}
function isInside(x, y) {
  let inside = false;
  for (let a = 0, b = shape.length - 1; a < shape.length; b = a++) {
    const [x1, y1] = shape[a], [x2, y2] = shape[b];
    if ((y1 > y) !== (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}
let cells = new Map();
const cellOf = (x, y) => `${Math.floor(x * 40)},${Math.floor(y * 40)}`;
function buildIndex() {
  cells = new Map();
  points.x.forEach((x, k) => { const key = cellOf(x, points.y[k]); if (!cells.has(key)) cells.set(key, []); cells.get(key).push(k); });
}
function nearest(px, py) {
  const [x, y] = toMap(px, py), reach = NEAR_PX / unit();
  let best = -1, least = reach * reach;
  const around = Math.min(12, Math.ceil(reach * 40));
  for (let i = -around; i <= around; i++) for (let j = -around; j <= around; j++) {
    for (const k of cells.get(cellOf(x + i / 40, y + j / 40)) || []) {
      const d = (points.x[k] - x) ** 2 + (points.y[k] - y) ** 2;
      if (d < least) { least = d; best = k; }
    }
  }
  return best;
}

/* ---- drawing ---- */
let isWaiting = false;
function draw() { if (isWaiting) return; isWaiting = true; requestAnimationFrame(() => { isWaiting = false; paint(); }); }
function paint() {
  const box = ui.frame.getBoundingClientRect();
  if (!box.width || !points) return;
  width = box.width; height = box.height;
  const ratio = window.devicePixelRatio || 1;
  if (ui.canvas.width !== Math.round(width * ratio) || ui.canvas.height !== Math.round(height * ratio)) {
    ui.canvas.width = Math.round(width * ratio); ui.canvas.height = Math.round(height * ratio);
  }
  const pen = ui.canvas.getContext("2d"), style = getComputedStyle(element);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const colour = Array.from({ length: HUES }, (_, k) => style.getPropertyValue(`--ds-map-${k}`).trim() || "#888");
  const quiet = style.getPropertyValue("--body-text-color-subdued"), ink = style.getPropertyValue("--body-text-color"), paper = style.getPropertyValue("--block-background-fill");
  const size = Math.max(1.4, Math.min(4.5, 60 / Math.sqrt(points.x.length + 1) * Math.sqrt(view.scale)));
  const isChosen = (k) => (!shape.length || isInside(points.x[k], points.y[k])) && (!ticked.size || ticked.has(points.cluster[k]));
  const hasChoice = shape.length > 2 || ticked.size > 0;
  for (let k = 0; k < points.x.length; k++) {
    const [px, py] = toScreen(points.x[k], points.y[k]);
    if (px < -5 || py < -5 || px > width + 5 || py > height + 5) continue;
    const state = points.state[k];
    const isLit = hasChoice ? isChosen(k) : hovered < 0 || hovered === points.cluster[k];
    pen.globalAlpha = (isLit ? 0.9 : 0.16) * (state === 0 ? 0.5 : 1);
    pen.fillStyle = state === 0 ? quiet : colour[points.cluster[k] % HUES];
    pen.beginPath(); pen.arc(px, py, state === 2 ? size * 1.25 : state === 0 ? size * 0.75 : size, 0, 7); pen.fill();
    if (state === 2) { pen.globalAlpha = isLit ? 1 : 0.2; pen.strokeStyle = ink; pen.lineWidth = 1; pen.stroke(); }
  }
  pen.globalAlpha = 1;
  drawNames(pen, ink, paper, style.fontFamily);
  if (shape.length) {
    pen.beginPath();
    shape.forEach(([x, y], k) => { const [px, py] = toScreen(x, y); if (k) pen.lineTo(px, py); else pen.moveTo(px, py); });
    if (!isDrawing || tool === "box") pen.closePath();
    pen.strokeStyle = style.getPropertyValue("--color-accent"); pen.lineWidth = 1.5; pen.setLineDash([5, 4]); pen.stroke(); pen.setLineDash([]);
  }
}
function drawNames(pen, ink, paper, font) {
  const taken = [];
  pen.font = `600 12px ${font}`; pen.textAlign = "center"; pen.textBaseline = "middle"; pen.lineJoin = "round";
  for (const topic of topics.topics) {
    const [px, py] = toScreen(topic.x, topic.y);
    const text = topic.name.length > 26 ? topic.name.slice(0, 25).trimEnd() + "…" : topic.name;
    const half = pen.measureText(text).width / 2 + 4;
    const x = Math.min(width - half, Math.max(half, px)), box = [x - half, py - 9, x + half, py + 9];
    if (px < 0 || px > width || py < 9 || py > height - 9) continue;
    if (taken.some((o) => box[0] < o[2] && o[0] < box[2] && box[1] < o[3] && o[1] < box[3])) continue;
    taken.push(box);
    pen.globalAlpha = hovered >= 0 && hovered !== topic.number ? 0.25 : 1;
    pen.strokeStyle = paper; pen.lineWidth = 4; pen.strokeText(text, x, py);
    pen.fillStyle = ink; pen.fillText(text, x, py);
  }
  pen.globalAlpha = 1;
}

/* ---- pointers ---- */
const at = (event) => { const box = ui.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
let start = null, apart = 0;
ui.canvas.addEventListener("pointerdown", (event) => {
  if (!points || event.button > 0) return;
  ui.canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, at(event));
  hideTip();
  if (fingers.size === 2) { isDrawing = false; shape = []; apart = spread(); draw(); return; }
  start = at(event); isDrawing = tool !== "pan";
  if (isDrawing) { shape = [toMap(...start)]; draw(); }
});
const spread = () => { const [a, b] = [...fingers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
ui.canvas.addEventListener("pointermove", (event) => {
  const here = at(event);
  if (!fingers.has(event.pointerId)) { hover(here); return; }
  const before = fingers.get(event.pointerId);
  fingers.set(event.pointerId, here);
  if (fingers.size === 2) {
    const now = spread(), [a, b] = [...fingers.values()];
    if (apart > 0) zoom(now / apart, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    apart = now;
  } else if (tool === "pan") { view.x -= (here[0] - before[0]) / unit(); view.y += (here[1] - before[1]) / unit(); draw(); }
  else if (isDrawing && tool === "box") {
    const [x1, y1] = toMap(...start), [x2, y2] = toMap(...here);
    shape = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]; draw();
  } else if (isDrawing) {
    const last = toScreen(...shape[shape.length - 1]);
    if (shape.length < MOST_CORNERS && Math.hypot(here[0] - last[0], here[1] - last[1]) >= STEP_PX) { shape.push(toMap(...here)); draw(); }
  }
});
function lift(event) {
  if (!fingers.delete(event.pointerId)) return;
  if (!isDrawing || fingers.size) return;
  isDrawing = false;
  if (shape.length < 3) shape = [];  // a click only: nothing is drawn
  draw(); look();
}
ui.canvas.addEventListener("pointerup", lift);
ui.canvas.addEventListener("pointercancel", lift);
ui.canvas.addEventListener("pointerleave", () => hideTip());
ui.canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.shiftKey && view.scale === 1 && event.deltaY > 0) return;  // the page scrolls on
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 400), ...at(event));
}, { passive: false });
element.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && (shape.length || ticked.size) && event.target.tagName !== "INPUT") { shape = []; ticked.clear(); drawList(); draw(); look(); }
});

/* ---- hover ---- */
let resting = 0;
function hideTip() { clearTimeout(resting); show(ui.tip, false); }
function hover(here) {
  clearTimeout(resting);
  const k = points ? nearest(...here) : -1;
  if (k < 0) { show(ui.tip, false); return; }
  resting = setTimeout(() => showTip(k, here), HOVER_REST_MS);
}
async function showTip(k, here) {
  const number = points.number[k], run = points.run;
  if (!prompts.has(number)) {
    try { prompts.set(number, (await callApi(config.workspace, "diversity_point", { run, number })).prompt); }
    catch (_) { return; }  // the map was drawn anew; the next load says so
  }
  if (run !== points.run) return;
  const topic = topics.topics.find((t) => t.number === points.cluster[k]);
  const state = ["removed", "kept", "accepted"][points.state[k]];
  ui.tip.replaceChildren(h("b", {}, topic ? topic.name : ""), h("span", { class: "state" }, state), h("div", {}, prompts.get(number).slice(0, 260)));
  show(ui.tip, true);
  const tip = ui.tip.getBoundingClientRect();
  ui.tip.style.left = `${Math.max(4, Math.min(width - tip.width - 4, here[0] + 14))}px`;
  ui.tip.style.top = `${here[1] + tip.height + 20 > height ? Math.max(4, here[1] - tip.height - 12) : here[1] + 16}px`;
}

/* ---- life ---- */
function lookAgain() {
  const next = props.value;
  if (!next || !next.workspace) return;
  config = next;
  if (element.offsetParent !== null) load(); else isStale = true;
}
let isStale = false;
new ResizeObserver(() => { if (isStale && element.offsetParent !== null) { isStale = false; load(); } draw(); }).observe(ui.frame);
new MutationObserver(() => draw()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
drawTools();
watch("value", lookAgain);
lookAgain();
