// The page: signs in, learns what it shows, and has each part of it follow the daemon.

import { Actions, confirmed, notify } from "./actions.js";
import { ask, call, follow, signIn } from "./api.js";
import { Calls } from "./calls.js";
import { charts } from "./charts.js";
import { announce, at, clock, drawn, make, span } from "./elements.js";
import { failures, log } from "./log.js";

const SHOWN_ELSEWHERE = new Set(["state", "uptime_secs", "version", "pid", "http"]);
// With these the page of a home looks at its services every other second.
const OWN = new Set(["org.daemonry.Home.Services", "org.daemonry.Home.Uses"]);
let began = 0;
let facts = [];
let told = "";

function showFacts() {
  const up = began ? ` up ${span(Date.now() / 1000 - began)}` : "";
  at("facts").textContent = [up, ...facts].filter(Boolean).join(" · ");
}

function showState(status, actions) {
  const state = String(status.state || "unknown");
  at("state").textContent = state;
  at("state").dataset.state = state;
  actions.show(state);
  if (status.uptime_secs != null) began = Date.now() / 1000 - status.uptime_secs;
  facts = ["version", "pid"].filter((name) => status[name] != null).map((name) => `${name} ${status[name]}`);
  for (const [name, value] of Object.entries(status)) {
    if (!SHOWN_ELSEWHERE.has(name) && ["string", "number", "boolean"].includes(typeof value)) facts.push(`${name} ${value}`);
  }
  showFacts();
  if (state !== told) { if (told) announce(`Now ${state}.`); told = state; }
}

async function mountParts(parts, changed) {
  const tools = { announce, ask, call, clock, confirmed, drawn, follow, make, notify, span, changed };
  for (const part of parts) {
    const box = make("section", { "aria-label": part.title });
    at("parts").append(box);
    try {
      const module = await import(part.module || `/parts/${part.name}.js`);
      await module.mount(box, { ...tools, title: part.title, data: () => ask(`/v1/parts/${part.name}`) });
    } catch (error) {
      box.replaceChildren(make("h2", {}, part.title), make("p", { class: "failed" }, `This part cannot be shown: ${error.message}`));
    }
  }
}

async function start() {
  await signIn();
  let found;
  try {
    found = await ask("/v1/parts");
  } catch (error) {
    at("state").textContent = "no access";
    notify(error.problem?.status === 401
      ? "This tab has no access. Run `daemonry ui` in a terminal, and open the address that it prints."
      : `The daemon does not answer: ${error.message}`, true);
    if (error.problem?.status !== 401) setTimeout(() => location.reload(), 3000);
    return;
  }
  at("name").textContent = found.name;
  document.title = `${found.name} – daemonry`;
  const actions = new Actions(found.kind, found.name);
  const calls = new Calls();
  const listeners = new Set();
  const builtIn = found.kind === "home" ? [{ name: "services", title: "Services", module: "/ui/services.js" }] : [];
  await mountParts([...builtIn, ...found.parts], (listener) => listeners.add(listener));
  let stop = () => {};
  function open() {
    stop();
    calls.clear();
    stop = follow(`/v1/events?parameters=${at("parameters").checked}`, {
      state: (status) => { showState(status, actions); for (const one of listeners) one(status); },
      call: (event) => { if (!OWN.has(event.method)) calls.tell(event); },
      missed: (event) => calls.missed(event.events),
      end: (problem) => notify(problem.detail),
    }, (state) => {
      if (state === "open") at("connection").hidden = true;
      else if (state === "no token") notify("This tab has no access any more. Run `daemonry ui` again.", true);
      else {
        at("state").textContent = "not reachable";
        at("state").dataset.state = "gone";
        actions.show("gone");
        notify("The daemon does not answer; trying again.", true);
      }
    });
  }
  at("parameters").addEventListener("change", open);
  open();
  charts();
  log(found.services);
  failures();
  setInterval(showFacts, 1000);
}

start();
