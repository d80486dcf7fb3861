/* The reject reasons of a workspace: a dialog, one reason a line. Read after bench.js. */
function reasonsDialog(workspace, reasons, onDone) {
  const text = h("textarea", { rows: 9, "aria-label": "Reasons, one a line" }), said = h("p", { role: "status" });
  text.value = reasons.join("\n");
  const save = async (lines) => {
    try {
      const stored = await callApi(workspace, "review_set_reasons", { chosen: lines });
      dialog.close(); onDone(stored);
    } catch (error) { setText(said, error.message); }
  };
  const dialog = h("dialog", { class: "ds-keys", "aria-label": "Reasons for rejecting" },
    h("h3", {}, "Reasons for rejecting"), h("p", {}, "One a line, nine at most: the digit keys, in this order, for everybody in this workspace."),
    h("div", { class: "ds-editor" }, text), said,
    h("div", { class: "ds-acts" },
      h("button", { type: "button", class: "ds-act good", onclick: () => save(text.value.split("\n")) }, "Save reasons"),
      h("button", { type: "button", class: "ds-act", onclick: () => dialog.close() }, "Cancel"),
      h("button", { type: "button", class: "ds-link", onclick: () => save([]) }, "Standard reasons")));
  dialog.addEventListener("close", () => dialog.remove());
  element.firstElementChild.append(dialog);
  dialog.showModal();
}
