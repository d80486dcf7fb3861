/* The preference bench: two answers, blind. The server chose and stored the sides before it sent
   them, and sends nothing that tells them apart; who stood where arrives after the vote.
   `props.value` is {workspace, user, nonce}; a new nonce looks again. */
const PREFETCH = 40, MORE_AT = 15, POLL_MS = 5000;
const KEYS = [["1", "Left is better"], ["2", "Right is better"], ["Shift+1 Shift+2", "Clearly better"], ["3", "Tie"],
  ["4", "Both are bad"], ["S", "Skip"], ["Ctrl+Z", "Undo, also after a reload"], ["J K", "Next, previous comparison"],
  ["M", "Rendered or raw text"], ["?", "This list"]];
const CLEARLY = 3;  // strength of a Shift vote

let config = null, outbox = null, progress = null, steadiness = null;
let queue = [], at = 0, cursor = "", isLoading = false, isEnd = false, undos = [], generation = 0, loadTrouble = "";
const voted = new Map(), reveals = new Map();
let moves = 0, countTimer = 0;  // votes and undos of this page; the numbers are asked for when it rests
const pace = new Pace();
let lastVote = null, isRendered = remembered("rendered", "yes") === "yes";

/* ---- the page ---- */
const ui = {};
function make(name, tag, attributes, ...children) { ui[name] = h(tag, attributes, ...children); return ui[name]; }
const saving = saveState("vote");
const help = keyHelp(KEYS);
function side(name, label, key) {
  return h("section", { class: "ds-side", "aria-label": label },
    h("button", { type: "button", onclick: (event) => vote(name, event.shiftKey ? CLEARLY : null), "aria-keyshortcuts": key },
      h("span", {}, `${label} is better`), h("kbd", { "aria-hidden": "true" }, key)),
    make(`${name}Cut`, "span", { class: "ds-chip warn ds-cut", hidden: true }, "Cut off at the token limit"),
    make(`${name}Pane`, "div", { class: "ds-pane", tabindex: "0", "aria-label": `${label} answer` }, make(name, "div", { class: "ds-text", dir: "auto" })));
}
element.replaceChildren(h("section", { class: "ds-bench", "aria-label": "Compare" },
  h("div", { class: "ds-bench-top" },
    make("left_count", "strong", { class: "ds-left" }), make("pace", "span", { class: "ds-pace" }), saving.nodes[0],
    h("button", { type: "button", class: "ds-link", onclick: () => openHelp() }, "Keys ", h("kbd", {}, "?"))),
  make("lastVote", "div", { class: "ds-lastvote" }), saving.nodes[1],
  make("card", "article", { class: "ds-card ds-record", "aria-label": "Comparison" },
    h("div", { class: "ds-label-row ds-first" }, h("h4", { class: "ds-label" }, "Prompt"),
      make("status", "span", { class: "ds-chip good" }),
      make("toggle", "button", { type: "button", class: "ds-link", onclick: () => toggleRendered() })),
    make("prompt", "div", { class: "ds-conversation" }),
    h("div", { class: "ds-sides" }, side("left", "Left", "1"), side("right", "Right", "2"))),
  make("empty", "div", { class: "ds-empty" }),
  make("actions", "div", { class: "ds-acts ds-main-acts", role: "group", "aria-label": "Vote" },
    actionButton("1", "Left", "good", (e) => vote("left", e.shiftKey ? CLEARLY : null)),
    actionButton("2", "Right", "good", (e) => vote("right", e.shiftKey ? CLEARLY : null)),
    actionButton("3", "Tie", "", () => vote("tie")),
    actionButton("4", "Both bad", "bad", () => vote("both_bad")),
    actionButton("S", "Skip", "", () => vote("skip")),
    make("undo", "button", { type: "button", class: "ds-act ds-undo", onclick: () => undo(), "aria-keyshortcuts": "Control+Z" }, h("span", {}, "Undo"), h("kbd", { "aria-hidden": "true" }, "Ctrl+Z")),
    h("span", { class: "ds-step" },
      h("button", { type: "button", class: "ds-act", onclick: () => step(-1), "aria-label": "Previous comparison" }, h("span", { "aria-hidden": "true" }, "←"), h("kbd", {}, "K")),
      h("button", { type: "button", class: "ds-act", onclick: () => step(1), "aria-label": "Next comparison" }, h("kbd", {}, "J"), h("span", { "aria-hidden": "true" }, "→")))),
  make("said", "div", { class: "ds-sr", role: "status", "aria-live": "polite" }), help));
const renderer = new Renderer(() => drawAnswers());
const openHelp = () => { if (!help.open) help.showModal(); };

/* Both panes scroll together, by share of their height. */
let isFollowing = false;
for (const [from, to] of [["leftPane", "rightPane"], ["rightPane", "leftPane"]]) {
  ui[from].addEventListener("scroll", () => {
    if (isFollowing) { isFollowing = false; return; }
    const a = ui[from], b = ui[to], range = a.scrollHeight - a.clientHeight;
    const wanted = range > 0 ? (a.scrollTop / range) * (b.scrollHeight - b.clientHeight) : 0;
    if (Math.abs(b.scrollTop - wanted) > 1) { isFollowing = true; b.scrollTop = wanted; }
  }, { passive: true });
}

/* ---- drawing ---- */
const current = () => queue[at];
const WORDS = { left: "Left", right: "Right", tie: "Tie", both_bad: "Both bad", skip: "Skipped" };
function draw() {
  const task = current();
  show(ui.card, Boolean(task)); show(ui.empty, !task); show(ui.actions, Boolean(task) || undos.length > 0);
  for (const node of ui.actions.children) if (node !== ui.undo) show(node, Boolean(task));
  ui.undo.disabled = !undos.length;
  drawTop(); drawLastVote();
  if (!task) { drawEmpty(); return; }
  const here = voted.get(task.id);
  show(ui.status, Boolean(here)); if (here) setText(ui.status, `Your vote: ${WORDS[here.outcome]}`);
  drawConversation(ui.prompt, task.messages);
  drawAnswers();
  ui.leftPane.scrollTop = 0; ui.rightPane.scrollTop = 0;
}
function drawAnswers() {
  const task = current(); if (!task) return;
  drawText(ui.left, task.left, renderer, isRendered); drawText(ui.right, task.right, renderer, isRendered);
  show(ui.leftCut, task.is_left_cut); show(ui.rightCut, task.is_right_cut);
  setText(ui.toggle, isRendered ? "Show raw (M)" : "Show rendered (M)");
}
function drawTop() {
  if (outbox) saving.draw(outbox);
  if (!progress) { setText(ui.left_count, ""); return; }
  setText(ui.left_count, progress.open ? `${progress.open.toLocaleString()} to compare` : "Nothing left to compare");
  const parts = [pace.done ? pace.text(progress.open).replaceAll("decision", "vote") : `${plural(progress.voted, "vote")} by you, ${plural(progress.wins, "preference")} with a winner`];
  if (steadiness && steadiness.repeats >= 3) parts.push(`you agreed with yourself on ${steadiness.same} of ${steadiness.repeats} repeats`);
  setText(ui.pace, parts.join(" · "));
}
function drawLastVote() {
  const told = lastVote && reveals.get(lastVote.task_id);
  if (!told) { setText(ui.lastVote, ""); return; }
  setText(ui.lastVote, `Last vote, ${WORDS[lastVote.outcome].toLowerCase()}: left was ${told.left.teacher}, ${plural(told.left.words, "word")}; right was ${told.right.teacher}, ${plural(told.right.words, "word")}.`);
}
function drawEmpty() {
  const go = (tab, label) => h("button", { type: "button", class: "ds-act primary", onclick: () => openTab(tab) }, label);
  const again = h("button", { type: "button", class: "ds-act", onclick: () => load() }, "Look again");
  let title = "Loading", text = "", buttons = [];
  if (loadTrouble) { title = "The comparisons could not be loaded"; text = loadTrouble; buttons = [again]; }
  else if (isEnd && progress && !progress.candidates) { title = "No answers with two candidates yet"; text = "Ask for several answers to each prompt with the recipe “best of n candidates”. Rejected and filtered answers do not come up here."; buttons = [go("generate", "Generate best of n")]; }
  else if (isEnd) { title = "Everything is compared"; text = "New candidates appear here by themselves."; buttons = [again, go("freeze", "Freeze a snapshot")]; }
  ui.empty.replaceChildren(h("h3", {}, title), h("p", {}, text), h("div", { class: "ds-acts" }, ...buttons));
}
function say(text) { setText(ui.said, text); }

/* ---- loading ---- */
async function load() {
  const mine = ++generation;
  queue = []; at = 0; cursor = ""; isEnd = false; isLoading = false; loadTrouble = ""; voted.clear();
  for (const item of outbox.items) { if (item.outcome === "undo") voted.delete(item.task_id); else voted.set(item.task_id, item); }
  draw();
  await Promise.race([outbox.flush(), new Promise((done) => setTimeout(done, 1500))]);
  if (mine !== generation) return;
  await more();
  refreshProgress(); loadUndos(mine);
}
const fetchAfter = (id) => callApi(config.workspace, "prefer_queue", { after: id, limit: PREFETCH });
const wantTexts = (tasks) => renderer.want(tasks.flatMap((t) => [t.left, t.right]));
function unknown(found, here) {
  const known = new Set(here.map((t) => t.id));
  return found.filter((t) => !known.has(t.id) && !voted.has(t.id));
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
    queue.push(...fresh); setEnd(found, cursor); wantTexts(fresh);
    if (wasAtEnd) draw();
  } catch (error) {
    if (mine === generation) { loadTrouble = error.message; if (!current()) draw(); }
  } finally { if (mine === generation) isLoading = false; }
}
async function refreshProgress() {
  const seen = moves;
  try {
    const counted = await callApi(config.workspace, "prefer_progress", {});
    if (progress && (seen !== moves || outbox.size)) return;  // counted before what was done since
    progress = counted;
    steadiness = await callApi(config.workspace, "prefer_consistency", {});
    drawTop(); if (!current()) drawEmpty();
  } catch (_) { /* the save state tells */ }
}
function countSoon() { clearTimeout(countTimer); countTimer = setTimeout(() => { if (!outbox.size) refreshProgress(); }, 1000); }
async function loadUndos(mine) {
  const before = new Set(undos.map((u) => u.id));
  try {
    const found = await callApi(config.workspace, "prefer_recent", { limit: 30 });
    if (mine !== generation) return;
    const undone = new Set(outbox.items.filter((i) => i.outcome === "undo").map((i) => i.undoes));
    const listed = found.reverse().filter((u) => !undone.has(u.id)).map((u) => ({ id: u.id, task: u.task, before: null }));
    undos = mergeUndos(undos, listed, before, new Set(outbox.items.map((i) => i.id)));
    ui.undo.disabled = !undos.length;
  } catch (_) { /* undo of this page's votes works all the same */ }
}
async function lookAgain() {  // the tab was opened again: keep the place, replace what follows
  if (!current()) { load(); return; }
  const mine = ++generation, from = current().id;  // what is on its way belongs to the old list
  isLoading = true;
  try {
    const found = await fetchAfter(from);
    if (mine !== generation) return;
    const kept = queue.slice(0, at + 1), fresh = unknown(found, kept);  // `at` has moved on by now
    queue = kept.concat(fresh); setEnd(found, from); wantTexts(fresh);
    if (at >= kept.length) draw();
  } catch (_) { /* the list stays as it was */ } finally { if (mine === generation) isLoading = false; }
  if (mine === generation) { refreshProgress(); loadUndos(mine); }
}
const poll = setInterval(() => {
  if (!element.isConnected) { clearInterval(poll); return; }
  if (config && element.offsetParent !== null && document.visibilityState === "visible" && isEnd && queue.length - at < MORE_AT) more();
}, POLL_MS);

/* ---- voting ---- */
function vote(outcome, strength) {
  const task = current(); if (!task) return;
  const item = { id: uuid(), task_id: task.id, outcome, made_at: new Date().toISOString() };
  if (strength) item.strength = strength;
  const before = voted.get(task.id) || null;
  undos.push({ id: item.id, task, before });
  voted.set(task.id, item);
  if (outcome !== "skip") lastVote = item;
  if (progress && !before) { progress.open = Math.max(0, progress.open - 1); progress.voted += 1; }
  at += 1; moves += 1; if (outcome !== "skip") pace.mark(task.id, item.id); draw(); toTop(element);
  say(`${WORDS[outcome]}. ${current() ? "Next: " + firstWords(current()) : "End of the list."}`);
  outbox.push(item);
  if (queue.length - at < MORE_AT && !isEnd) more();
}
const firstWords = (task) => task.messages[task.messages.length - 1].content.slice(0, 120);
function undo() {
  const last = undos.pop(); if (!last) { draw(); return; }
  const task = last.task;
  if (last.before) voted.set(task.id, last.before); else voted.delete(task.id);
  if (progress && !last.before) { progress.open += 1; progress.voted -= 1; }
  if (lastVote && lastVote.task_id === task.id) lastVote = last.before;
  let where = queue.findIndex((t) => t.id === task.id);
  if (where < 0) { where = Math.min(at, queue.length); queue.splice(where, 0, task); wantTexts([task]); }
  at = where; moves += 1; pace.unmark(task.id, last.id); draw(); toTop(element);
  say(`Undone. Back at: ${firstWords(task)}`);
  outbox.push({ id: uuid(), task_id: task.id, outcome: "undo", undoes: last.id, made_at: new Date().toISOString() });
}
function step(by) {
  const next = at + by;
  if (next < 0 || next > queue.length) return;
  at = next; draw(); toTop(element);
  if (queue.length - at < MORE_AT && !isEnd) more();
}
function toggleRendered() {
  isRendered = !isRendered; remember("rendered", isRendered ? "yes" : "no");
  drawAnswers(); say(isRendered ? "Rendered text" : "Raw text");
}

/* ---- wiring ---- */
onKeys(element, (event, isCommand) => {
  if (help.open) return false;
  if (isCommand) { if (event.shiftKey) return false; undo(); return true; }
  const digit = /^(Digit|Numpad)([1-4])$/.exec(event.code);
  if (digit) {
    const outcome = ["left", "right", "tie", "both_bad"][Number(digit[2]) - 1];
    vote(outcome, event.shiftKey && Number(digit[2]) < 3 ? CLEARLY : null); return true;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const action = { s: () => vote("skip"), j: () => step(1), k: () => step(-1), m: toggleRendered, "?": openHelp }[key];
  if (!action) return false;
  action(); return true;
});
window.addEventListener("online", () => outbox && outbox.retryNow());
warnBeforeLeaving(element, () => Boolean(outbox && outbox.size));

function configure() {
  const next = props.value;
  if (!next || !next.workspace) return;
  const isOther = !outbox || outbox.user !== next.user || outbox.workspace !== next.workspace;
  config = next;
  if (!isOther) { lookAgain(); return; }
  if (outbox) outbox.close();
  undos = []; progress = null; lastVote = null; reveals.clear();
  const workspace = next.workspace, user = next.user;
  outbox = new Outbox({ mode: "prefer", user, workspace,
    send: (votes) => callApi(workspace, "prefer_vote", { votes, for_user: user }),
    onChange: () => drawTop(),
    onStored: (answer) => { for (const told of answer.reveals || []) reveals.set(told.task_id, told); drawLastVote(); countSoon(); } });
  load();
}
watch("value", configure);
configure();
