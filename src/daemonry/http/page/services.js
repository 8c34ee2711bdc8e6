// A home's services: a graph of what needs what, and a table with what can be done to each.

const GOOD = new Set(["ready", "done", "idle"]);
const BAD = new Set(["failed", "unhealthy"]);
const NUMBERS = new Set(["CPU", "memory", "restarts"]);
const HOME = "org.daemonry.Home";

const mood = (state) => (GOOD.has(state) ? "good" : BAD.has(state) ? "bad" : "warn");

function layers(services) {
  const known = new Map(services.map((one) => [one.name, one]));
  const depth = new Map();
  const depthOf = (name, above = new Set()) => {
    if (depth.has(name) || above.has(name)) return depth.get(name) ?? 0;
    const needs = (known.get(name)?.needs || []).filter((need) => known.has(need));
    const found = needs.length ? 1 + Math.max(...needs.map((need) => depthOf(need, new Set([...above, name])))) : 0;
    depth.set(name, found);
    return found;
  };
  const made = [];
  for (const one of services) (made[depthOf(one.name)] ||= []).push(one);
  return made;
}

function graph(services, { drawn }) {
  const rows = layers(services);
  const width = 170, height = 60;
  const most = Math.max(1, ...rows.map((row) => row.length));
  const places = new Map();
  rows.forEach((row, y) => row.forEach((one, x) => places.set(one.name, [(x + (most - row.length) / 2) * width + 10, y * height + 8])));
  const svg = drawn("svg", { class: "graph", width: most * width, viewBox: `0 0 ${most * width} ${rows.length * height}`, role: "img", "aria-label": "What needs what; the table has the same" });
  for (const one of services) for (const need of one.needs) {
    const from = places.get(need), to = places.get(one.name);
    if (from && to) svg.append(drawn("path", { d: `M${from[0] + 75} ${from[1] + 32}C${from[0] + 75} ${from[1] + 50} ${to[0] + 75} ${to[1] - 18} ${to[0] + 75} ${to[1]}` }));
  }
  for (const one of services) {
    const [x, y] = places.get(one.name);
    svg.append(drawn("rect", { class: mood(one.state), x, y, width: 150, height: 32, rx: 5 }));
    const text = drawn("text", { x: x + 75, y: y + 21, "text-anchor": "middle" });
    text.append(`${one.name.length > 14 ? `${one.name.slice(0, 13)}…` : one.name}: ${one.state}`);
    svg.append(text);
  }
  return svg;
}

export async function mount(box, page) {
  const { make, call, span, notify, confirmed } = page;
  const picture = make("div");
  const body = make("tbody");
  box.replaceChildren(make("h2", {}, page.title), picture, make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of services" }, make("table", {},
    make("thead", {}, make("tr", {}, ...["service", "state", "since", "CPU", "memory", "restarts", "last end", "note", "commands"].map((text) => make("th", { scope: "col", class: NUMBERS.has(text) ? "number" : null }, text)))), body)));
  const does = async (verb, name) => {
    if (verb !== "Start" && !(await confirmed(`${verb} ${name}?`, verb === "Stop" ? "It ends; what needs it is left alone." : "It ends and is started; return when it is ready.", verb))) return;
    try {
      await call(`${HOME}.${verb}`, { service: name });
      notify(`${verb} ${name}: done.`);
    } catch (error) {
      notify(`${verb} ${name}: ${error.message}`, true);
    }
    await look();
  };
  let before = new Map();
  async function measure() {
    const at = performance.now() / 1000;
    const now = new Map((await call(`${HOME}.Uses`)).result.map((one) => [one.name, { ...one, at }]));
    const used = new Map([...now].map(([name, one]) => {
      const last = before.get(name);
      const share = last && one.cpu_s >= last.cpu_s && at > last.at ? (one.cpu_s - last.cpu_s) / (at - last.at) : null;
      return [name, { cpu: share == null ? "" : `${(share * 100).toFixed(1)} %`, memory: one.memory_bytes ? `${(one.memory_bytes / 1048576).toFixed(1)} MiB` : "" }];
    }));
    if (![...before.values()].length || at - [...before.values()][0].at >= 1) before = now;
    return used;
  }
  async function look() {
    const [services, used] = await Promise.all([call(`${HOME}.Services`).then((found) => found.result), measure()]);
    picture.replaceChildren(graph(services, page));
    const focused = document.activeElement?.id;
    body.replaceChildren(...services.map((one) => make("tr", {},
      make("th", { scope: "row" }, one.name),
      make("td", { class: mood(one.state) === "bad" ? "failed" : null }, one.state),
      make("td", {}, span(Date.now() / 1000 - one.since)),
      make("td", { class: "number" }, used.get(one.name)?.cpu ?? ""),
      make("td", { class: "number" }, used.get(one.name)?.memory ?? ""),
      make("td", { class: "number" }, String(one.restarts)),
      make("td", {}, one.last_exit || ""),
      make("td", {}, one.note || ""),
      make("td", {}, make("div", { class: "actions" }, ...["Start", "Stop", "Restart"].map((verb) =>
        make("button", { type: "button", id: `${verb}-${one.name}`, "aria-label": `${verb} ${one.name}`, onclick: () => does(verb, one.name) }, verb)))))));
    if (focused) document.getElementById(focused)?.focus();
  }
  page.changed(() => look().catch(() => {}));
  await look();
  setInterval(() => look().catch(() => {}), 2000);
}
