/* What the benches know of the other people: guidelines beside the task, and leases of the records
   that were handed to this page. */

/* Guidelines beside the task: open or closed as the person left them; a new version opens them. */
function guideBox(keys) {
  const text = h("div", { class: "ds-text ds-rendered" }), version = h("span", { class: "ds-note" });
  const box = h("details", { class: "ds-card ds-guide", "aria-label": "Guidelines" },
    h("summary", {}, h("strong", {}, "Guidelines"), version, keys.kbd("guide")), text);
  const frame = h("div", { class: "ds-with-guide" });
  let shown = "", key = "", card = null;
  /* Read in the order in which it stands: above the task, or after it where it has a column of its own. */
  const isWide = window.matchMedia("(min-width: 1000px)");
  function place() {
    const isBeside = box.open && !box.hidden && isWide.matches;
    frame.classList.toggle("is-guided", isBeside);
    if (!card || frame.lastChild === (isBeside ? box : card)) return;
    const had = box.contains(document.activeElement);
    if (isBeside) frame.append(box); else frame.prepend(box);
    if (had) box.firstElementChild.focus({ preventScroll: true });
  }
  isWide.addEventListener("change", place);
  box.addEventListener("toggle", () => {
    place();
    if (key) remember(key, box.open ? "open" : "closed");
  });
  return {
    frame(task) { card = task; frame.append(box, card); return frame; },
    toggle() { if (!box.hidden) box.open = !box.open; },
    draw(config) {  // the HTML is the server's (safe_markdown)
      const guide = config.guidelines || {}, id = `${config.workspace}/${guide.version || 0}`;
      show(box, Boolean(guide.html));
      if (id === shown) return;
      shown = id; key = `guide/${id}`;
      setHtml(text, guide.html || ""); setText(version, guide.version ? `version ${guide.version}` : "");
      box.open = Boolean(guide.html) && remembered(key, "open") === "open";
      place();
    },
  };
}

/* Records handed to this page are leased: while it is in use, it prolongs them. What others have
   done meanwhile is told by the server and leaves the list. */
function keepLeases(element, ids, renew, drop) {
  let last = Date.now();
  const timer = setInterval(async () => {
    if (!element.isConnected) { clearInterval(timer); return; }
    const held = ids(), rests_ms = (held.renew_s || 60) * 1000;
    if (!held.ids.length || Date.now() - last < rests_ms) return;
    last = Date.now();
    try { const lost = await renew(held.ids); if (lost.length) drop(new Set(lost)); } catch (_) { /* next time */ }
  }, 2000);
}
