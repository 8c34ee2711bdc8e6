// The log as it grows, with level and search; and the failures in it, with their trace.

import { follow } from "./api.js";
import { at, clock, Growing, make } from "./elements.js";

const KNOWN = new Set(["time", "level", "logger", "message", "trace", "service"]);

function entry(line) {
  const rest = Object.entries(line).filter(([name]) => !KNOWN.has(name)).map(([name, value]) => ` ${name}=${value}`).join("");
  const made = make("div", { class: `entry level-${line.level || "info"}` },
    make("span", { class: "when", title: line.time || "" }, clock(line.time)),
    make("span", {}, line.service || line.level || ""),
    make("span", { class: "text" }, `${line.message || ""}${rest}`));
  if (line.trace) made.append(make("details", { class: "more" }, make("summary", {}, "trace"), make("pre", {}, line.trace)));
  return made;
}

// Of a home: which log is shown, its own or that of a service.
function chooser(services, changed) {
  if (!services.length) return { value: "" };
  const select = make("select", { id: "log-service", onchange: changed },
    make("option", { value: "" }, "the supervisor"), make("option", { value: "*" }, "all services"), ...services.map((name) => make("option", { value: name }, name)));
  at("log-level").closest("label").before(make("label", {}, "of ", select));
  return select;
}

export function log(services = []) {
  const list = new Growing(at("log"), at("log-hold"), { most: 1000, empty: "No such lines." });
  let stop = () => {};
  let typed;
  const service = chooser(services, () => open());
  function open() {
    stop();
    list.clear();
    const query = new URLSearchParams({ follow: "true", lines: "200", level: at("log-level").value });
    if (service.value) query.set("service", service.value);
    const text = at("log-search").value.trim();
    if (text) query.set("grep", text);
    let first = true;
    stop = follow(`/v1/logs?${query}`, { line: (line) => list.add(entry(line)) }, (state) => {
      if (state === "open") { if (!first) list.clear(); first = false; }
    });
  }
  at("log-level").addEventListener("change", open);
  at("log-search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(open, 250); });
  open();
}

export function failures() {
  const box = at("failures");
  const kept = [];
  let first = true;
  box.replaceChildren(make("p", { class: "empty" }, "None in the log."));
  follow("/v1/logs?follow=true&level=error&lines=20", {
    line: (line) => {
      kept.unshift(make("details", {},
        make("summary", { class: "failed" }, `${clock(line.time)} ${line.message || ""}`),
        make("pre", {}, line.trace || "The log has no trace of it.")));
      kept.length = Math.min(kept.length, 20);
      box.replaceChildren(...kept);
    },
  }, (state) => {
    if (state === "open") { if (!first) { kept.length = 0; } first = false; }
  });
}
