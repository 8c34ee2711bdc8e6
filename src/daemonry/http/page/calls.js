// The calls as they happen: one line for each, from its begin to its end; and those that failed, with what is known.

import { at, clock, Growing, make, span } from "./elements.js";

export class Calls {
  constructor() {
    this.list = new Growing(at("calls"), at("calls-hold"), { most: 200, newestFirst: true, empty: "No calls since this page was opened." });
    this.running = new Map();
  }

  clear() { this.running.clear(); }

  tell(event) {
    if (event.event === "begin" || event.event === "running") this.begin(event);
    else if (event.event !== "dropped") this.end(event);
  }

  begin(event) {
    const line = make("div", { class: "entry" },
      make("span", { class: "when" }, clock(event.at)),
      make("span", { class: "took" }, "runs"),
      make("span", { class: "text" }, event.method));
    if (event.parameters) line.append(make("p", { class: "more" }, JSON.stringify(event.parameters).slice(0, 2000)));
    this.running.set(event.call, line);
    if (this.running.size > 1000) this.running.delete(this.running.keys().next().value);
    this.list.add(line);
  }

  end(event) {
    if (!this.running.has(event.call)) this.begin({ ...event, parameters: null });
    const line = this.running.get(event.call);
    this.running.delete(event.call);
    line.querySelector(".took").textContent = span(event.seconds);
    if (event.event === "cancelled" || event.error) {
      line.classList.add(event.event === "cancelled" ? "cancelled" : /\.Failed$|\.BadReply$/.test(event.error) ? "failed" : "refused");
      const name = event.error ? event.error.split(".").pop() : "cancelled";
      line.querySelector(".text").append(` – ${name}${event.reason ? `: ${event.reason}` : ""}`);
    }
  }

  missed(count) {
    this.running.clear();
    this.list.add(make("p", { class: "empty" }, count == null ? "Some events were missed." : `${count} events were missed.`));
  }
}
