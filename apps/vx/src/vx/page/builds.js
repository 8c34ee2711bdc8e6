// Builds, the newest first, and the actions of each: which run, which failed, which ended and how.

const MOODS = { building: "warn", done: "good", failed: "bad", cancelled: "warn" };

function progress(one, { drawn }) {
  const width = 240, share = one.total ? Math.min(1, one.done / one.total) : one.state === "done" ? 1 : 0;
  const svg = drawn("svg", { class: "graph", width, height: 14, viewBox: `0 0 ${width} 14`, role: "img", "aria-label": `${one.done} of ${one.total} actions` });
  svg.append(drawn("rect", { x: 0.5, y: 0.5, width: width - 1, height: 13, rx: 4 }));
  if (share) svg.append(drawn("rect", { class: `full ${MOODS[one.state] || "warn"}`, x: 0, y: 0, width: width * share, height: 14, rx: 4 }));
  return svg;
}

export async function mount(element, page) {
  const { make, span, clock } = page;
  const list = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Builds and their actions" });
  element.replaceChildren(make("h2", {}, page.title), list);
  const opened = new Map();
  function actions(one) {
    const now = Date.now() / 1000;
    const rows = [
      ...one.running.map((action) => [action.title, "running", span(now - action.began_at)]),
      ...one.failed.map((action) => [action.title, "failed", action.duration_ms ? span(action.duration_ms / 1000) : ""]),
      ...one.ended.map((action) => [action.title, action.outcome, span(action.duration_ms / 1000)]),
    ];
    return make("table", {}, make("thead", {}, make("tr", {}, ...["action", "outcome", "took"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows.map(([title, outcome, took]) => make("tr", {}, make("th", { scope: "row" }, title), make("td", { class: outcome === "failed" ? "failed" : null }, outcome), make("td", { class: "number" }, took)))));
  }
  function build(one) {
    const key = `${one.began_at}`;
    const numbers = one.cached == null ? `${one.done} of ${one.total} actions` : `${one.total} actions, ${one.cached} cached, ${one.executed} run`;
    const details = make("details", { open: opened.get(key) ?? one.state === "building", id: `build-${key}` },
      make("summary", {}, `${clock(one.began_at)} ${one.project || one.directory}: `, make("span", { class: one.state === "failed" ? "failed" : null }, one.state), ` after ${span(one.took_s)}, ${numbers}`),
      progress(one, page), one.error ? make("pre", { class: "failed" }, one.error) : null, actions(one));
    details.addEventListener("toggle", () => opened.set(key, details.open));
    return details;
  }
  async function look() {
    const { builds } = await page.data();
    const focused = document.activeElement?.closest("details[id]")?.id;
    list.replaceChildren(...(builds.length ? builds.map(build) : [make("p", { class: "empty" }, "No build since aether was started.")]));
    if (focused) document.getElementById(focused)?.querySelector("summary").focus();
  }
  await look();
  page.changed(() => look().catch(() => {}));
  setInterval(() => look().catch(() => {}), 1000);
}
