/* Where a row went: the snapshots that hold it and the models that learned from it, asked of the
   studio when it is unfolded, drawn as text. Read after made.js, whose `askedBox` it uses. */
function learntBox() {
  const link = (workspace, tab, name, more) => h("a", { class: "ds-learnt-link", dir: "auto",
    href: `?${new URLSearchParams({ tab, workspace, ...more })}` }, name);
  const parts = { answer: "", chosen: ", as the better answer", rejected: ", as the worse answer" };
  const ways = { rows: "trained on it, in", base: "goes on from", teacher: "was taught by" };
  const list = (title, rows, empty) => [h("h4", { class: "ds-label" }, title),
    rows.length ? h("ul", { class: "ds-learnt-list" }, ...rows) : h("p", { class: "ds-note" }, empty)];
  function draw(node, found, workspace) {
    const snapshots = found.snapshots.map((one) => h("li", {}, link(workspace, "freeze", one.snapshot, {}),
      ` ${one.split === "train" ? "to train on" : "held out, to measure with"}${parts[one.part]}`));
    const run = (name) => link(workspace, "distill", name, { run: name });
    const models = found.models.map((one) => h("li", {}, run(one.run), " ",
      h("span", { class: "ds-chip info" }, one.method.toUpperCase()), one.state === "done" ? "" : h("span", { class: "ds-chip" }, one.state),
      ` ${ways[one.way]} `, one.way === "rows" ? link(workspace, "freeze", one.through, {}) : run(one.through)));
    const isTrained = found.snapshots.some((one) => one.split === "train");
    const none = isTrained ? "None yet: no run was started on these snapshots."
      : snapshots.length ? "None: it is held out, so models are only measured on it." : "None: what no snapshot holds is not trained on.";
    node.replaceChildren(...list("Snapshots that hold it", snapshots, "None yet: Freeze makes one of what is accepted."),
      ...list("Models that learned from it", models, none));
  }
  return askedBox("What learned from this row", "lineage_row", draw, "ds-learnt");
}
