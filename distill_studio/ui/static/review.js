/* The review bench: one record a screen. Nothing here waits for the server: a key draws the next
   record at once, the decision goes into the outbox. `props.value` is
   {workspace, user, query, reasons, rules, guidelines, mayDecide, nonce}; a new nonce loads anew.
   Undecided records are handed out under a lease (`review_next`); other lists are only looked at. */
const PREFETCH = 50, MORE_AT = 25, POLL_MS = 5000, TYPING_RESTS_MS = 250, ASK_FROM = 20;
const keys = new Keymap("review", [["accept", "a", "Accept"], ["reject", "r", "Reject, then a digit for the reason, or Enter"],
  ["edit", "e", "Edit the answer"], ["skip", "s", "Skip: it stays pending"], ["next", "j", "Next record"], ["previous", "k", "Previous record"],
  ["note", "n", "Note and tags"], ["related", "c", "Other answers and near-duplicates"], ["raw", "m", "Rendered or raw text"], ["guide", "g", "Show or hide the guidelines"]]);
const FIXED_KEYS = [["Ctrl+Z", "Undo, also after a reload"], ["Ctrl+Shift+Z", "Do again what was undone"], ["?", "This list"],
  ["Ctrl+Enter", "Save the edit or the note"], ["Esc", "Leave the edit, the note or the reasons"]];

let config = null, outbox = null, progress = null;
let queue = [], at = 0, cursor = "", isLoading = false, isEnd = false, mode = "view", undos = [], redos = [], generation = 0, loadTrouble = "";
const decided = new Map();  // pair id -> what this page decided last, shown before the server knows
let moves = 0, countTimer = 0;  // decisions and undos of this page; the numbers are asked for when it rests
const pace = new Pace();
let isRendered = remembered("rendered", "yes") === "yes";

/* ---- the page ---- */
const ui = {};
function make(name, tag, attributes, ...children) { ui[name] = h(tag, attributes, ...children); return ui[name]; }
const saving = saveState("decision");
const help = keyHelp(keys, FIXED_KEYS), made = madeBox(), learnt = learntBox(), guide = guideBox(keys), related = relatedBox(keys);
const noting = noteBox((said) => decide("note", said), () => setMode("view"));
element.replaceChildren(h("section", { class: "ds-bench", "aria-label": "Review" },
  h("div", { class: "ds-bench-top" },
    make("left", "strong", { class: "ds-left" }), make("pace", "span", { class: "ds-pace" }),
    saving.nodes[0],
    h("button", { type: "button", class: "ds-link", onclick: () => openHelp() }, "Keys ", fixedKey("?"))),
  make("bar", "progress", { class: "ds-progress", max: 1, value: 0, "aria-label": "Share decided" }),
  saving.nodes[1],
  guide.frame(make("card", "article", { class: "ds-card ds-record", tabindex: "-1", "aria-label": "Record" },
    h("header", { class: "ds-meta" }, make("status", "span", { class: "ds-chip" }),
      make("topic", "span", { class: "ds-chip" }), make("tags", "span", { class: "ds-hints" }), make("hints", "span", { class: "ds-hints" }),
      make("where", "span", { class: "ds-where" })),
    make("says", "div", { class: "ds-says" }),
    make("votes", "ul", { class: "ds-votes", "aria-label": "Votes so far" }),
    h("h3", { class: "ds-label" }, "Prompt"), make("prompt", "div", { class: "ds-conversation" }),
    make("thinking", "details", { class: "ds-earlier" }, h("summary", {}, "Reasoning"), make("reasoning", "div", { class: "ds-text ds-raw", dir: "auto" })),
    h("div", { class: "ds-label-row" }, make("answerLabel", "h3", { class: "ds-label" }, "Answer"),
      make("toggle", "button", { type: "button", class: "ds-link", onclick: () => toggleRendered() })),
    make("answer", "div", { class: "ds-text", dir: "auto" }),
    make("diffBox", "details", { class: "ds-earlier" }, h("summary", {}, "What the edit changed"), make("diff", "div", { class: "ds-text ds-raw ds-diff", dir: "auto" })),
    make("editor", "div", { class: "ds-editor" },
      make("text", "textarea", { "aria-label": "Edited answer", rows: 10, spellcheck: "true", dir: "auto" }),
      make("editSaid", "p", { class: "ds-note bad", role: "alert" }),
      h("div", { class: "ds-acts" },
        h("button", { type: "button", class: "ds-act good", onclick: () => saveEdit() }, h("span", {}, "Save edit"), fixedKey("Ctrl+Enter")),
        h("button", { type: "button", class: "ds-act", onclick: () => { ui.text.value = current().answer; onTyped(); ui.text.focus(); } }, "Back to the teacher's text"),
        h("button", { type: "button", class: "ds-act", onclick: () => setMode("view") }, h("span", {}, "Cancel"), fixedKey("Esc"))),
      h("h3", { class: "ds-label" }, "Changes against the teacher's text"),
      make("liveDiff", "div", { class: "ds-text ds-raw ds-diff", dir: "auto", "aria-live": "off" })),
    make("note", "p", { class: "ds-own-note", dir: "auto" }), noting.box,
    related.box, made.box, learnt.box)),
  make("empty", "div", { class: "ds-empty", tabindex: "-1" }),
  make("reasons", "div", { class: "ds-reasons", tabindex: "-1", role: "group", "aria-label": "Reason for rejecting" }),
  make("actions", "div", { class: "ds-acts ds-main-acts", role: "group", "aria-label": "Decide" },
    keys.button("accept", make("acceptText", "span", {}, "Accept"), "good", () => accept()),
    keys.button("edit", "Edit", "", () => startEdit()),
    keys.button("reject", "Reject", "bad", () => startReject()),
    keys.button("skip", "Skip", "", () => decide("skip")),
    keys.button("note", "Note", "", () => startNote()),
    make("undo", "button", { type: "button", class: "ds-act ds-undo", onclick: () => undo(), "aria-keyshortcuts": "Control+Z" }, h("span", {}, "Undo"), fixedKey("Ctrl+Z")),
    make("redo", "button", { type: "button", class: "ds-act", onclick: () => redo(), title: "Do again what was undone (Ctrl+Shift+Z)", "aria-label": "Redo", "aria-keyshortcuts": "Control+Shift+Z" }, h("span", { "aria-hidden": "true" }, "↷"), fixedKey("Ctrl+Shift+Z")),
    h("span", { class: "ds-step" }, stepButton(keys, "previous", "Previous record", "←", () => step(-1)), stepButton(keys, "next", "Next record", "→", () => step(1)))),
  make("said", "div", { class: "ds-sr", role: "status", "aria-live": "polite" }), help));
show(ui.card, false); show(ui.actions, false); setText(ui.empty, "Loading");  // until there is a list
const renderer = new Renderer(() => { if (mode !== "edit") drawAnswer(); });
keys.drawn.push(() => drawAnswer());  // its link names a key
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
let opener = null;  // the button that opened the reasons or an editor: the focus returns to it
function draw() { keepFocus(element, drawAll, mode === "reject" ? ui.reasons : opener, ui.card, ui.empty); }
function drawAll() {
  const record = current();
  show(ui.reasons, Boolean(record) && mode === "reject");
  show(ui.card, Boolean(record)); show(ui.empty, !record); show(ui.actions, Boolean(record) || undos.length + redos.length > 0);
  for (const node of ui.actions.children) if (node !== ui.undo && node !== ui.redo) show(node, Boolean(record));
  ui.undo.disabled = !undos.length; show(ui.redo, redos.length > 0);
  drawTop();
  if (!record) { drawEmpty(); return; }
  const [status, kind] = statusOf(record);
  setText(ui.status, status); ui.status.className = `ds-chip ${kind}`; show(ui.status, Boolean(status));
  setText(ui.acceptText, answerOf(record) !== record.answer ? "Keep the edit" : "Accept");
  setText(ui.topic, record.topic); show(ui.topic, Boolean(record.topic));
  const marks = [...record.hints];
  if (record.judge_score !== null) marks.push(`Judge ${Number(record.judge_score.toFixed(2))}`);
  if (record.candidates > 1) marks.push(`${record.candidate} of ${record.candidates} answers to this prompt`);
  ui.tags.replaceChildren(...record.tags.map((tag) => h("span", { class: "ds-chip ds-tag" }, tag)));
  setText(ui.note, record.note ? `Your note: ${record.note}` : "");
  show(ui.note, Boolean(record.note) && mode !== "note"); show(noting.box, mode === "note");
  related.of(config.workspace, { id: record.id, answer: answerOf(record), candidates: record.candidates });
  if (record.verdict) marks.push(`Verifier: ${record.verdict}`);
  const kindOf = (n) => record.hints.includes(n) ? "warn" : n.startsWith("Verifier: ") ? { passes: "good", fails: "bad" }[record.verdict] : "";
  ui.hints.replaceChildren(...marks.map((n) => h("span", { class: `ds-chip ${kindOf(n)}` }, n)));
  const says = [["Verifier", record.verdict_note], ["Judge", record.judge_words]].filter(([, words]) => words);
  show(ui.says, says.length > 0);
  ui.says.replaceChildren(...says.map(([who, words]) => h("p", { class: "ds-note", dir: "auto" }, h("strong", {}, `${who}: `), words)));
  setText(ui.where, record.provenance);
  drawVotes(record);
  made.of(config.workspace, record.id); show(made.box, record.is_generated);
  learnt.of(config.workspace, record.id);
  drawConversation(ui.prompt, record.messages);
  show(ui.thinking, Boolean(record.reasoning)); ui.thinking.open = false; setText(ui.reasoning, record.reasoning);
  const isEdit = mode === "edit";
  show(ui.editor, isEdit); show(ui.answer, !isEdit); show(ui.toggle, !isEdit);
  show(ui.actions, mode === "view");
  const isEdited = answerOf(record) !== record.answer;
  show(ui.diffBox, isEdited && !isEdit);
  if (isEdited && !isEdit) drawDiff(ui.diff, record.answer, answerOf(record));
  setText(ui.answerLabel, isEdit ? "Edit the answer" : isEdited ? "Answer, edited" : "Answer");
  drawAnswer();
}
const votesOf = new Map();  // pair id -> its history, asked for where ties are settled
function drawVotes(record) {
  const known = config.query.is_disputed ? votesOf.get(record.id) : null;
  show(ui.votes, Boolean(known));
  if (config.query.is_disputed && known === undefined) {
    votesOf.set(record.id, null);
    callApi(config.workspace, "review_history", { pair_id: record.id }).then((found) => {
      votesOf.set(record.id, found.filter((d) => !d.is_taken_back && ["accept", "edit", "reject"].includes(d.kind)));
      if (current() === record) drawVotes(record);
    }).catch(() => votesOf.delete(record.id));
  }
  if (known) ui.votes.replaceChildren(...known.map((d) => h("li", {}, h("strong", {}, d.user), ` ${{ accept: "accepts", edit: "edits", reject: "rejects" }[d.kind]}`, d.reason ? `: ${d.reason}` : "",
    d.answer ? h("details", { class: "ds-earlier" }, h("summary", {}, "the edit"), h("div", { class: "ds-text ds-raw" }, d.answer)) : null)));
}
function drawAnswer() {
  const record = current(); if (!record) return;
  drawText(ui.answer, answerOf(record), renderer, isRendered);
  setText(ui.toggle, (isRendered ? "Show raw" : "Show rendered") + keys.hint("raw"));
}
function drawTop() {
  if (outbox) saving.draw(outbox);
  if (!progress) { setText(ui.left, ""); return; }
  const done = progress.accepted + progress.edited + progress.rejected, left = Math.max(0, progress.pending);
  const ties = config.rules.may_settle && progress.disputed ? ` · ${plural(progress.disputed, "tie")} to settle` : "";
  setText(ui.left, (left ? `${left.toLocaleString()} to review` : "Nothing left to review") + ties);
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
  const shown = [title, text, buttons.length].join("\n");
  if (ui.empty.dsShown === shown) return;  // a button in it keeps the focus
  ui.empty.dsShown = shown;
  ui.empty.replaceChildren(h("h3", {}, title), h("p", {}, text), h("div", { class: "ds-acts" }, ...buttons));
}
function say(text) { setText(ui.said, text); }
function setMode(next) {
  if (mode === "view") opener = ui.actions.contains(document.activeElement) ? document.activeElement : null;
  mode = next; draw();
}

/* ---- loading ---- */
async function load() {
  const mine = ++generation;
  queue = []; at = 0; cursor = ""; isEnd = false; isLoading = false; mode = "view"; loadTrouble = ""; decided.clear();
  for (const item of outbox.items) remark(item);
  draw();
  await Promise.race([outbox.flush(), new Promise((done) => setTimeout(done, 1500))]);
  if (mine !== generation) return;
  await more(true);
  refreshProgress(); loadUndos(mine);
}
function remark(item) {  // what waits in the outbox counts as decided
  if (item.kind === "undo") decided.delete(item.pair_id); else decided.set(item.pair_id, item);
}
const isLeased = () => config.mayDecide && config.query.status === "pending";
const batch = () => (isLeased() ? config.rules.batch : PREFETCH), moreAt = () => Math.min(MORE_AT, 0.75 * batch());
function fetchAfter(id, held, isFresh) {
  if (!isLeased()) return callApi(config.workspace, "review_queue", { query: { ...config.query, after: id, limit: PREFETCH } });
  const have = held.filter((r) => !decided.has(r.id)).map((r) => r.id);
  for (const [pair, item] of decided) if (item.kind === "skip") have.push(pair);
  for (const item of outbox.items) have.push(item.pair_id);
  return callApi(config.workspace, "review_next", { query: { ...config.query, limit: batch() }, have, fresh: Boolean(isFresh) });
}
function unknown(found, here) {
  const known = new Set(here.map((r) => r.id)), isPendingList = config.query.status === "pending" || config.query.is_disputed;
  return found.filter((r) => !known.has(r.id) && !(isPendingList && decided.has(r.id)));
}
function setEnd(found, from) { cursor = found.length ? found[found.length - 1].id : from; isEnd = found.length < batch(); loadTrouble = ""; }
async function more(isFresh) {
  if (isLoading || !config) return;
  isLoading = true;
  const mine = generation;
  try {
    const found = await fetchAfter(cursor, queue, isFresh);
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
    const [found, undone_] = await Promise.all(["review_recent", "review_redoable"].map((name) => callApi(config.workspace, name, { limit: 30 })));
    if (mine !== generation) return;
    if (!moves || config.reload) redos = undone_.filter((u) => u.record || u.bulk_id).reverse().map((u) => ({ undo: u.id, kind: u.kind, bulk_id: u.bulk_id, count: u.count, record: u.record }));
    const undone = new Set(outbox.items.filter((i) => i.kind === "undo").map((i) => i.undoes));
    const listed = found.reverse().filter((u) => (u.record || u.bulk_id) && !undone.has(u.id))
      .map((u) => ({ id: u.id, kind: u.kind, bulk_id: u.bulk_id, count: u.count, record: u.record, after: u.after, before: null }));
    undos = mergeUndos(undos, listed, before, new Set(outbox.items.map((i) => i.id)));
    ui.undo.disabled = !undos.length; show(ui.redo, redos.length > 0);
    show(ui.actions, mode === "view" && (Boolean(current()) || undos.length + redos.length > 0));
  } catch (_) { /* undo of this page's decisions works all the same */ }
}
async function lookAgain() {  // the tab was opened again: keep the place and what lies behind it
  if (!queue.length) { load(); return; }
  const mine = ++generation, start = current(), from = start ? start.id : "";  // what is on its way belongs to the old list
  if (!start) for (const [id, item] of decided) if (item.kind === "skip") decided.delete(id);  // skipped ones come again
  isLoading = true;
  try {
    const found = await fetchAfter(from, start ? queue.slice(0, at + 1) : []);
    if (mine !== generation) return;
    const here = current();  // a key may have moved on by now
    const fresh = unknown(found, start ? queue.slice(0, at + 1) : []), again = new Set(fresh.map((r) => r.id));
    const kept = start ? queue.slice(0, at + 1) : queue.filter((r) => !again.has(r.id));
    queue = kept.concat(fresh); setEnd(found, from); renderer.want(fresh.map(answerOf));
    const place = here ? queue.findIndex((r) => r.id === here.id) : kept.length;
    at = place < 0 ? kept.length : place;
    if (mode === "view" && current() !== here) draw();
  } catch (_) { /* the list stays as it was */ } finally { if (mine === generation) isLoading = false; }
  if (mine === generation) { refreshProgress(); loadUndos(mine); }
}
const poll = setInterval(() => {
  if (!element.isConnected) { clearInterval(poll); return; }
  if (config && element.offsetParent !== null && document.visibilityState === "visible" && isEnd && queue.length - at < moreAt()) more();
}, POLL_MS);
keepLeases(element,
  () => ({ ids: config && isLeased() ? queue.filter((r) => !decided.has(r.id)).map((r) => r.id) : [], renew_s: config && config.rules.renew_s }),
  (ids) => callApi(config.workspace, "review_renew", { ids }),
  (lost) => { const here = current(); queue = queue.filter((r) => r === here || !lost.has(r.id) || decided.has(r.id)); at = here ? queue.indexOf(here) : queue.length; });

/* ---- deciding ---- */
const SETTLES = new Set(["accept", "edit", "reject"]);
const SAID = { accept: "Accepted", edit: "Edit saved", reject: "Rejected", skip: "Skipped", note: "Note saved" };
function decide(kind, extra) {
  const record = current();
  if (!record || mode === "edit") return;
  const item = { id: uuid(), pair_id: record.id, kind, made_at: new Date().toISOString(), ...extra };
  if (config.rules.may_settle && SETTLES.has(kind) && (config.query.is_disputed || record.status !== "pending")) item.is_final = true;
  undos.push({ id: item.id, kind, record, item, before: decided.get(record.id) || null, noted: { note: record.note, tags: record.tags } });
  redos = [];
  apply(record, item);
  outbox.push(item);
}
function apply(record, item) {  // show what a decision does: now, or again
  const { kind } = item, was = slotOf(record);
  if (kind === "note") { record.note = item.note; record.tags = item.tags; if (!config.tags.some((t) => item.tags.includes(t))) config.tags.push(...item.tags); }
  else if (kind !== "skip" || was === "pending") decided.set(record.id, item);
  recount(was, slotOf(record));
  mode = "view"; moves += 1;
  if (kind !== "note") at += 1;
  if (kind !== "note" && kind !== "skip") pace.mark(record.id, item.id);
  draw(); if (kind !== "note") toTop(element);
  say(`${SAID[kind]}. ${kind === "note" ? "" : current() ? "Next: " + firstWords(current()) : "End of the list."}`);
  if (queue.length - at < moreAt() && !isEnd) more();
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
  const record = current(); if (!record) return;
  const words = keys.isOff ? "Why?" : "Why? Press a digit, or Enter for no reason.";
  const choices = config.reasons.map((reason, n) => {
    const button = keys.digit(n + 1, reason, "", () => decide("reject", { reason }));
    if (reason === record.suggested_reason) { button.classList.add("suggested"); button.append(h("span", { class: "ds-chip warn" }, "suggested")); }
    return button;
  });
  keepFocus(element, () => {
    ui.reasons.replaceChildren(h("p", {}, words), h("div", { class: "ds-acts" }, ...choices,
      h("button", { type: "button", class: "ds-act bad", onclick: () => decide("reject") }, fixedKey("Enter"), h("span", {}, "No reason")),
      h("button", { type: "button", class: "ds-act", onclick: () => setMode("view") }, fixedKey("Esc"), h("span", {}, "Back")),
      config.maySetReasons ? h("button", { type: "button", class: "ds-link", onclick: () => reasonsDialog(config.workspace, config.reasons, (stored) => { config.reasons = stored; startReject(); }) }, "Change reasons") : null));
    setMode("reject");
  }, ui.reasons);
  say(record.suggested_reason ? `${words} Suggested: ${record.suggested_reason}.` : words);
}
function startNote() {
  const record = current(); if (!record) return;
  setMode("note"); noting.open(record, config.tags);
}
function startEdit() {
  const record = current(); if (!record) return;
  ui.text.value = answerOf(record); setText(ui.editSaid, "");
  setMode("edit"); onTyped();
  ui.text.style.height = "auto"; ui.text.style.height = `${Math.min(ui.text.scrollHeight + 4, 440)}px`;
  ui.text.focus(); ui.text.setSelectionRange(0, 0);
  ui.editor.querySelector(".ds-acts").scrollIntoView({ block: "nearest" });
}
let typedTimer = 0;
function onTyped() {
  clearTimeout(typedTimer);
  if (ui.text.value.trim()) setText(ui.editSaid, "");
  typedTimer = setTimeout(() => { if (mode === "edit" && current()) { drawDiff(ui.liveDiff, current().answer, ui.text.value); scrolls(ui.liveDiff, "Changes"); } }, 120);
}
function saveEdit() {
  const record = current(), text = ui.text.value.toWellFormed ? ui.text.value.toWellFormed() : ui.text.value;
  if (mode !== "edit" || !record) return;
  if (!text.trim()) { setText(ui.editSaid, "An empty answer cannot be saved. Reject the record instead."); ui.text.focus(); ui.editSaid.scrollIntoView({ block: "center" }); return; }
  mode = "view";
  if (text === record.answer) decide("accept"); else decide("edit", { answer: text });
}
const undoOf = (record, id) => ({ id: uuid(), pair_id: record.id, kind: "undo", undoes: id, made_at: new Date().toISOString() });
function goTo(record) {  // show this record, which may not be in the list any more
  let where = queue.findIndex((r) => r.id === record.id);
  if (where < 0) { where = Math.min(at, queue.length); queue.splice(where, 0, record); renderer.want([record.answer]); }
  else queue[where] = record;
  at = where;
}
async function undo() {
  const last = undos.pop(); if (!last) { draw(); return; }
  if (last.bulk_id) { await wholeBulk("undo", last, undos); return; }
  if (last.kind === "note" && !last.noted) { await throughServer(undoOf(last.record, last.id), "Note undone."); return; }
  const shown = queue.find((r) => r.id === last.record.id) || last.record;
  let record = { ...last.record, note: shown.note, tags: shown.tags };
  const was = slotOf(shown);
  if (last.kind === "note") record = { ...record, ...last.noted };
  else {
    if (last.after) record = { ...record, ...last.after };
    if (last.before) decided.set(record.id, last.before); else decided.delete(record.id);
  }
  recount(was, slotOf(record));
  goTo(record);
  mode = "view"; moves += 1; pace.unmark(record.id, last.id);
  const item = undoOf(record, last.id);
  redos.push({ undo: item.id, kind: last.kind, record, item: last.item || null, target: last });
  draw(); toTop(element);
  say(`Undone. Back at: ${firstWords(record)}`);
  outbox.push(item);
}
async function redo() {
  const next = redos.pop(); if (!next) return;
  if (next.bulk_id) { await wholeBulk("redo", next, redos); return; }
  const item = undoOf(next.record, next.undo);
  if (next.item) {
    goTo(next.record);
    undos.push({ ...next.target, record: next.record });
    apply(next.record, next.item);
    outbox.push(item);
    return;
  }
  await throughServer(item, `Done again: ${SAID[next.kind].toLowerCase()}.`);
}
async function throughServer(item, words) {  // of before this page was opened: the server knows what it changes
  moves += 1; draw();
  outbox.push(item);
  await outbox.flush();
  say(words);
  load();
}
/* A long list is not taken back, or done again, by a slip of the hand. */
async function wholeBulk(does, entry, from) {
  const [question, done] = does === "undo" ? ["Take back", "Undone"] : ["Do again", "Done again"];
  if (entry.count > ASK_FROM && !confirm(`${question} ${plural(entry.count, "decision")} of one bulk?`)) { from.push(entry); draw(); return; }
  try {
    const result = await callApi(config.workspace, `review_bulk_${does}`, { bulk_id: entry.bulk_id });
    if (does === "undo") redos.push(entry);  // what is done again is listed anew
    moves += 1;
    say(`${done}: ${plural(result.count, "decision")} of one bulk.`);
    load();
  } catch (error) { from.push(entry); draw(); alert(`${question}: that did not work. ${error.message}`); }
}
function step(by) {
  const next = at + by;
  if (next < 0 || next > queue.length) return;
  at = next; setMode("view"); toTop(element);
  if (queue.length - at < moreAt() && !isEnd) more();
}
function toggleRendered() {
  isRendered = !isRendered; remember("rendered", isRendered ? "yes" : "no");
  draw(); say(isRendered ? "Rendered text" : "Raw text");
}

/* ---- wiring ---- */
const DOES = { guide: guide.toggle, accept, reject: startReject, edit: startEdit, skip: () => decide("skip"), next: () => step(1), previous: () => step(-1),
  note: startNote, related: () => { if (current()) related.toggle(); }, raw: toggleRendered };
onKeys(element, keys, (event, isCommand) => {
  if (help.open || mode === "edit" || mode === "note") return false;
  const key = keyOf(event);
  if (isCommand) { if (event.shiftKey || key === "y") redo(); else undo(); return true; }
  if (mode === "reject") {
    if (key === "Enter") { decide("reject"); return true; }
    if (key === "Escape") { setMode("view"); return true; }
    const reason = config.reasons[Number(key) - 1];
    if (reason) { decide("reject", { reason }); return true; }
    return false;
  }
  if (event.key === "?") { openHelp(); return true; }
  const action = DOES[keys.actionOf(key)];
  if (!action || event.ctrlKey || event.metaKey) return false;
  action(); return true;
});
element.addEventListener("keydown", (event) => {
  if (mode !== "edit") return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); saveEdit(); }
  else if (event.key === "Escape") { event.preventDefault(); setMode("view"); }
});
ui.text.addEventListener("input", onTyped);
window.addEventListener("online", () => outbox && outbox.retryNow());
warnBeforeLeaving(element, () => Boolean(outbox && outbox.size) || (mode === "edit" && current() && ui.text.value !== answerOf(current())) || (mode === "note" && noting.isChanged()));

function configure() {
  const next = props.value;
  if (!next || !next.workspace) return;
  const isOther = !outbox || outbox.user !== next.user || outbox.workspace !== next.workspace;
  const isSameList = !isOther && config && !next.reload && JSON.stringify(config.query) === JSON.stringify(next.query);
  config = next; guide.draw(next); keys.redraw();
  if (isOther) {
    if (outbox) outbox.close();
    undos = []; redos = []; moves = 0; progress = null;
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
