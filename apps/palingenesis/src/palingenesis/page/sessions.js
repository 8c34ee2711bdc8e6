// Coding agents' sessions: which run, which wait and until when, which need you; and a word about each.

const NEEDS = new Set(["waiting inside", "stopped", "gave up"]); // nothing follows by itself
const SESSIONS = "org.palingenesis.sessions";
const HOURS = 12;

const short = (id) => (id.length > 12 ? `${id.slice(0, 8)}…` : id);

function line(sessions, { drawn }) {
  const now = Date.now() / 1000, width = 960, row = 22;
  const from = now - (HOURS * 3600) / 2;
  const x = (moment) => Math.max(0, Math.min(width, ((moment - from) / (HOURS * 3600)) * width));
  const height = Math.max(1, sessions.length) * row + 16;
  const svg = drawn("svg", { class: "graph", width, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Sessions on a time line; the table has the same" });
  sessions.forEach((one, index) => {
    const y = index * row + 4;
    const began = Date.parse(one.changed_at) / 1000;
    const until = Date.parse(one.kept?.due_at || one.resets_at || "") / 1000;
    svg.append(drawn("rect", { class: NEEDS.has(one.state) ? "bad" : one.alive_pid ? "good" : "warn", x: x(began), y, width: Math.max(6, x(isNaN(until) ? now : until) - x(began)), height: 14, rx: 4 }));
  });
  svg.append(drawn("path", { d: `M${x(now)} 0V${height}` }));
  return svg;
}

export async function mount(element, page) {
  const { make, call, span, confirmed, notify } = page;
  const picture = make("div");
  const body = make("tbody");
  element.replaceChildren(make("h2", {}, page.title), picture,
    make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of sessions" }, make("table", {},
      make("thead", {}, make("tr", {}, ...["session", "state", "why", "changed", "next in", "commands"].map((text) => make("th", { scope: "col" }, text)))), body)));
  let shown = [];
  const does = async (word, one) => {
    if (word === "Abort" && !(await confirmed("Abort?", `The run that resumes ${short(one.session)} ends; the session is left to you.`, "Abort"))) return;
    try {
      const found = await call(`${SESSIONS}.${word}`, { session: one.session });
      notify(`${word}: ${found.session} is ${found.state}.`);
    } catch (error) {
      notify(`${word}: ${error.message}`, true);
    }
    await look();
  };
  function next(one) {
    const due = Date.parse(one.kept?.due_at || one.resets_at || "") / 1000;
    return isNaN(due) ? "" : due > Date.now() / 1000 ? span(due - Date.now() / 1000) : "now";
  }
  async function look() {
    shown = (await page.data()).sessions;
    picture.replaceChildren(shown.length ? line(shown, page) : make("p", { class: "empty" }, "No session has changed lately."));
    const focused = document.activeElement?.id;
    body.replaceChildren(...shown.map((one) => {
      const held = one.kept && one.state === "held";
      const words = ["Now", "Skip", held ? "Release" : "Hold", "Abort"];
      return make("tr", {},
        make("th", { scope: "row", title: one.cwd }, `${one.agent} ${short(one.session)}`),
        make("td", { class: NEEDS.has(one.state) ? "failed" : null }, one.state),
        make("td", {}, one.reason),
        make("td", {}, `${span(Date.now() / 1000 - Date.parse(one.changed_at) / 1000)} ago`),
        make("td", { class: "next" }, next(one)),
        make("td", {}, make("div", { class: "actions" }, ...words.map((word) =>
          make("button", { type: "button", id: `${word}-${one.agent}-${one.session}`, "aria-label": `${word} ${one.agent} ${short(one.session)}`, onclick: () => does(word, one) }, word)))));
    }));
    if (focused) document.getElementById(focused)?.focus();
  }
  page.changed(() => look().catch(() => {}));
  await look();
  setInterval(() => { body.querySelectorAll(".next").forEach((cell, index) => { cell.textContent = next(shown[index]); }); }, 1000);
  setInterval(() => look().catch(() => {}), 5000);
}
