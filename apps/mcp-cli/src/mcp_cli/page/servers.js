// MCP servers: state, tools, calls under way, and a button to restart each.

const MCP = "org.daemonry.mcp";
const BAD = new Set(["failed"]);

export async function mount(element, page) {
  const { make, call, span, confirmed, notify } = page;
  const body = make("tbody");
  const empty = make("p", { class: "empty" }, "No server is known yet: the first call of one brings it here.");
  const table = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of servers" }, make("table", {},
    make("thead", {}, make("tr", {}, ...["server", "state", "starts", "ping", "calls under way", "tools", "commands"].map((text) => make("th", { scope: "col" }, text)))), body));
  element.replaceChildren(make("h2", {}, page.title), empty, table);
  const opened = new Set();
  const restart = async (one) => {
    if (!(await confirmed(`Restart ${one.server}?`, "It ends, calls under way fail, and it starts again.", "Restart"))) return;
    notify(`Restart ${one.server} …`);
    try {
      await call(`${MCP}.Restart`, { server: one.server, fingerprint: one.fingerprint });
      notify(`Restart ${one.server}: done.`);
    } catch (error) {
      notify(`Restart ${one.server}: ${error.message}`, true);
    }
    await look();
  };
  function listed(key, title, texts) {
    const details = make("details", { open: opened.has(key), id: `list-${key}` }, make("summary", {}, title), make("ul", {}, ...texts.map((text) => make("li", {}, text))));
    details.addEventListener("toggle", () => (details.open ? opened.add(key) : opened.delete(key)));
    return details;
  }
  function row(one) {
    const state = make("td", { class: BAD.has(one.state) ? "failed" : null }, one.state, one.error ? `: ${one.error}` : "");
    if (one.stderr.length) state.append(listed(`stderr-${one.server}-${one.fingerprint}`, "standard error", one.stderr));
    return make("tr", {},
      make("th", { scope: "row", title: one.pid ? `pid ${one.pid}` : null }, `${one.server} (${one.kind})`),
      state,
      make("td", { class: "number" }, String(one.starts)),
      make("td", { class: "number" }, one.ping_ms < 0 ? "" : span(one.ping_ms / 1000)),
      make("td", {}, one.calls_count ? `${one.calls_count}: ${one.calls.join(", ")}` : ""),
      make("td", {}, one.tools ? listed(`tools-${one.server}-${one.fingerprint}`, String(one.tools.length), one.tools) : ""),
      make("td", {}, make("div", { class: "actions" }, make("button", { type: "button", id: `restart-${one.server}-${one.fingerprint}`, "aria-label": `Restart ${one.server}`, onclick: () => restart(one) }, "Restart"))));
  }
  async function look() {
    const { servers } = await page.data();
    empty.hidden = servers.length > 0;
    table.hidden = servers.length === 0;
    const focused = document.activeElement?.closest("[id]")?.id;
    body.replaceChildren(...servers.map(row));
    if (focused) document.getElementById(focused)?.focus();
  }
  await look();
  page.changed(() => look().catch(() => {}));
  setInterval(() => look().catch(() => {}), 1000);
}
