/* The latest answers of a generation: the server's list, in which each "How this was made" is
   filled when it is unfolded. What is open stays open when the list is drawn anew. */
const opened = new Map();  // pair id -> the filled block
element.addEventListener("toggle", (event) => {
  const box = event.target.closest("details[data-made]");
  if (!box || box !== event.target) return;
  const id = box.dataset.made, node = box.lastElementChild;
  if (!box.open) { opened.delete(id); return; }
  opened.set(id, node);
  fillMade(box, node, box.dataset.workspace, id);
}, true);
const redrawn = new MutationObserver(() => {
  for (const box of element.querySelectorAll("details[data-made]")) {
    const known = opened.get(box.dataset.made);
    if (!known || box.contains(known)) continue;
    box.lastElementChild.replaceWith(known); box.dsMade = box.dataset.made; box.open = true;
  }
});
redrawn.observe(element, { childList: true, subtree: true });
