/* "How this was made" of one answer: asked of the studio when it is unfolded, drawn as text.
   Read after bench.js, whose `h`, `setText` and `callApi` it uses. */
function drawMade(node, made) {
  const text = (words) => h("div", { class: "ds-text ds-raw", dir: "auto" }, words);
  const turn = (role, words) => h("div", { class: `ds-turn ${role}` }, h("span", { class: "ds-role" }, role), text(words));
  const facts = [["Recipe", `${made.recipe}${made.version ? `, version ${made.version}` : ""}`], ["Teacher", made.teacher]];
  if (made.judge_score !== null) facts.push(["Judged", String(Number(made.judge_score.toFixed(3)))]);
  if (made.from_prompt) facts.push(["Made from the seed", made.from_prompt]);
  facts.push(...made.facts);
  node.replaceChildren(
    h("dl", { class: "ds-made-facts" }, ...facts.flatMap(([name, words]) => [h("dt", {}, name), h("dd", { dir: "auto" }, words)])),
    made.steps.length
      ? h("p", { class: "ds-note" }, `${plural(made.steps.length, "request")} for this seed, in the order in which replies came`)
      : h("p", { class: "ds-note" }, "One request: the prompt as it stands here."),
    ...made.steps.map((each) => h("details", { class: "ds-made-step" },
      h("summary", {}, h("code", {}, each.step), " ", h("span", { class: "ds-chip" }, each.teacher)),
      ...each.sent.map((m) => turn(m.role, m.content)), turn("reply", each.reply))));
}
const fillMade = (box, node, workspace, id) => fillAsked(box, node, workspace, id, "generate_made", drawMade);
async function fillAsked(box, node, workspace, id, operation, draw) {
  if (!box.open || box.dsMade === id) return;
  box.dsMade = id; setText(node, "Loading");
  try {
    const found = await callApi(workspace, operation, { pair_id: id });
    if (box.dsMade === id) draw(node, found, workspace);
  } catch (error) { if (box.dsMade === id) { box.dsMade = ""; setText(node, error.message); } }
}
const madeBox = () => askedBox("How this was made", "generate_made", drawMade, "ds-made");
/* A block that is asked of the studio each time it is unfolded, of the record in view. */
function askedBox(title, operation, draw, name) {
  const node = h("div", { class: name });
  const box = h("details", { class: "ds-earlier" }, h("summary", {}, title), node);
  let workspace = "", id = "";
  box.addEventListener("toggle", () => { if (box.open) fillAsked(box, node, workspace, id, operation, draw); else box.dsMade = ""; });
  return { box, of(where, pair) {
    if (pair === id && where === workspace) return;
    workspace = where; id = pair; box.open = false; box.dsMade = ""; node.replaceChildren();
  } };
}
