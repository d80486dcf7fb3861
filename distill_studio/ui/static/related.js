/* What lies beside a record: other answers to its prompt and its near-duplicates, asked for when
   they are opened, with the words that differ. Read after bench.js. */
function relatedBox(map) {
  const node = h("div", { class: "ds-related" }), count = h("span", {});
  const summary = h("summary", {}, "Beside it: other answers and near-duplicates ", count, " ");
  const box = h("details", { class: "ds-earlier" }, summary, node);
  summary.append(map.kbd("related"));
  let workspace = "", record = null, shownFor = "", isDiff = remembered("related-diff", "yes") === "yes";
  const percent = (similarity) => `${(100 * similarity).toFixed(1)}% alike`;
  function row(each, answer) {
    const text = h("div", { class: "ds-text ds-raw", dir: "auto" });
    if (isDiff) { text.classList.add("ds-diff"); drawDiff(text, answer, each.answer); } else setText(text, each.answer);
    const facts = [
      each.similarity === null ? "" : each.similarity === 1 ? "the same text" : percent(each.similarity),
      each.field && each.field !== "both" ? `by ${each.field}` : "",
      { pending: "not decided", accepted: "accepted", rejected: "rejected" }[each.status],
      each.judge_score === null ? "" : `judge ${Number(each.judge_score.toFixed(2))}`];
    return h("article", { class: "ds-related-row" },
      h("p", { class: "ds-label" }, facts.filter(Boolean).join(" · ")),
      each.similarity === null ? null : h("p", { class: "ds-text ds-raw ds-related-prompt", dir: "auto" }, each.prompt), text);
  }
  function draw(found) {
    const group = (title, rows, empty) => [h("h4", { class: "ds-label" }, title), ...(rows.length ? rows.map((each) => row(each, record.answer)) : [h("p", { class: "ds-note" }, empty)])];
    const near = found.is_compared ? "No near-duplicates were found." : "Near-duplicates have not been searched yet: Curate does it.";
    const turn = h("button", { type: "button", class: "ds-link", onclick: () => { isDiff = !isDiff; remember("related-diff", isDiff ? "yes" : "no"); draw(found).focus(); } }, isDiff ? "Show plain texts" : "Mark what differs");
    node.replaceChildren(turn,
      ...group("Other answers to this prompt", found.candidates, "There are none."), ...group("Near-duplicates", found.near, near));
    for (const text of node.querySelectorAll(".ds-text")) scrolls(text, "Text of this row");
    return turn;
  }
  async function fill() {
    if (!box.open || !record || shownFor === record.id) return;
    const mine = shownFor = record.id;
    setText(node, "Loading");
    try {
      const found = await callApi(workspace, "review_related", { pair_id: mine });
      if (shownFor === mine) draw(found);
    } catch (error) { if (shownFor === mine) { shownFor = ""; setText(node, error.message); } }
  }
  box.addEventListener("toggle", fill);
  return { box, toggle() { box.open = !box.open; },
    of(where, next) {
      const isSame = record && record.id === next.id;
      workspace = where; record = next;
      setText(count, next.candidates > 1 ? `(${plural(next.candidates - 1, "other answer")})` : "");
      if (isSame) return;
      shownFor = ""; node.replaceChildren(); fill();
    } };
}
