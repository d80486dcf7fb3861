/* The review bench: one record a screen. Nothing here waits for the server: a key draws the next
   record at once, the decision goes into the outbox. `props.value` is
   {workspace, user, query, reasons, nonce}; a new nonce loads anew. */
const PREFETCH = 50, MORE_AT = 25, POLL_MS = 5000, TYPING_RESTS_MS = 250;
const KEYS = [["A", "Accept"], ["R", "Reject, then a digit for the reason, or Enter"], ["E", "Edit the answer"],
  ["S", "Skip: it stays pending"], ["Ctrl+Z", "Undo, also after a reload"], ["J K", "Next, previous record"],
  ["M", "Rendered or raw text"], ["?", "This list"], ["Ctrl+Enter", "Save the edit"], ["Esc", "Leave the edit or the reasons"]];

let config = null, outbox = null, progress = null;
let queue = [], at = 0, cursor = "", isLoading = false, isEnd = false, mode = "view", undos = [], generation = 0, loadTrouble = "";
const decided = new Map();  // pair id -> what this page decided last, shown before the server knows
let moves = 0, countTimer = 0;  // decisions and undos of this page; the numbers are asked for when it rests
const pace = new Pace();
let isRendered = remembered("rendered", "yes") === "yes";

/* ---- the page ---- */
const ui = {};
function make(name, tag, attributes, ...children) { ui[name] = h(tag, attributes, ...children); return ui[name]; }
const saving = saveState("decision");
const help = keyHelp(KEYS), made = madeBox();
element.replaceChildren(h("section", { class: "ds-bench", "aria-label": "Review" },
  h("div", { class: "ds-bench-top" },
    make("left", "strong", { class: "ds-left" }), make("pace", "span", { class: "ds-pace" }),
    saving.nodes[0],
    h("button", { type: "button", class: "ds-link", onclick: () => openHelp() }, "Keys ", h("kbd", {}, "?"))),
  make("bar", "progress", { class: "ds-progress", max: 1, value: 0, "aria-label": "Share decided" }),
  saving.nodes[1],
  make("card", "article", { class: "ds-card ds-record", "aria-label": "Record" },
    h("header", { class: "ds-meta" }, make("status", "span", { class: "ds-chip" }),
      make("topic", "span", { class: "ds-chip" }), make("hints", "span", { class: "ds-hints" }),
      make("where", "span", { class: "ds-where" })),
    h("h4", { class: "ds-label" }, "Prompt"), make("prompt", "div", { class: "ds-conversation" }),
    make("thinking", "details", { class: "ds-earlier" }, h("summary", {}, "Reasoning"), make("reasoning", "div", { class: "ds-text ds-raw", dir: "auto" })),
    h("div", { class: "ds-label-row" }, make("answerLabel", "h4", { class: "ds-label" }, "Answer"),
      make("toggle", "button", { type: "button", class: "ds-link", onclick: () => toggleRendered() })),
    make("answer", "div", { class: "ds-text", dir: "auto" }),
    make("diffBox", "details", { class: "ds-earlier" }, h("summary", {}, "What the edit changed"), make("diff", "div", { class: "ds-text ds-raw ds-diff", dir: "auto" })),
    make("editor", "div", { class: "ds-editor" },
      make("text", "textarea", { "aria-label": "Edited answer", rows: 10, spellcheck: "true", dir: "auto" }),
      h("div", { class: "ds-acts" },
        h("button", { type: "button", class: "ds-act good", onclick: () => saveEdit() }, h("span", {}, "Save edit"), h("kbd", {}, "Ctrl+Enter")),
        h("button", { type: "button", class: "ds-act", onclick: () => { ui.text.value = current().answer; onTyped(); ui.text.focus(); } }, "Back to the teacher's text"),
        h("button", { type: "button", class: "ds-act", onclick: () => setMode("view") }, h("span", {}, "Cancel"), h("kbd", {}, "Esc"))),
      h("div", { class: "ds-label" }, "Changes against the teacher's text"),
      make("liveDiff", "div", { class: "ds-text ds-raw ds-diff", dir: "auto", "aria-live": "off" })),
    made.box),
  make("empty", "div", { class: "ds-empty" }),
  make("reasons", "div", { class: "ds-reasons", role: "group", "aria-label": "Reason for rejecting" }),
  make("actions", "div", { class: "ds-acts ds-main-acts", role: "group", "aria-label": "Decide" },
    make("accept", "button", { type: "button", class: "ds-act good", onclick: () => accept(), "aria-keyshortcuts": "A" }, make("acceptText", "span", {}, "Accept"), h("kbd", { "aria-hidden": "true" }, "A")),
    actionButton("E", "Edit", "", () => startEdit()),
    actionButton("R", "Reject", "bad", () => startReject()),
    actionButton("S", "Skip", "", () => decide("skip")),
    make("undo", "button", { type: "button", class: "ds-act ds-undo", onclick: () => undo(), "aria-keyshortcuts": "Control+Z" }, h("span", {}, "Undo"), h("kbd", { "aria-hidden": "true" }, "Ctrl+Z")),
    h("span", { class: "ds-step" },
      h("button", { type: "button", class: "ds-act", onclick: () => step(-1), "aria-label": "Previous record" }, h("span", { "aria-hidden": "true" }, "←"), h("kbd", {}, "K")),
      h("button", { type: "button", class: "ds-act", onclick: () => step(1), "aria-label": "Next record" }, h("kbd", {}, "J"), h("span", { "aria-hidden": "true" }, "→")))),
  make("said", "div", { class: "ds-sr", role: "status", "aria-live": "polite" }), help));
const renderer = new Renderer(() => { if (mode !== "edit") drawAnswer(); });
const openHelp = () => { if (!help.open) help.showModal(); };

/* ---- drawing ---- */
const current = () => queue[at];
const answerOf = (record) => {
  const here = decided.get(record.id);
  if (here) return here.kind === "edit" ? here.answer : record.answer;
  return record.edited_answer ?? record.answer;
};
const statusOf = (record) => {
  const here = decided.get(record.id);
  const [kind, reason] = here ? [here.kind, here.reason] : [{ accepted: record.edited_answer === null ? "accept" : "edit", rejected: "reject" }[record.status] || "", record.reject_reason];
  return { accept: ["Accepted", "good"], edit: ["Accepted with an edit", "good"], skip: ["Skipped", "warn"],
    reject: [reason ? `Rejected: ${reason}` : "Rejected", "bad"] }[kind] || ["", ""];
};
function draw() {
  const record = current();
  show(ui.reasons, Boolean(record) && mode === "reject");
  show(ui.card, Boolean(record)); show(ui.empty, !record); show(ui.actions, Boolean(record) || undos.length > 0);
  for (const node of ui.actions.children) if (node !== ui.undo) show(node, Boolean(record));
  ui.undo.disabled = !undos.length;
  drawTop();
  if (!record) { drawEmpty(); return; }
  const [status, kind] = statusOf(record);
  setText(ui.status, status); ui.status.className = `ds-chip ${kind}`; show(ui.status, Boolean(status));
  setText(ui.acceptText, answerOf(record) !== record.answer ? "Keep the edit" : "Accept");
  setText(ui.topic, record.topic); show(ui.topic, Boolean(record.topic));
  const notes = [...record.hints];
  if (record.judge_score !== null) notes.push(`Judge ${Number(record.judge_score.toFixed(2))}`);
  if (record.candidates > 1) notes.push(`${record.candidate} of ${record.candidates} answers to this prompt`);
  ui.hints.replaceChildren(...notes.map((n) => h("span", { class: `ds-chip ${record.hints.includes(n) ? "warn" : ""}` }, n)));
  setText(ui.where, record.provenance);
  made.of(config.workspace, record.id); show(made.box, record.is_generated);
  drawConversation(ui.prompt, record.messages);
  show(ui.thinking, Boolean(record.reasoning)); ui.thinking.open = false; setText(ui.reasoning, record.reasoning);
  const isEdit = mode === "edit";
  show(ui.editor, isEdit); show(ui.answer, !isEdit); show(ui.toggle, !isEdit);
  show(ui.actions, !isEdit && mode !== "reject");
  const isEdited = answerOf(record) !== record.answer;
  show(ui.diffBox, isEdited && !isEdit);
  if (isEdited && !isEdit) drawDiff(ui.diff, record.answer, answerOf(record));
  setText(ui.answerLabel, isEdit ? "Edit the answer" : isEdited ? "Answer, edited" : "Answer");
  drawAnswer();
}
function drawAnswer() {
  const record = current(); if (!record) return;
  drawText(ui.answer, answerOf(record), renderer, isRendered);
  setText(ui.toggle, isRendered ? "Show raw (M)" : "Show rendered (M)");
}
function drawTop() {
  if (outbox) saving.draw(outbox);
  if (!progress) { setText(ui.left, ""); return; }
  const done = progress.accepted + progress.edited + progress.rejected, left = Math.max(0, progress.pending);
  setText(ui.left, left ? `${left.toLocaleString()} to review` : "Nothing left to review");
  setText(ui.pace, pace.done ? pace.text(left) : `${(progress.accepted + progress.edited).toLocaleString()} accepted (${progress.edited.toLocaleString()} edited), ${progress.rejected.toLocaleString()} rejected`);
  ui.bar.value = done + left ? done / (done + left) : 0;
  ui.bar.title = `${progress.accepted} accepted, ${progress.edited} edited, ${progress.rejected} rejected, ${left} to review`;
}
function drawEmpty() {
  const go = (tab, label) => h("button", { type: "button", class: "ds-act primary", onclick: () => openTab(tab) }, label);
  const again = h("button", { type: "button", class: "ds-act", onclick: () => load() }, "Look again");
  let title = "Loading", text = "", buttons = [];
  const total = progress && progress.pending + progress.set_aside + progress.accepted + progress.edited + progress.rejected;
  if (loadTrouble) { title = "The list could not be loaded"; text = loadTrouble; buttons = [again]; }
  else if (isEnd && progress && !total) { title = "No answers yet"; text = "Ask a teacher for answers, or import a file that has some."; buttons = [go("generate", "Go to Generate"), go("seeds", "Import a file")]; }
  else if (isEnd && config.isFiltered) { title = queue.length ? "End of this list" : "Nothing matches"; text = "Change the filters above, or look again for new rows."; buttons = [again]; }
  else if (isEnd) { title = "Everything is reviewed"; text = "New answers appear here by themselves. Records you skipped come back when you look again."; buttons = [again, go("prefer", "Compare answers"), go("freeze", "Freeze a snapshot")]; }
  ui.empty.replaceChildren(h("h3", {}, title), h("p", {}, text), h("div", { class: "ds-acts" }, ...buttons));
}
function say(text) { setText(ui.said, text); }
function setMode(next) {
  mode = next; draw();
  if (next === "view" && element.contains(document.activeElement)) document.activeElement.blur();
}

/* ---- loading ---- */
async function load() {
  const mine = ++generation;
  queue = []; at = 0; cursor = ""; isEnd = false; isLoading = false; mode = "view"; loadTrouble = ""; decided.clear();
  for (const item of outbox.items) remark(item);
  draw();
  await Promise.race([outbox.flush(), new Promise((done) => setTimeout(done, 1500))]);
  if (mine !== generation) return;
  await more();
  refreshProgress(); loadUndos(mine);
}
function remark(item) {  // what waits in the outbox counts as decided
  if (item.kind === "undo") decided.delete(item.pair_id); else decided.set(item.pair_id, item);
}
const fetchAfter = (id) => callApi(config.workspace, "review_queue", { query: { ...config.query, after: id, limit: PREFETCH } });
function unknown(found, here) {
  const known = new Set(here.map((r) => r.id)), isPendingList = config.query.status === "pending";
  return found.filter((r) => !known.has(r.id) && !(isPendingList && decided.has(r.id)));
}
function setEnd(found, from) { cursor = found.length ? found[found.length - 1].id : from; isEnd = found.length < PREFETCH; loadTrouble = ""; }
async function more() {
  if (isLoading || !config) return;
  isLoading = true;
  const mine = generation;
  try {
    const found = await fetchAfter(cursor);
    if (mine !== generation) return;
    const wasAtEnd = !current(), fresh = unknown(found, queue);
    queue.push(...fresh); setEnd(found, cursor);
    renderer.want(fresh.map(answerOf));
    if (wasAtEnd) draw();
  } catch (error) {
    if (mine === generation) { loadTrouble = error.message; if (!current()) draw(); }
  } finally { if (mine === generation) isLoading = false; }
}
async function refreshProgress() {
  const seen = moves;
  try {
    const counted = await callApi(config.workspace, "review_progress", {});
    if (progress && (seen !== moves || outbox.size)) return;  // counted before what was done since
    progress = counted; drawTop(); if (!current()) drawEmpty();
  } catch (_) { /* the save state tells */ }
}
function countSoon() { clearTimeout(countTimer); countTimer = setTimeout(() => { if (!outbox.size) refreshProgress(); }, 1000); }
async function loadUndos(mine) {
  const before = new Set(undos.map((u) => u.id));
  try {
    const found = await callApi(config.workspace, "review_recent", { limit: 30 });
    if (mine !== generation) return;
    const undone = new Set(outbox.items.filter((i) => i.kind === "undo").map((i) => i.undoes));
    const listed = found.reverse().filter((u) => (u.record || u.bulk_id) && !undone.has(u.id))
      .map((u) => ({ id: u.id, kind: u.kind, bulk_id: u.bulk_id, count: u.count, record: u.record, before: null, isOlder: true }));
    undos = mergeUndos(undos, listed, before, new Set(outbox.items.map((i) => i.id)));
    ui.undo.disabled = !undos.length;
  } catch (_) { /* undo of this page's decisions works all the same */ }
}
async function lookAgain() {  // the tab was opened again: keep the place, replace what follows
  if (!current()) { load(); return; }
  const mine = ++generation, from = current().id;  // what is on its way belongs to the old list
  isLoading = true;
  try {
    const found = await fetchAfter(from);
    if (mine !== generation) return;
    const kept = queue.slice(0, at + 1), fresh = unknown(found, kept);  // `at` has moved on by now
    queue = kept.concat(fresh); setEnd(found, from); renderer.want(fresh.map(answerOf));
    if (mode === "view" && at >= kept.length) draw();
  } catch (_) { /* the list stays as it was */ } finally { if (mine === generation) isLoading = false; }
  if (mine === generation) { refreshProgress(); loadUndos(mine); }
}
const poll = setInterval(() => {
  if (!element.isConnected) { clearInterval(poll); return; }
  if (config && element.offsetParent !== null && document.visibilityState === "visible" && isEnd && queue.length - at < MORE_AT) more();
}, POLL_MS);

/* ---- deciding ---- */
function decide(kind, extra) {
  const record = current();
  if (!record || mode === "edit") return;
  const item = { id: uuid(), pair_id: record.id, kind, made_at: new Date().toISOString(), ...extra };
  undos.push({ id: item.id, kind, record, before: decided.get(record.id) || null });
  const was = slotOf(record);
  if (kind !== "skip" || was === "pending") decided.set(record.id, item);
  recount(was, slotOf(record));
  mode = "view"; at += 1; moves += 1; if (kind !== "skip") pace.mark(record.id, item.id); draw(); toTop(element);
  say(`${{ accept: "Accepted", edit: "Edit saved", reject: "Rejected", skip: "Skipped" }[kind]}. ${current() ? "Next: " + firstWords(current()) : "End of the list."}`);
  outbox.push(item);
  if (queue.length - at < MORE_AT && !isEnd) more();
}
const firstWords = (record) => record.messages[record.messages.length - 1].content.slice(0, 120);
function slotOf(record) {  // the count a record belongs to, as this page sees it
  const here = decided.get(record.id);
  if (here) return { accept: "accepted", edit: "edited", reject: "rejected" }[here.kind] || "pending";
  return { accepted: record.edited_answer === null ? "accepted" : "edited", rejected: "rejected" }[record.status] || "pending";
}
function recount(before, after) { if (progress) { progress[before] -= 1; progress[after] += 1; } }
function accept() {
  const record = current(); if (!record) return;
  const text = answerOf(record);
  if (text !== record.answer) decide("edit", { answer: text }); else decide("accept");
}
function startReject() {
  if (!current()) return;
  ui.reasons.replaceChildren(h("p", {}, "Why? Press a digit, or Enter for no reason."),
    h("div", { class: "ds-acts" },
      ...config.reasons.map((reason, n) => h("button", { type: "button", class: "ds-act", onclick: () => decide("reject", { reason }) }, h("kbd", {}, String(n + 1)), h("span", {}, reason))),
      h("button", { type: "button", class: "ds-act bad", onclick: () => decide("reject") }, h("kbd", {}, "Enter"), h("span", {}, "No reason")),
      h("button", { type: "button", class: "ds-act", onclick: () => setMode("view") }, h("kbd", {}, "Esc"), h("span", {}, "Back"))));
  setMode("reject");
}
function startEdit() {
  const record = current(); if (!record) return;
  ui.text.value = answerOf(record);
  setMode("edit"); onTyped();
  ui.text.style.height = "auto"; ui.text.style.height = `${Math.min(ui.text.scrollHeight + 4, 440)}px`;
  ui.text.focus(); ui.text.setSelectionRange(0, 0);
}
let typedTimer = 0;
function onTyped() {
  clearTimeout(typedTimer);
  typedTimer = setTimeout(() => { if (mode === "edit" && current()) drawDiff(ui.liveDiff, current().answer, ui.text.value); }, 120);
}
function saveEdit() {
  const record = current(), text = ui.text.value.toWellFormed ? ui.text.value.toWellFormed() : ui.text.value;
  if (mode !== "edit" || !record) return;
  if (!text.trim()) { say("An empty answer cannot be saved. Reject the record instead."); ui.text.focus(); return; }
  mode = "view";
  if (text === record.answer) decide("accept"); else decide("edit", { answer: text });
  ui.text.blur();
}
async function undo() {
  const last = undos.pop(); if (!last) { draw(); return; }
  if (last.bulk_id) { await undoBulk(last); return; }
  let record = last.record;
  const was = slotOf(record);
  if (last.isOlder) record = { ...record, status: "pending", edited_answer: null, reject_reason: "" };
  if (last.before) decided.set(record.id, last.before); else decided.delete(record.id);
  recount(was, slotOf(record));
  let where = queue.findIndex((r) => r.id === record.id);
  if (where < 0) { where = Math.min(at, queue.length); queue.splice(where, 0, record); renderer.want([record.answer]); }
  else queue[where] = record;
  at = where; mode = "view"; moves += 1; pace.unmark(record.id, last.id); draw(); toTop(element);
  say(`Undone. Back at: ${firstWords(record)}`);
  outbox.push({ id: uuid(), pair_id: record.id, kind: "undo", undoes: last.id, made_at: new Date().toISOString() });
}
async function undoBulk(entry) {
  try {
    const result = await callApi(config.workspace, "review_bulk_undo", { bulk_id: entry.bulk_id });
    say(`Undone: ${plural(result.count, "decision")} of one bulk.`);
    load();
  } catch (error) { undos.push(entry); loadTrouble = error.message; draw(); }
}
function step(by) {
  const next = at + by;
  if (next < 0 || next > queue.length) return;
  at = next; setMode("view"); toTop(element);
  if (queue.length - at < MORE_AT && !isEnd) more();
}
function toggleRendered() {
  isRendered = !isRendered; remember("rendered", isRendered ? "yes" : "no");
  draw(); say(isRendered ? "Rendered text" : "Raw text");
}

/* ---- wiring ---- */
onKeys(element, (event, isCommand) => {
  if (help.open) return false;
  if (isCommand) { if (event.shiftKey) return false; undo(); return true; }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (mode === "reject") {
    if (key === "Enter") { decide("reject"); return true; }
    if (key === "Escape") { setMode("view"); return true; }
    const reason = config.reasons[Number(key) - 1];
    if (reason) { decide("reject", { reason }); return true; }
    return false;
  }
  const action = { a: accept, r: startReject, e: startEdit, s: () => decide("skip"), j: () => step(1), k: () => step(-1), m: toggleRendered, "?": openHelp }[key];
  if (!action) return false;
  action(); return true;
});
element.addEventListener("keydown", (event) => {
  if (mode !== "edit") return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); saveEdit(); }
  else if (event.key === "Escape") { event.preventDefault(); setMode("view"); }
});
ui.text.addEventListener("input", onTyped);
window.addEventListener("online", () => outbox && outbox.retryNow());
warnBeforeLeaving(element, () => Boolean(outbox && outbox.size) || (mode === "edit" && current() && ui.text.value !== answerOf(current())));

function configure() {
  const next = props.value;
  if (!next || !next.workspace) return;
  const isOther = !outbox || outbox.user !== next.user || outbox.workspace !== next.workspace;
  const isSameList = !isOther && config && !next.reload && JSON.stringify(config.query) === JSON.stringify(next.query);
  config = next;
  if (isOther) {
    if (outbox) outbox.close();
    undos = []; progress = null;
    const workspace = next.workspace, user = next.user;
    outbox = new Outbox({ mode: "review", user, workspace,
      send: (decisions) => callApi(workspace, "review_decide", { decisions, for_user: user }),
      onChange: () => drawTop(),
      onStored: () => countSoon() });
  }
  if (isSameList) lookAgain(); else load();
}
/* A search follows the typing: the list is asked for when the typing rests. */
let typing = 0;
const withoutSearch = (value) => JSON.stringify([value.workspace, value.user, { ...value.query, search: "" }]);
watch("value", () => {
  clearTimeout(typing);
  const next = props.value;
  const isTyped = config && next && next.query && next.query.search !== config.query.search && withoutSearch(next) === withoutSearch(config);
  if (isTyped) typing = setTimeout(configure, TYPING_RESTS_MS); else configure();
});
configure();
