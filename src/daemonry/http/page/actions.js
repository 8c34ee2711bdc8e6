// The buttons: what each does is said in its title, and asked before what cannot be taken back.

import { ask } from "./api.js";
import { announce, at, make } from "./elements.js";

// A program may call its running state otherwise: "monitoring".
const IDLE = new Set(["starting", "draining", "stopped", "gone", "unknown"]);
const DAEMON = [
  { word: "pause", text: "Pause", does: "Stop the work. Requests are answered; calls that change something are refused until it is resumed.", when: (state) => !IDLE.has(state) && state !== "paused" },
  { word: "resume", text: "Resume", does: "Work again.", when: (state) => state === "paused" },
  { word: "reload", text: "Reload", does: "Read the configuration again. A bad one changes nothing.", when: (state) => !IDLE.has(state) },
  { word: "stop", text: "Stop", does: "Let calls come to their end, then end the daemon. This page loses its connection.", danger: true, when: (state) => !IDLE.has(state) || state === "starting" },
];

export function confirmed(title, text, button) {
  const dialog = at("confirm");
  at("confirm-title").textContent = title;
  at("confirm-text").textContent = text;
  at("confirm-yes").textContent = button;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((tell) => dialog.addEventListener("close", () => tell(dialog.returnValue === "yes"), { once: true }));
}

export function notify(text, bad = false) {
  const banner = at("connection");
  banner.textContent = text;
  banner.hidden = false;
  banner.classList.toggle("failed", bad);
  announce(text);
}

export class Actions {
  constructor(kind, name) {
    this.shown = DAEMON.filter((one) => kind !== "home" || one.word === "reload" || one.word === "stop");
    this.buttons = new Map(this.shown.map((one) => [one.word, make("button", {
      type: "button", title: one.does, class: one.danger ? "danger" : null, onclick: () => this.does(one, name),
    }, one.text)]));
    at("actions").replaceChildren(...this.buttons.values());
  }

  show(state) {
    for (const one of this.shown) this.buttons.get(one.word).disabled = !one.when(state);
  }

  async does(one, name) {
    if (one.danger && !(await confirmed(`${one.text} ${name}?`, one.does, one.text))) return;
    try {
      const found = await ask(`/v1/${one.word}`, { method: "POST", body: {} });
      notify(found.note || (found.changed ? `${one.text}: done.` : `${one.text}: nothing to do.`));
    } catch (error) {
      notify(`${one.text}: ${error.message}`, true);
    }
  }
}
