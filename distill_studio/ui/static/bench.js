/* What both labelling benches share: DOM by textContent, the API, an outbox that loses nothing,
   keys that never fire in a text box or a hidden tab, pace, word diff.
   Read at build time and put before review.js or prefer.js; runs inside one function per component
   with `element`, `server`, `watch` and `trigger` from Gradio. Text of models enters the page only
   by textContent (`h`, `setText`) or as HTML that the server's allow-list made (`setHtml`). */

/* ---- DOM ---- */
function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick") node.addEventListener("click", value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}
const setText = (node, text) => { node.textContent = text; };
const setHtml = (node, safeHtml) => { node.innerHTML = safeHtml; };  // only what safe_markdown made
const show = (node, isShown) => { node.hidden = !isShown; };
const plural = (n, one, many) => `${n.toLocaleString()} ${n === 1 ? one : many || one + "s"}`;


/* A box that scrolls can be reached by the keyboard, one that shows all is no stop on the way. */
function scrolls(node, label) {
  const isLong = node.scrollHeight > node.clientHeight + 1;
  for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", label]]) if (isLong) node.setAttribute(name, value); else node.removeAttribute(name);
}

/* Focus that was in the bench stays in it when its button goes: `change` draws, then the first of
   `places` that is in sight takes it. Without focus in the bench nothing moves. */
function keepFocus(element, change, ...places) {
  const wasInside = element.contains(document.activeElement);
  change();
  const here = document.activeElement;
  if (!wasInside || (element.contains(here) && here.offsetParent !== null && !here.disabled)) return;
  const place = places.find((p) => p && p.isConnected && p.offsetParent !== null && !p.disabled);
  if (place) place.focus({ preventScroll: true });
}

/* The next record begins in sight, also when the last one was scrolled down. */
function toTop(node) { if (node.getBoundingClientRect().top < 0) node.scrollIntoView({ block: "start" }); }
function openTab(word) {
  const button = document.getElementById(`ds-tab-${word}-button`);
  if (button) button.click();
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();  // absent on plain http to another machine
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6] & 15) | 64; b[8] = (b[8] & 63) | 128;
  const x = [...b].map((v) => v.toString(16).padStart(2, "0")).join("");
  return [x.slice(0, 8), x.slice(8, 12), x.slice(12, 16), x.slice(16, 20), x.slice(20)].join("-");
}

/* ---- API: POST <page>/api/<workspace>/<operation> ---- */
class ApiError extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
  get isForGood() { return this.status === 400 || this.status === 422 || this.status === 413; }
}
async function callApi(workspace, operation, args) {
  const page = location.href.replace(/[?#].*$/, "").replace(/[^/]*$/, "");
  let answer;
  try {
    answer = await fetch(`${page}api/${encodeURIComponent(workspace)}/${operation}`, {
      method: "POST", headers: { "content-type": "application/json" },
      credentials: "same-origin", body: JSON.stringify(args),
    });
  } catch (_) { throw new ApiError(0, "offline", "No connection to the studio"); }
  let body = null;
  try { body = await answer.json(); } catch (_) { /* a proxy's HTML page: told below */ }
  if (answer.ok && body !== null) return body;
  const error = (body && body.error) || {};
  const text = [error.message, error.hint].filter(Boolean).join(" ");
  throw new ApiError(answer.status, error.code || "http", text || `The studio answered ${answer.status}`);
}

/* ---- Outbox: one localStorage entry per item, so that tabs never overwrite each other ----
   Entries are named <mode>/<user>/<workspace>/<order>/<id> and go away only when the server says
   that it stored or refused them; where backups are on, held.js keeps them on. Refused ones move to <mode>-refused/... for the person to see. */
class Outbox {
  constructor({ mode, user, workspace, send, onChange, onStored }) {
    Object.assign(this, { mode, user, workspace, send, onChange, onStored });
    this.prefix = this._prefix(mode);
    this.refusedPrefix = this._prefix(`${mode}-refused`);
    this.memory = new Map();    // entries that the browser would not keep for us
    this.entries = new Map();   // key -> item, as this tab knows them
    this.trouble = "";
    this.isSending = false; this.isClosed = false; this.wait_ms = 0; this.last = 0;
    this._takeStored();
    this.held = new Held(this);
  }
  _takeStored() {  // also what tabs left that are closed by now
    for (const [key, item] of this._stored(this.prefix)) {
      this.entries.set(key, item);
      this.last = Math.max(this.last, parseInt(key.slice(this.prefix.length, this.prefix.length + 9), 36) || 0);
    }
  }
  _prefix(kind) { return ["ds", kind, this.user, this.workspace].map(encodeURIComponent).join("/") + "/"; }
  _stored(prefix) {
    const found = [];
    try {
      for (let n = 0; n < localStorage.length; n++) {
        const key = localStorage.key(n);
        if (!key.startsWith(prefix)) continue;
        try { found.push([key, JSON.parse(localStorage.getItem(key))]); } catch (_) { /* not ours */ }
      }
    } catch (_) { /* storage is switched off */ }
    return found.sort(([a], [b]) => (a < b ? -1 : 1));
  }
  get size() { return this.entries.size; }
  get items() { return [...this.entries.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, i]) => i); }
  get isKept() { return this.memory.size === 0; }
  get refused() { return this._stored(this.refusedPrefix).map(([, entry]) => entry); }
  push(item) {
    this.last = Math.max(Date.now(), this.last + 1);  // a clock that is set back sends no undo before its decision
    const key = `${this.prefix}${this.last.toString(36).padStart(9, "0")}/${item.id}`;
    this._keep(key, item);
    this.onChange();
    this.flush();
  }
  _keep(key, item) {
    this.entries.set(key, item);
    const write = () => { try { localStorage.setItem(key, JSON.stringify(item)); return true; } catch (_) { return false; } };
    if (!write() && !(this.held.makeRoom() && write())) this.memory.set(key, item);
  }
  _drop(key) { this.entries.delete(key); this.memory.delete(key); try { localStorage.removeItem(key); } catch (_) { /* off */ } }
  _refuse(key, item, reason) {
    try { localStorage.setItem(this.refusedPrefix + key.slice(this.prefix.length), JSON.stringify({ ...item, refused_because: reason })); }
    catch (_) { return; }  // keep it in the outbox rather than lose it
    this._drop(key);
  }
  forgetRefused() {
    for (const [key] of this._stored(this.refusedPrefix)) localStorage.removeItem(key);
    this.onChange();
  }
  async flush() {
    if (this.isSending || this.isClosed || !this.size) return;
    this.isSending = true;
    try { await this._locked(() => this._sendAll()); } finally { this.isSending = false; this.onChange(); }
  }
  _locked(work) {  // one tab of this browser sends at a time, where the browser can say so
    return navigator.locks ? navigator.locks.request(this.prefix, work) : work();
  }
  async _sendAll() {
    this._takeStored();
    while (this.size && !this.isClosed) {
      this._forgetSentElsewhere();
      const batch = this._batch(this.wantsSingles ? 1 : 200);
      if (!batch.length) break;
      try {
        const answer = await this.send(batch.map(([, item]) => item));
        this._settle(batch, answer);
        this.trouble = ""; this.wait_ms = 0; this.wantsSingles = false;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (error.isForGood && batch.length > 1) { this.wantsSingles = true; continue; }
        if (error.isForGood) { this._refuse(...batch[0], error.message); continue; }
        this.trouble = error.message;
        this.wait_ms = Math.min(15000, this.wait_ms ? this.wait_ms * 2 : 500);
        this.onChange();
        await new Promise((done) => { this.wake = done; setTimeout(done, this.wait_ms); });
      }
    }
  }
  _forgetSentElsewhere() {  // another tab had it confirmed while we waited for the lock
    for (const key of [...this.entries.keys()]) {
      if (this.memory.has(key)) continue;
      let isThere = true;
      try { isThere = localStorage.getItem(key) !== null; } catch (_) { /* off */ }
      if (!isThere) this.entries.delete(key);
    }
  }
  _batch(most) {
    const batch = []; let characters = 0;
    for (const entry of [...this.entries.entries()].sort(([a], [b]) => (a < b ? -1 : 1))) {
      characters += (entry[1].answer || "").length;
      if (batch.length && (batch.length >= most || characters > 1e6)) break;
      batch.push(entry);
    }
    return batch;
  }
  _settle(batch, answer) {
    if (!answer || !Array.isArray(answer.stored)) throw new ApiError(502, "malformed", "The studio's answer was not understood");
    const before = this.size;
    const stored = new Set(answer.stored);
    const refused = new Map(answer.refused.map((r) => [r.id, r.reason]));
    for (const [key, item] of batch) {
      if (stored.has(item.id)) { if (answer.backup) this.held.keep(key, item, answer.backup, (answer.receipts || {})[item.id]); this._drop(key); }
      else if (refused.has(item.id)) this._refuse(key, item, refused.get(item.id));
    }
    if (this.size === before) throw new ApiError(502, "malformed", "The studio did not say what it stored");
    this.onStored(answer);
    if (this.held.size) this.held.settle(answer.backup); else this.onChange();
  }
  retryNow() { if (this.wake) this.wake(); this.flush(); }
  close() { this.isClosed = true; this.held.close(); if (this.wake) this.wake(); }
}

/* ---- Keys: nothing in a text box, a menu, a dialogue or a hidden tab ---- */
const TYPING = "input,textarea,select,[contenteditable]:not([contenteditable=false]),[role=listbox],[role=combobox],dialog,[role=dialog],[role=menu]";
/* A digit by its place: a keyboard that writes & there (AZERTY) or a Shift held down changes nothing.
   A number pad that writes no sign is arrows, Home and End. */
function keyOf(event) {
  const digit = [...event.key].length === 1 && /^(Digit|Numpad)([0-9])$/.exec(event.code);
  return digit ? digit[2] : event.key.length === 1 ? event.key.toLowerCase() : event.key;
}
function onKeys(element, keys, handle) {
  const listener = (event) => {
    if (!element.isConnected) { document.removeEventListener("keydown", listener); return; }
    if (element.offsetParent === null || document.visibilityState === "hidden") return;
    if (event.repeat || event.isComposing || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    if (target && target.closest && target.closest(TYPING)) return;
    if (document.querySelector("dialog:modal")) return;  // also where nothing in it has the focus
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && !["z", "y"].includes(event.key.toLowerCase())) return;
    if (keys.isOff && !isCommand && [...event.key].length === 1) return;
    const isOnButton = target && target.closest && target.closest("button,a,summary");
    if (isOnButton && (event.key === "Enter" || event.key === " ")) return;  // presses that button
    if (handle(event, isCommand)) event.preventDefault();
  };
  document.addEventListener("keydown", listener);
}

/* ---- Pace: decisions a minute over the last ones, pauses over a minute left out; `done` counts
   what this page decided and is in force: a record decided again counts once, an undone one not ---- */
class Pace {
  constructor() { this.times = []; this.byRecord = new Map(); }
  get done() { return this.byRecord.size; }
  mark(record, decision) {
    this.byRecord.set(record, [...(this.byRecord.get(record) || []), decision]);
    this.times.push(performance.now()); if (this.times.length > 40) this.times.shift();
  }
  unmark(record, decision) {
    const made = this.byRecord.get(record) || [], left = made.filter((d) => d !== decision);
    if (left.length === made.length) return;  // made before this page was opened, or a skip
    this.times.pop();
    if (left.length) this.byRecord.set(record, left); else this.byRecord.delete(record);
  }
  get perMinute() {
    const gaps = this.times.slice(1).map((t, n) => t - this.times[n]).filter((gap) => gap < 60000);
    if (gaps.length < 4) return null;
    return 60000 / (gaps.reduce((a, b) => a + b, 0) / gaps.length);
  }
  text(left) {
    const rate = this.perMinute;
    const parts = [`${plural(this.done, "decision")} this session`];
    if (rate) {
      parts.push(`${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a minute`);
      const minutes = left / rate;
      if (left > 0) parts.push(minutes < 1 ? "under a minute left" : minutes < 90 ? `about ${Math.round(minutes)} min left` : `about ${(minutes / 60).toFixed(1)} h left`);
    }
    return parts.join(" · ");
  }
}

/* ---- Word diff: common ends off, then the longest common subsequence of words ---- */
function wordDiff(before, after) {
  const a = before.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) || [];
  const b = after.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) || [];
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const x = a.slice(start, a.length - end), y = b.slice(start, b.length - end), parts = [];
  const add = (kind, text) => {
    const last = parts[parts.length - 1];
    if (last && last.kind === kind) last.text += text; else if (text) parts.push({ kind, text });
  };
  add("same", a.slice(0, start).join(""));
  if (x.length * y.length > 4e6) { add("gone", x.join("")); add("new", y.join("")); }  // too long to align
  else {
    const w = y.length + 1, best = new Uint32Array((x.length + 1) * w);
    for (let i = x.length - 1; i >= 0; i--) for (let j = y.length - 1; j >= 0; j--)
      best[i * w + j] = x[i] === y[j] ? best[(i + 1) * w + j + 1] + 1 : Math.max(best[(i + 1) * w + j], best[i * w + j + 1]);
    let i = 0, j = 0;
    while (i < x.length || j < y.length) {
      if (i < x.length && j < y.length && x[i] === y[j]) { add("same", x[i]); i++; j++; }
      else if (j >= y.length || (i < x.length && best[(i + 1) * w + j] >= best[i * w + j + 1])) add("gone", x[i++]);
      else add("new", y[j++]);
    }
  }
  add("same", end ? a.slice(a.length - end).join("") : "");
  return parts;
}
function drawDiff(node, before, after) {
  node.replaceChildren(...wordDiff(before, after).map(({ kind, text }) =>
    kind === "same" ? document.createTextNode(text) : h(kind === "gone" ? "del" : "ins", {}, text)));
}

/* ---- Rendered Markdown: asked for in small groups ahead of need, kept per text ---- */
class Renderer {
  constructor(onReady) { this.html = new Map(); this.asked = new Set(); this.onReady = onReady; }
  get(text) { return this.html.get(text); }
  async want(texts) {
    const fresh = [...new Set(texts)].filter((t) => t && !this.asked.has(t));
    fresh.forEach((t) => this.asked.add(t));
    for (let n = 0; n < fresh.length; n += 8) {
      const group = fresh.slice(n, n + 8);
      try {
        const made = await server.render_texts(group);
        group.forEach((t, k) => this.html.set(t, made[k]));
        this.onReady();
      } catch (_) { group.forEach((t) => this.asked.delete(t)); return; }  // plain text stays
    }
    if (this.html.size > 400) for (const key of [...this.html.keys()].slice(0, 200)) { this.html.delete(key); this.asked.delete(key); }
  }
}
function remembered(name, fallback) { try { return localStorage.getItem(`ds/setting/${name}`) ?? fallback; } catch (_) { return fallback; } }
function remember(name, value) { try { localStorage.setItem(`ds/setting/${name}`, value); } catch (_) { /* not kept */ } }

/* The text of a model: rendered when the server's HTML is there and wanted, else as it is. */
function drawText(node, text, renderer, isRendered) {
  const html = isRendered ? renderer.get(text) : undefined;
  const isHtml = html !== undefined;
  if (node.dsText === text && node.dsIsHtml === isHtml) return;  // leave a selection in peace
  node.dsText = text; node.dsIsHtml = isHtml;
  node.className = isHtml ? "ds-text ds-rendered" : "ds-text ds-raw";
  if (isHtml) setHtml(node, html); else setText(node, text);
}

/* What may be undone: the server's list (oldest first), in place of it what this page knows of the
   same decision; what is too old for that list comes before it, what the server lacks after it. */
function mergeUndos(known, listed, knownBefore, waiting) {
  const byId = new Map(known.map((u) => [u.id, u])), ids = new Set(listed.map((u) => u.id));
  const rest = known.filter((u) => !ids.has(u.id));
  const isNew = (u) => waiting.has(u.id) || !knownBefore.has(u.id);
  return [...rest.filter((u) => !isNew(u)), ...listed.map((u) => byId.get(u.id) || u), ...rest.filter(isNew)];
}

/* The conversation before the answer: the last user turn in full, earlier turns folded. */
function drawConversation(node, messages) {
  const last = messages[messages.length - 1], earlier = messages.slice(0, -1);
  const turn = (m) => h("div", { class: `ds-turn ${m.role}` },
    h("span", { class: "ds-role" }, m.role), h("div", { class: "ds-text ds-raw", dir: "auto" }, m.content));
  node.replaceChildren(...[
    earlier.length ? h("details", { class: "ds-earlier" },
      h("summary", {}, earlier.length === 1 && earlier[0].role === "system" ? "System prompt" : plural(earlier.length, "earlier turn")),
      ...earlier.map(turn)) : null,
    h("div", { class: "ds-text ds-raw ds-prompt", dir: "auto" }, last.content),
  ].filter(Boolean));
  scrolls(node.lastChild, "Prompt");
}

/* Save state, the list of refused items and its export, shared by both benches. What is seen changes
   with every key and is not spoken; spoken are trouble, and that all is saved once the keys rest. */
const ALL_SAVED_AFTER_MS = 2000;
function saveState(noun) {
  const text = h("span", { class: "ds-save" });
  const calm = h("span", { class: "ds-sr", role: "status" }), alarm = h("span", { class: "ds-sr", role: "alert" });
  const retry = h("button", { type: "button", class: "ds-link" }, "Try now");
  const list = h("ul", {}), exportLink = h("button", { type: "button", class: "ds-link" }, "Download them");
  const forget = h("button", { type: "button", class: "ds-link" }, "Remove from this list");
  const refused = h("details", { class: "ds-refused" }, h("summary", {}), list, exportLink, forget);
  retry.hidden = true; refused.hidden = true;
  let outbox = null, resting = 0, isTold = true;
  retry.addEventListener("click", () => outbox && outbox.retryNow());
  forget.addEventListener("click", () => outbox && keepFocus(element, () => outbox.forgetRefused(), element.querySelector(".ds-record"), element.querySelector(".ds-empty")));
  exportLink.addEventListener("click", () => {
    const blob = new Blob([outbox.refused.map((r) => JSON.stringify(r)).join("\n") + "\n"], { type: "application/jsonl" });
    const link = h("a", { href: URL.createObjectURL(blob), download: `refused-${noun}s.jsonl` });
    link.click(); URL.revokeObjectURL(link.href);
  });
  const speak = (node, words) => { if (node.textContent !== words) setText(node, words); };
  function tell(state, words) {
    clearTimeout(resting);
    if (state === "saving") { isTold = false; return; }
    speak(alarm, state === "saved" ? "" : words);
    if (state !== "saved") { speak(calm, ""); isTold = true; }
    else if (!isTold) resting = setTimeout(() => { isTold = true; speak(calm, ""); speak(calm, `All ${noun}s saved.`); }, ALL_SAVED_AFTER_MS);
  }
  return {
    nodes: [h("span", { class: "ds-saving" }, text, retry, calm, alarm), refused],
    draw(box) {
      outbox = box;
      const n = box.size, bad = box.refused, isStuck = Boolean(box.trouble) && n > 0;
      const state = isStuck ? "stuck" : n ? "saving" : bad.length ? "refused" : "saved";
      const words = {
        stuck: `${plural(n, noun)} not saved yet, kept in this browser. ${box.trouble}`, saved: box.held.size ? "Saved, backup pending" : "Saved",
        saving: box.isKept ? `Saving ${n}` : `Saving ${n}. This browser keeps nothing: leave the page open.`,
        refused: `${plural(bad.length, noun)} refused` }[state];
      setText(text, words); text.dataset.state = state;
      tell(state, state === "refused" ? `${words}: ${bad[bad.length - 1].refused_because}` : isStuck ? `Not saved yet, kept in this browser. ${box.trouble}` : words);
      show(retry, isStuck);
      show(refused, bad.length > 0);
      if (!bad.length) return;
      setText(refused.firstChild, `${plural(bad.length, noun)} could not be stored`);
      list.replaceChildren(...bad.slice(0, 50).map((r) => h("li", {}, `${r.kind || r.outcome}: ${r.refused_because}`)));
    },
  };
}

function warnBeforeLeaving(element, isBusy) {
  const listener = (event) => {
    if (!element.isConnected) { window.removeEventListener("beforeunload", listener); return; }
    if (isBusy()) { event.preventDefault(); event.returnValue = ""; }
  };
  window.addEventListener("beforeunload", listener);
}

