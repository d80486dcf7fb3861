/* The keys of a bench: which key does what, changed by a person and kept in this browser.
   Read after bench.js. `actions` are [id, key, what]; keys are single characters, lower case. */
const RESERVED = ["?"];  // opens this list; Enter, Escape and Ctrl+Z are fixed as well

class Keymap {
  constructor(bench, actions) {
    this.setting = `keys-${bench}`; this.actions = actions; this.drawn = [];
    let own = {};
    try { own = JSON.parse(remembered(this.setting, "{}")); } catch (_) { /* not ours */ }
    this.keys = new Map(actions.map(([id, key]) => [id, key]));
    for (const [id, key] of Object.entries(own)) if (this.keys.has(id) && !this.trouble(id, key)) this.keys.set(id, key);
  }
  keyOf(id) { return this.keys.get(id); }
  /* Letters, digits and signs may be off (speech input, WCAG 2.1.4): one setting for both benches. */
  get isOff() { return remembered("letter-keys", this.letters || "on") === "off"; }
  set isOff(isOff) { this.letters = isOff ? "off" : "on"; remember("letter-keys", this.letters); this.redraw(); }
  redraw() { this.drawn.forEach((draw) => draw()); }
  hint(id) { return this.isOff ? "" : ` (${this.keyOf(id).toUpperCase()})`; }
  actionOf(key) { for (const [id, own] of this.keys) if (own === key) return id; return ""; }
  trouble(id, key) {
    if ([...key].length !== 1 || !key.trim()) return "Press a letter, a digit or a sign.";
    if (RESERVED.includes(key)) return `${key} always opens this list.`;
    const other = this.actions.find(([each]) => each !== id && this.keys.get(each) === key);
    return other ? `${key.toUpperCase()} is taken: ${other[2]}.` : "";
  }
  set(id, key) { this.keys.set(id, key); this._keep(); }
  reset() { this.keys = new Map(this.actions.map(([id, key]) => [id, key])); this._keep(); }
  _keep() {
    const own = Object.fromEntries(this.actions.filter(([id, key]) => this.keys.get(id) !== key).map(([id]) => [id, this.keys.get(id)]));
    remember(this.setting, JSON.stringify(own));
    this.redraw();
  }
  /* A <kbd> that follows the key of an action; `carrier` tells it to screen readers. */
  kbd(id, carrier) {
    const node = h("kbd", { "aria-hidden": "true" });
    const draw = () => {
      setText(node, this.keyOf(id).toUpperCase()); show(node, !this.isOff);
      if (!carrier) return;
      if (this.isOff) carrier.removeAttribute("aria-keyshortcuts"); else carrier.setAttribute("aria-keyshortcuts", this.keyOf(id).toUpperCase());
    };
    this.drawn.push(draw); draw();
    return node;
  }
  /* A button that a digit presses while a question is open; drawn anew with the question. */
  digit(n, label, kind, onclick) {
    return h("button", { type: "button", class: `ds-act ${kind}`, onclick, "aria-keyshortcuts": this.isOff ? null : String(n) },
      this.isOff ? null : h("kbd", { "aria-hidden": "true" }, String(n)), h("span", {}, label));
  }
  /* A button that shows its key; `label` may be a node. */
  button(id, label, kind, onclick) {
    const node = h("button", { type: "button", class: `ds-act ${kind}`, onclick }, typeof label === "string" ? h("span", {}, label) : label);
    node.append(this.kbd(id, node));
    return node;
  }
}

function stepButton(map, id, label, arrow, onclick) {
  const node = h("button", { type: "button", class: "ds-act", onclick, "aria-label": label }, h("span", { "aria-hidden": "true" }, arrow));
  node.append(map.kbd(id, node));
  return node;
}

/* A <kbd> for a key that stays: for eyes only, `aria-keyshortcuts` or the list says it to others. */
const fixedKey = (key) => h("kbd", { "aria-hidden": "true" }, key);

/* The list of keys behind `?`, and where they are changed or switched off: a dialog that Escape closes. */
function keyHelp(map, fixed) {
  const said = h("p", { class: "ds-key-said", role: "status" });
  let waiting = "";
  const rows = map.actions.map(([id, , what]) => ({ id, what, node: h("button", { type: "button", class: "ds-key", title: "Change this key", onclick: () => wait(id) }) }));
  const letters = h("input", { type: "checkbox", onclick: () => { map.isOff = !letters.checked; setText(said, map.isOff ? "Letters, digits and signs do nothing now. Buttons, Enter, Esc and Ctrl+Z still work." : "Letters, digits and signs work again."); } });
  const dialog = h("dialog", { class: "ds-keys", "aria-label": "Keys" }, h("h3", {}, "Keys"),
    h("dl", {},
      ...rows.flatMap((row) => [h("dt", {}, row.node), h("dd", {}, row.what)]),
      ...fixed.flatMap(([keys, what]) => [h("dt", {}, ...keys.split(" ").map((k) => h("kbd", {}, k))), h("dd", {}, what)])),
    h("label", { class: "ds-letters" }, letters, "Letter, digit and sign keys"), said,
    h("p", {}, "Keys do nothing while you type in a text box. They are kept in this browser."),
    h("div", { class: "ds-acts" },
      h("button", { type: "button", class: "ds-act", onclick: () => dialog.close() }, "Close"),
      h("button", { type: "button", class: "ds-link", onclick: () => { map.reset(); wait(""); setText(said, "Standard keys."); } }, "Standard keys")));
  function draw() {  // in place: the button that was pressed keeps the focus
    letters.checked = !map.isOff;
    for (const { id, what, node } of rows) {
      node.classList.toggle("waits", waiting === id);
      setText(node, waiting === id ? "press a key" : map.keyOf(id).toUpperCase());
      node.setAttribute("aria-label", waiting === id ? `${what}: press a key` : `${what}: ${map.keyOf(id)}. Change`);
    }
  }
  function wait(id) { waiting = id; setText(said, ""); draw(); }
  dialog.addEventListener("keydown", (event) => {
    if (!waiting) { if (event.key === "?") { event.preventDefault(); dialog.close(); } return; }
    if (event.ctrlKey || event.metaKey || event.altKey || ["Tab", "Shift"].includes(event.key)) return;
    event.preventDefault();
    if (event.key === "Escape") { wait(""); return; }
    const key = keyOf(event), trouble = map.trouble(waiting, key);
    if (trouble) { setText(said, trouble); return; }
    map.set(waiting, key); wait("");
  });
  dialog.addEventListener("close", () => wait(""));
  map.drawn.push(draw); draw();
  return dialog;
}
