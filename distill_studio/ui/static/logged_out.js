/* What the page says once the studio no longer knows who asks: it answers 401 to each of the page's
   own requests, and Gradio tells nobody. Runs before Gradio; nothing leaves the page by itself, so
   that what was typed and what the benches keep stays until the person goes. */
(() => {
  const ask = window.fetch.bind(window);
  let bar = null;
  const isOurs = (answer) => new URL(answer.url || "/", location).origin === location.origin;

  window.fetch = async (...args) => {
    const answer = await ask(...args);
    if (answer.status === 401 && isOurs(answer)) tell();
    return answer;
  };

  /* A log-in leads back to where the page is then: its address follows the tabs. */
  function link(words, attributes) {
    const node = Object.assign(document.createElement("a"), attributes, { textContent: words });
    const aim = () => { node.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`; };
    for (const event of ["pointerdown", "focus", "click"]) node.addEventListener(event, aim);
    aim();
    return node;
  }

  function tell() {
    if (bar) return;
    bar = document.createElement("div");
    bar.id = "ds-logged-out";
    bar.setAttribute("role", "alert");
    document.body.append(bar);  // empty at first: what an alert says is read when it changes
    const said = document.createElement("span");
    said.textContent = "You are no longer logged in.";
    bar.append(said, link("Log in again", { className: "ds-first" }));
    if (window.top === window)  // another tab shares no cookies with a frame
      bar.append(link("or in another tab, to keep what you typed here", { target: "_blank", rel: "noopener" }));
    document.body.style.paddingTop = `${bar.offsetHeight}px`;  // the page's head stays in sight
  }

  /* Back from another tab, where the person may have logged in. */
  async function look() {
    if (!bar || document.visibilityState !== "visible") return;
    try { if (!(await ask("/api/status")).ok) return; } catch (_) { return; }
    bar?.remove();
    document.body.style.paddingTop = "";
    bar = null;
  }
  window.addEventListener("focus", look);
  document.addEventListener("visibilitychange", look);
})();
