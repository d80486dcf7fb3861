/* The preference bench: two answers, or three and more to rank (rank.js), blind. The server chose and stored the sides before it sent
   them, and sends nothing that tells them apart; who stood where arrives after the vote.
   `props.value` is {workspace, user, rules, guidelines, reasons, order, shows, nonce}; a new nonce
   looks again; `shows` is pairs or rankings, one queue for both kinds. The order holds for comparisons that are made from now on: those at hand come first.
   Comparisons are leased to this page; an adjudicator can turn to those whose voters are even. */
const MORE_AT = 15, POLL_MS = 5000, MOST_RANKINGS = 10;
const keys = new Keymap("prefer", [["left", "1", "Left is better"], ["right", "2", "Right is better"], ["tie", "3", "Tie"],
  ["both_bad", "4", "Both are bad"], ["skip", "s", "Skip"], ["next", "j", "Next comparison"], ["previous", "k", "Previous comparison"],
  ["why", "w", "Say why, of the last vote"], ["diff", "d", "Mark what differs"], ["raw", "m", "Rendered or raw text"], ["guide", "g", "Show or hide the guidelines"], ...RANK_KEYS]);
const FIXED_KEYS = [["Shift", "with left or right: clearly better"], ...RANK_FIXED, ["Ctrl+Z", "Undo, also after a reload"], ["?", "This list"]];
const CLEARLY = 3, STRENGTHS = [[1, "slightly"], [2, "better"], [CLEARLY, "clearly"]];

let config = null, outbox = null, progress = null, steadiness = null;
let queue = [], at = 0, cursor = "", isLoading = false, isEnd = false, undos = [], generation = 0, loadTrouble = "";
const voted = new Map(), reveals = new Map(), undone = new Map();  // undone: rankings taken back, to be mended
let lastTask = null, moves = 0, countTimer = 0;  // votes and undos of this page; the numbers are asked for when it rests
const pace = new Pace();
let orderAfter = "";  // the last comparison of the order before
let lastVote = null, isAskingWhy = false, isDiff = false, isRendered = remembered("rendered", "yes") === "yes";

/* ---- the page ---- */
const ui = {};
function make(name, tag, attributes, ...children) { ui[name] = h(tag, attributes, ...children); return ui[name]; }
const saving = saveState("vote");
const help = keyHelp(keys, FIXED_KEYS), guide = guideBox(keys);
let isSettling = false;
const ranker = new Ranker(keys, { save: (outcome, ranks) => vote(outcome, null, ranks), say: (text) => say(text) });
const isRanking = (task) => Boolean(task && task.answers);
function side(name, label) {
  const choose = h("button", { type: "button", onclick: (event) => vote(name, event.shiftKey ? CLEARLY : null) }, h("span", {}, `${label} is better`));
  choose.append(keys.kbd(name, choose));
  return h("section", { class: "ds-side", "aria-label": label }, choose,
    make(`${name}Cut`, "span", { class: "ds-chip warn ds-cut", hidden: true }, "Cut off at the token limit"),
    make(`${name}Pane`, "div", { class: "ds-pane", tabindex: "0", role: "group", "aria-label": `${label} answer` }, make(name, "div", { class: "ds-text", dir: "auto" })));
}
const ofTwo = [
  keys.button("left", "Left", "good", (e) => vote("left", e.shiftKey ? CLEARLY : null)),
  keys.button("right", "Right", "good", (e) => vote("right", e.shiftKey ? CLEARLY : null)),
  keys.button("tie", "Tie", "", () => vote("tie")), keys.button("both_bad", "Both bad", "bad", () => vote("both_bad"))];
const strengths = STRENGTHS.map(([strength, word]) => ({ strength, node: h("button", { type: "button", class: "ds-link", onclick: () => amend({ strength }) }, word) }));
const whyText = h("span", {}), whyButton = h("button", { type: "button", class: "ds-link", onclick: () => askWhy() }, whyText, " ");
whyButton.append(keys.kbd("why", whyButton));
element.replaceChildren(h("section", { class: "ds-bench", "aria-label": "Compare" },
  h("div", { class: "ds-bench-top" },
    make("left_count", "strong", { class: "ds-left" }), make("pace", "span", { class: "ds-pace" }),
    make("settle", "button", { type: "button", class: "ds-link", hidden: true, onclick: () => { isSettling = !isSettling; load(); } }), saving.nodes[0],
    h("button", { type: "button", class: "ds-link", onclick: () => openHelp() }, "Keys ", fixedKey("?"))),
  make("lastVote", "div", { class: "ds-lastvote" }, make("told", "span", {}), make("more", "span", { class: "ds-more" }, ...strengths.map((s) => s.node), whyButton)), saving.nodes[1],
  make("why", "div", { class: "ds-reasons", tabindex: "-1", role: "group", "aria-label": "Why" }),
  guide.frame(make("card", "article", { class: "ds-card ds-record", tabindex: "-1", "aria-label": "Comparison" },
    h("div", { class: "ds-label-row ds-first" }, h("h3", { class: "ds-label" }, "Prompt"),
      make("status", "span", { class: "ds-chip good" }),
      make("diffToggle", "button", { type: "button", class: "ds-link", onclick: () => toggleDiff() }),
      make("toggle", "button", { type: "button", class: "ds-link", onclick: () => toggleRendered() })),
    make("prompt", "div", { class: "ds-conversation" }),
    make("sides", "div", { class: "ds-sides" }, side("left", "Left"), side("right", "Right")), ranker.hint, ranker.list)),
  make("empty", "div", { class: "ds-empty", tabindex: "-1" }),
  make("actions", "div", { class: "ds-acts ds-main-acts", role: "group", "aria-label": "Vote" },
    ...ofTwo, ...ranker.buttons,
    keys.button("skip", "Skip", "", () => vote("skip")),
    make("undo", "button", { type: "button", class: "ds-act ds-undo", onclick: () => undo(), "aria-keyshortcuts": "Control+Z" }, h("span", {}, "Undo"), fixedKey("Ctrl+Z")),
    h("span", { class: "ds-step" }, stepButton(keys, "previous", "Previous comparison", "←", () => step(-1)), stepButton(keys, "next", "Next comparison", "→", () => step(1)))),
  make("said", "div", { class: "ds-sr", role: "status", "aria-live": "polite" }), make("saidOfLast", "div", { class: "ds-sr", role: "status" }), help));
show(ui.card, false); show(ui.actions, false); setText(ui.empty, "Loading");  // until there is a list
const renderer = new Renderer(() => drawAnswers());
keys.drawn.push(() => drawAnswers());  // its links name keys
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
const wordOf = (item, task) => item.outcome === "rank" ? "Ranked" : item.outcome === "both_bad" && isRanking(task) ? "All bad" : WORDS[item.outcome];
function draw() { keepFocus(element, drawAll, ui.card, ui.empty); }
function drawAll() {
  const task = current();
  show(ui.card, Boolean(task)); show(ui.empty, !task); show(ui.actions, Boolean(task) || undos.length > 0);
  for (const node of ui.actions.children) if (node !== ui.undo) show(node, Boolean(task));
  const isRank = isRanking(task);
  for (const node of [ui.sides, ui.diffToggle, ...ofTwo]) show(node, Boolean(task) && !isRank);
  for (const node of [ranker.list, ranker.hint, ...ranker.buttons]) show(node, isRank);
  ui.undo.disabled = !undos.length;
  drawTop(); drawLastVote();
  if (!task) { drawEmpty(); return; }
  const here = voted.get(task.id);
  show(ui.status, Boolean(here)); if (here) setText(ui.status, `Your vote: ${wordOf(here, task)}`);
  drawConversation(ui.prompt, task.messages);
  if (isRank) ranker.show(task, (here || undone.get(task.id) || {}).ranks || []); else ranker.forget();
  drawAnswers();
  ui.leftPane.scrollTop = 0; ui.rightPane.scrollTop = 0;
}
function drawAnswers() {
  const task = current(); if (!task) return;
  if (isRanking(task)) ranker.drawTexts(renderer, isRendered);
  else if (isDiff) drawBoth(task);
  else { drawText(ui.left, task.left, renderer, isRendered); drawText(ui.right, task.right, renderer, isRendered); }
  show(ui.leftCut, task.is_left_cut); show(ui.rightCut, task.is_right_cut);
  show(ui.toggle, !isDiff || isRanking(task));
  setText(ui.toggle, (isRendered ? "Show raw" : "Show rendered") + keys.hint("raw"));
  setText(ui.diffToggle, (isDiff ? "Show plain" : "Mark what differs") + keys.hint("diff"));
}
function drawBoth(task) {  // the words of each side that the other one lacks
  if (ui.left.dsText === null && ui.left.dsTask === task.id) return;
  const parts = wordDiff(task.left, task.right);
  for (const [pane, own, tag] of [[ui.left, "gone", "del"], [ui.right, "new", "ins"]]) {
    pane.dsText = null; pane.dsTask = task.id; pane.className = "ds-text ds-raw ds-diff";
    pane.replaceChildren(...parts.filter((p) => p.kind === "same" || p.kind === own).map((p) => p.kind === "same" ? document.createTextNode(p.text) : h(tag, {}, p.text)));
  }
}
function drawTop() {
  if (outbox) saving.draw(outbox);
  if (!progress) { setText(ui.left_count, ""); return; }
  const left = progress[showsRankings() ? "rankings" : "open"], toDo = showsRankings() ? "to rank" : "to compare";
  setText(ui.left_count, left ? `${left.toLocaleString()} ${toDo}` : `Nothing left ${toDo}`);
  show(ui.settle, config.rules.may_settle && (isSettling || progress.disputed > 0));
  setText(ui.settle, isSettling ? "Back to comparing" : `Settle ${plural(progress.disputed, "tie")}`);
  if (isSettling) setText(ui.left_count, `${plural(progress.disputed, "tie")} to settle: your vote is final`);
  const parts = [pace.done ? pace.text(left).replaceAll("decision", "vote") : `${plural(progress.voted, "vote")} by you, ${plural(progress.wins, "preference")} with a winner`];
  if (steadiness && steadiness.tasks >= 3) parts.push(`you agreed with yourself on ${steadiness.same} of ${steadiness.repeats} repeats`);
  const ready = isSettling ? 0 : queue.slice(at).filter((t) => t.id <= orderAfter).length;
  if (ready) parts.push(`new order after ${ready} more`);
  setText(ui.pace, parts.join(" · "));
}
function drawLastVote() {  // in place: the button that was pressed keeps the focus
  const told = lastVote && reveals.get(lastVote.task_id);
  const isWin = Boolean(told) && (lastVote.outcome === "left" || lastVote.outcome === "right");
  keepFocus(element, () => { show(ui.why, Boolean(told) && isAskingWhy); show(ui.more, Boolean(told)); strengths.forEach((s) => show(s.node, isWin)); }, whyButton, ui.card, ui.empty);
  if (!told) { setText(ui.told, ""); return; }
  for (const s of strengths) s.node.setAttribute("aria-pressed", String(lastVote.strength === s.strength));
  setText(whyText, lastVote.reason ? `Why: ${lastVote.reason}` : "Why?");
  whyButton.setAttribute("aria-expanded", String(isAskingWhy));
  const words = placesOf(told).map(([place, a]) => `${place} was ${a.teacher}, ${plural(a.words, "word")}`).join("; ");
  setText(ui.told, `Last vote, ${lastVote.ranks ? `ranks ${lastVote.ranks.join(", ")}` : wordOf(lastVote, lastTask).toLowerCase()}: ${words}.`);
}
const placesOf = (told) => told.answers ? told.answers.map((a, n) => [`${n + 1}`, a]) : [["left", told.left], ["right", told.right]];
/* Who stood where is spoken when it arrives, beside what `say` said of the vote itself. */
function reveal(told) {
  reveals.set(told.task_id, told);
  if (lastVote && lastVote.task_id === told.task_id) setText(ui.saidOfLast, `Last vote: ${placesOf(told).map(([place, a]) => `${place} was ${a.teacher}`).join(", ")}.`);
}
function drawEmpty() {
  const go = (tab, label) => h("button", { type: "button", class: "ds-act primary", onclick: () => openTab(tab) }, label);
  const again = h("button", { type: "button", class: "ds-act", onclick: () => load() }, "Look again");
  let title = "Loading", text = "", buttons = [];
  if (loadTrouble) { title = "The comparisons could not be loaded"; text = loadTrouble; buttons = [again]; }
  else if (isEnd && progress && showsRankings() && !progress.rankable) { title = "No prompt has three answers to rank"; text = "Ask for three or more answers to each prompt with the recipe “best of n candidates”, or compare two at a time."; buttons = [go("generate", "Generate best of n")]; }
  else if (isEnd && showsRankings()) { title = "Everything is ranked"; text = "Prompts with two answers left can be compared two at a time."; buttons = [again, go("freeze", "Freeze a snapshot")]; }
  else if (isEnd && progress && !progress.candidates) { title = "No answers with two candidates yet"; text = "Ask for several answers to each prompt with the recipe “best of n candidates”. Rejected and filtered answers do not come up here."; buttons = [go("generate", "Generate best of n")]; }
  else if (isEnd) { title = "Everything is compared"; text = "New candidates appear here by themselves. Comparisons you skipped come back when you look again."; buttons = [again, go("freeze", "Freeze a snapshot")]; }
  const shown = [title, text, buttons.length].join("\n");
  if (ui.empty.dsShown === shown) return;  // a button in it keeps the focus
  ui.empty.dsShown = shown;
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
  await more(true);
  refreshProgress(); loadUndos(mine);
}
const ranksOf = (vote) => vote.ranks.length ? vote.ranks : undefined;
const showsRankings = () => config.shows === "rankings" && !isSettling, slotOf = (task) => isRanking(task) ? "rankings" : "open";
const batch = () => Math.min(config.rules.batch, showsRankings() ? MOST_RANKINGS : 200), moreAt = () => Math.min(MORE_AT, batch() / 2);
const fetchAfter = (id, isFresh) => isSettling
  ? callApi(config.workspace, "prefer_ties", { after: id, limit: batch() })
  : showsRankings() ? callApi(config.workspace, "prefer_rank_queue", { after: id, limit: batch(), fresh: Boolean(isFresh), order: ["random", "informative"].includes(config.order) ? "random" : "" })
  : callApi(config.workspace, "prefer_queue", { after: id, limit: batch(), fresh: Boolean(isFresh), order: config.order });
const wantTexts = (tasks) => renderer.want(tasks.flatMap((t) => t.answers ? t.answers.map((a) => a.text) : [t.left, t.right]));
function unknown(found, here) {
  const known = new Set(here.map((t) => t.id));
  return found.filter((t) => !known.has(t.id) && !voted.has(t.id));
}
function setEnd(found, from) { cursor = found.length ? found[found.length - 1].id : from; isEnd = found.length < batch(); loadTrouble = ""; }
async function more(isFresh) {
  if (isLoading || !config) return;
  isLoading = true;
  const mine = generation;
  try {
    const found = await fetchAfter(cursor, isFresh);
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
    const found = await callApi(config.workspace, "prefer_progress", {});
    if (progress && (seen !== moves || outbox.size)) return;  // counted before what was done since
    progress = found;
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
    const isUndone = new Set(outbox.items.filter((i) => i.outcome === "undo").map((i) => i.undoes));
    const listed = found.reverse().filter((u) => !isUndone.has(u.id)).map((u) => ({ id: u.id, task: u.task, outcome: u.outcome, before: u.before && { ...u.before, task_id: u.task.id, ranks: ranksOf(u.before) }, ranks: ranksOf(u) }));
    undos = mergeUndos(undos, listed, before, new Set(outbox.items.map((i) => i.id)));
    ui.undo.disabled = !undos.length;
  } catch (_) { /* undo of this page's votes works all the same */ }
}
async function lookAgain() {  // the tab was opened again: keep the place and what lies behind it
  if (!queue.length) { load(); return; }
  const mine = ++generation, start = current(), from = start ? start.id : "";  // what is on its way belongs to the old list
  if (!start) for (const [id, item] of voted) if (item.outcome === "skip") voted.delete(id);  // skipped ones come again
  isLoading = true;
  try {
    const found = await fetchAfter(from);
    if (mine !== generation) return;
    const here = current();  // a key may have moved on by now
    const fresh = unknown(found, start ? queue.slice(0, at + 1) : []), again = new Set(fresh.map((r) => r.id));
    const kept = start ? queue.slice(0, at + 1) : queue.filter((r) => !again.has(r.id));
    queue = kept.concat(fresh); setEnd(found, from); wantTexts(fresh);
    const place = here ? queue.findIndex((r) => r.id === here.id) : kept.length;
    at = place < 0 ? kept.length : place;
    if (current() !== here) draw();
  } catch (_) { /* the list stays as it was */ } finally { if (mine === generation) isLoading = false; }
  if (mine === generation) { refreshProgress(); loadUndos(mine); }
}
const poll = setInterval(() => {
  if (!element.isConnected) { clearInterval(poll); return; }
  if (config && element.offsetParent !== null && document.visibilityState === "visible" && isEnd && queue.length - at < moreAt()) more();
}, POLL_MS);
keepLeases(element,
  () => ({ ids: config && !isSettling ? queue.filter((t) => !voted.has(t.id)).map((t) => t.id) : [], renew_s: config && config.rules.renew_s }),
  (ids) => callApi(config.workspace, "prefer_renew", { ids }),
  (lost) => { const here = current(); queue = queue.filter((t) => t === here || !lost.has(t.id) || voted.has(t.id)); at = here ? queue.indexOf(here) : queue.length; });

/* ---- voting ---- */
function vote(outcome, strength, ranks) {
  const task = current(); if (!task) return;
  const item = { id: uuid(), task_id: task.id, outcome, made_at: new Date().toISOString() };
  if (strength) item.strength = strength;
  if (ranks) item.ranks = ranks;
  const before = voted.get(task.id) || null;
  undos.push({ id: item.id, task, outcome, before, ranks });
  voted.set(task.id, item);
  isAskingWhy = false;
  if (outcome !== "skip") { lastVote = item; lastTask = task; }
  recount(task, before, item);
  at += 1; moves += 1; if (outcome !== "skip") pace.mark(task.id, item.id); draw(); toTop(element);
  say(`${wordOf(item, task)}. ${current() ? "Next: " + firstWords(current()) : "End of the list."}`);
  outbox.push(item);
  if (queue.length - at < moreAt() && !isEnd) more();
}
function recount(task, was, is) {  // a skipped one is still to do
  const done = (item) => (item && item.outcome !== "skip" ? 1 : 0);
  if (progress) { progress[slotOf(task)] = Math.max(0, progress[slotOf(task)] + done(was) - done(is)); progress.voted += (is ? 1 : 0) - (was ? 1 : 0); }
}
const firstWords = (task) => task.messages[task.messages.length - 1].content.slice(0, 120);
function undo() {
  const last = undos.pop(); if (!last) { draw(); return; }
  const task = last.task, now = voted.get(task.id) || { outcome: last.outcome };
  if (last.before) voted.set(task.id, last.before); else voted.delete(task.id);
  if (last.ranks) undone.set(task.id, last);
  recount(task, now, last.before);
  if (lastVote && lastVote.task_id === task.id) lastVote = last.before && last.before.outcome !== "skip" ? last.before : null;
  let where = queue.findIndex((t) => t.id === task.id);
  if (where < 0) { where = Math.min(at, queue.length); queue.splice(where, 0, task); wantTexts([task]); }
  at = where; moves += 1; isAskingWhy = false; pace.unmark(task.id, last.id); draw(); toTop(element);
  say(`Undone${last.before ? `, your vote is ${wordOf(last.before, task)} again` : ""}. Back at: ${firstWords(task)}`);
  outbox.push({ id: uuid(), task_id: task.id, outcome: "undo", undoes: last.id, made_at: new Date().toISOString() });
}
/* The last vote once more, with how clearly or why: the newest vote on a comparison counts. */
function amend(more) {
  if (!lastVote) return;
  const { strength, reason } = { strength: lastVote.strength, reason: lastVote.reason, ...more };
  const item = { id: uuid(), task_id: lastVote.task_id, outcome: lastVote.outcome, made_at: new Date().toISOString() };
  if (lastVote.ranks) item.ranks = lastVote.ranks;
  if (strength) item.strength = strength;
  if (reason) item.reason = reason;
  undos.push({ id: item.id, task: lastTask, outcome: item.outcome, before: lastVote, ranks: lastVote.ranks });
  voted.set(item.task_id, item); lastVote = item; isAskingWhy = false; moves += 1;
  draw(); say("Vote changed."); outbox.push(item);
}
function askWhy() {
  if (!lastVote || !reveals.has(lastVote.task_id)) return;
  const wasInside = element.contains(document.activeElement);
  isAskingWhy = !isAskingWhy;
  const words = keys.isOff ? "Why?" : "Why? Press a digit.";
  if (isAskingWhy) ui.why.replaceChildren(h("p", {}, words), h("div", { class: "ds-acts" },
    ...config.reasons.map((reason, n) => keys.digit(n + 1, reason, "", () => amend({ reason }))),
    h("button", { type: "button", class: "ds-act", onclick: () => askWhy() }, fixedKey("Esc"), h("span", {}, "Back"))));
  drawLastVote();
  if (isAskingWhy && wasInside) ui.why.focus({ preventScroll: true });
  if (isAskingWhy) say(words);
}
function toggleDiff() {
  isDiff = !isDiff; ui.left.dsTask = ui.right.dsTask = null;
  drawAnswers(); say(isDiff ? "What differs is marked" : "Plain answers");
}
function step(by) {
  const next = at + by;
  if (next < 0 || next > queue.length) return;
  at = next; draw(); toTop(element);
  if (queue.length - at < moreAt() && !isEnd) more();
}
function toggleRendered() {
  isRendered = !isRendered; remember("rendered", isRendered ? "yes" : "no");
  drawAnswers(); say(isRendered ? "Rendered text" : "Raw text");
}

/* ---- wiring ---- */
const OF_RANKINGS = new Set(["tie_next", "alike", "all_bad"]), NOT_OF_RANKINGS = new Set(["left", "right", "tie", "both_bad", "diff"]);
const DOES = { tie_next: () => ranker.tie(), alike: () => vote("rank", null, current().answers.map(() => 1)), all_bad: () => vote("both_bad"), guide: guide.toggle, next: () => step(1), previous: () => step(-1), why: askWhy, diff: toggleDiff, raw: toggleRendered };
onKeys(element, keys, (event, isCommand) => {
  if (help.open) return false;
  if (isCommand) { if (event.shiftKey || event.key.toLowerCase() !== "z") return false; undo(); return true; }
  if (event.key === "?") { openHelp(); return true; }
  const key = keyOf(event);  // Shift+1 is no "1" on any keyboard
  if (isAskingWhy) {
    if (key === "Escape") { askWhy(); return true; }
    const reason = config.reasons[Number(key) - 1];
    if (reason) { amend({ reason }); return true; }
  }
  const action = keys.actionOf(key), isRank = isRanking(current());
  if (isRank && ranker.onKey(key)) return true;
  if (!action || (isRank ? NOT_OF_RANKINGS : OF_RANKINGS).has(action)) return false;
  if (DOES[action]) DOES[action](); else vote(action, event.shiftKey && (action === "left" || action === "right") ? CLEARLY : null);
  return true;
});
window.addEventListener("online", () => outbox && outbox.retryNow());
warnBeforeLeaving(element, () => Boolean(outbox && outbox.size));

function configure() {
  const next = props.value;
  if (!next || !next.workspace) return;
  const isOther = !outbox || outbox.user !== next.user || outbox.workspace !== next.workspace;
  const isReordered = !isOther && config.order !== next.order, isTurned = !isOther && config.shows !== next.shows;
  config = next; guide.draw(next); keys.redraw();
  orderAfter = isReordered && current() ? queue[queue.length - 1].id : isReordered || isOther ? "" : orderAfter;
  if (!isOther) { if (isTurned) { isSettling = false; load(); } else lookAgain(); return; }
  if (outbox) outbox.close();
  undos = []; progress = null; lastVote = lastTask = null; isSettling = isAskingWhy = false; reveals.clear();
  const workspace = next.workspace, user = next.user;
  outbox = new Outbox({ mode: "prefer", user, workspace,
    send: (votes) => callApi(workspace, "prefer_vote", { votes, for_user: user }),
    onChange: () => drawTop(),
    onStored: (answer) => { for (const told of [...(answer.reveals || []), ...(answer.ranked || [])]) reveal(told); drawLastVote(); countSoon(); } });
  load();
}
watch("value", configure);
configure();
