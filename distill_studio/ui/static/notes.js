/* A reviewer's note and tags on a record. Read after bench.js. */
const MOST_TAGS = 20, LONGEST_TAG = 60;
function noteBox(onSave, onClose) {
  const note = h("textarea", { rows: 2, "aria-label": "Note", placeholder: "A note, for yourself and whoever exports it", dir: "auto", spellcheck: "true" });
  const tags = h("input", { type: "text", "aria-label": "Tags, separated by commas", placeholder: "tags, separated by commas", list: "ds-known-tags" });
  const known = h("datalist", { id: "ds-known-tags" });
  const save = () => { const next = read(); if (next.note !== was.note || next.tags.join() !== was.tags.join()) onSave(next); onClose(); };
  const box = h("div", { class: "ds-editor ds-note-editor" }, h("h3", { class: "ds-label" }, "Note and tags"), note, tags, known,
    h("div", { class: "ds-acts" },
      h("button", { type: "button", class: "ds-act good", onclick: save }, h("span", {}, "Save note"), fixedKey("Ctrl+Enter")),
      h("button", { type: "button", class: "ds-act", onclick: () => onClose() }, h("span", {}, "Cancel"), fixedKey("Esc"))));
  let was = { note: "", tags: [] };
  function read() {
    const text = note.value.toWellFormed ? note.value.toWellFormed() : note.value;
    const split = tags.value.split(",").map((t) => t.trim().slice(0, LONGEST_TAG)).filter(Boolean);
    return { note: text.trim(), tags: [...new Set(split)].slice(0, MOST_TAGS) };
  }
  box.addEventListener("keydown", (event) => {
    const isSave = event.key === "Enter" && (event.ctrlKey || event.metaKey || event.target === tags);
    if (isSave) { event.preventDefault(); event.stopPropagation(); save(); }
    else if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); onClose(); }
  });
  return { box, isChanged: () => { const now = read(); return now.note !== was.note || now.tags.join() !== was.tags.join(); },
    open(here, knownTags) {
      was = { note: here.note, tags: [...here.tags] };
      note.value = here.note; tags.value = here.tags.join(", ");
      known.replaceChildren(...knownTags.map((tag) => h("option", { value: tag })));
      note.focus();
    } };
}
