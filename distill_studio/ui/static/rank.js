/* Three or more answers in order, on the preference bench: the digits from the best down, T before a
   digit for a tie with the one before. Read after bench.js and keys.js. What is not placed when the
   ranking is saved shares the last rank. `save(ranks)` gets the ranks in the order shown. */
const RANK_KEYS = [["tie_next", "t", "Ranking: the next one ties with the one before"], ["alike", "a", "Ranking: all alike"],
  ["all_bad", "b", "Ranking: all are bad"]];
const RANK_FIXED = [["1 2 3", "Ranking: answers from the best down; again takes one off"],
  ["Enter", "Ranking: save; what is left shares the last rank"], ["Backspace", "Ranking: take the last one off"]];

class Ranker {
  constructor(keys, { save, say }) {
    Object.assign(this, { keys, save, say });
    this.task = null; this.order = []; this.isTying = false;  // order: places in groups, best first
    this.list = h("div", { class: "ds-sides ds-ranked" });
    this.hint = h("p", { class: "ds-rank-hint" });
    this.tieButton = keys.button("tie_next", "Tie next", "", () => this.tie());
    this.tieButton.title = "The next one ties with the one before";
    this.saveButton = h("button", { type: "button", class: "ds-act good", onclick: () => this.enter(), "aria-keyshortcuts": "Enter" }, h("span", {}, "Save ranking"), fixedKey("Enter"));
    this.buttons = [this.saveButton, this.tieButton,
      keys.button("alike", "All alike", "", () => save("rank", this.task.answers.map(() => 1)))];
    this.badButton = keys.button("all_bad", "All bad", "bad", () => save("both_bad"));
    this.buttons.push(this.badButton);
  }
  show(task, ranks) {  // another task, with the ranks it was given before
    if (this.task && task && this.task.id === task.id) return;
    this.task = task; this.isTying = false; this.order = [];
    for (let rank = 1; rank <= Math.max(0, ...ranks); rank++) {
      const group = ranks.flatMap((r, n) => (r === rank ? [n] : []));
      if (group.length) this.order.push(group);
    }
    this.rows = task ? task.answers.map((answer, n) => this._row(answer, n)) : [];
    this.list.replaceChildren(...this.rows.map((row) => row.node));
    this.list.dataset.many = String(this.rows.length);
    this._mark();
  }
  forget() { this.task = null; }
  drawTexts(renderer, isRendered) { if (this.task) this.rows.forEach((row, n) => drawText(row.text, this.task.answers[n].text, renderer, isRendered)); }
  rankOf(n) { const group = this.order.findIndex((g) => g.includes(n)); return group < 0 ? 0 : group + 1; }
  get left() { return this.task.answers.map((_, n) => n).filter((n) => !this.rankOf(n)); }
  place(n) {
    if (n >= this.task.answers.length) return false;
    if (this.rankOf(n)) this._off(n);
    else if (this.isTying && this.order.length) this.order[this.order.length - 1].push(n);
    else this.order.push([n]);
    this.isTying = false; this._mark();
    this.say(this.rankOf(n) ? `Answer ${n + 1} is ${this._word(n)}.` : `Answer ${n + 1} is taken off.`);
    return true;
  }
  tie() { if (!this.order.length) { this.say(this.keys.isOff ? "Choose the best answer first." : "Press the digit of the best answer first."); return; } this.isTying = !this.isTying; this._mark(); this.say(this.isTying ? "The next one ties with the one before." : "No tie."); }
  back() { const last = this.order[this.order.length - 1]; if (last) { this.place(last[last.length - 1]); } }
  clear() { this.order = []; this.isTying = false; this._mark(); this.say("Nothing is placed."); }
  enter() {
    if (!this.order.length) { this.say(this.keys.isOff ? "Choose the best answer first." : "Press the digit of the best answer first."); return; }
    const rest = this.order.length + 1;
    this.save("rank", this.task.answers.map((_, n) => this.rankOf(n) || rest));
  }
  onKey(key) {  // true when the key was ours
    if (/^[1-9]$/.test(key)) return this.place(Number(key) - 1);
    if (key === "Enter") this.enter(); else if (key === "Backspace") this.back(); else if (key === "Escape") this.clear(); else return false;
    return true;
  }
  _off(n) { this.order = this.order.map((g) => g.filter((each) => each !== n)).filter((g) => g.length); }
  _word(n) {
    const rank = this.rankOf(n), shared = this.order[rank - 1].length > 1;
    return `${rank === 1 ? "best" : ["", "", "2nd", "3rd"][rank] || `${rank}th`}${shared ? ", tied" : ""}`;
  }
  _row(answer, n) {
    const rank = h("span", { class: "ds-chip" }), text = h("div", { class: "ds-text", dir: "auto" });
    const isOff = this.keys.isOff;
    const choose = h("button", { type: "button", onclick: () => this.place(n), "aria-keyshortcuts": isOff ? null : String(n + 1) },
      h("span", {}, `Answer ${n + 1}`), rank, isOff ? null : h("kbd", { "aria-hidden": "true" }, String(n + 1)));
    const node = h("section", { class: "ds-side", "aria-label": `Answer ${n + 1}` }, choose,
      answer.is_cut ? h("span", { class: "ds-chip warn ds-cut" }, "Cut off at the token limit") : null,
      h("div", { class: "ds-pane", tabindex: "0", role: "group", "aria-label": `Text of answer ${n + 1}` }, text));
    return { node, choose, rank, text };
  }
  _mark() {
    this.rows.forEach((row, n) => {
      const isPlaced = this.rankOf(n) > 0;
      row.choose.setAttribute("aria-pressed", String(isPlaced));
      row.node.classList.toggle("is-placed", isPlaced);
      row.rank.classList.toggle("good", this.rankOf(n) === 1);
      show(row.rank, isPlaced); if (isPlaced) setText(row.rank, this._word(n));
    });
    this.tieButton.setAttribute("aria-pressed", String(this.isTying));
    this.tieButton.disabled = !this.order.length; this.saveButton.disabled = !this.order.length;
    if (!this.task) return;
    const left = this.left.map((n) => n + 1);
    setText(this.hint, !this.order.length ? "Which is best, which comes next? " + (this.keys.isOff ? "Choose from the best down." : "Press the digits from the best down.")
      : !left.length ? "All are placed."
      : this.isTying ? `Which one ties with answer ${this.order[this.order.length - 1].map((n) => n + 1).join(" and ")}?`
      : left.length === 1 ? `Answer ${left[0]} is last.` : `Not placed yet: ${left.join(", ")}. Saved now, they share the last rank.`);
  }
}
