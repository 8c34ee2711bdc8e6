// Making elements.  Text is always text: nothing that a daemon or its callers say becomes markup.

export const at = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((one) => one != null));
  return made;
}

export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function span(seconds) {
  if (seconds == null) return "–";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toPrecision(3).replace(/\.?0+$/, "")} ms`;
  if (seconds < 120) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

export const clock = (moment) => {
  const when = typeof moment === "number" ? new Date(moment * 1000) : new Date(moment);
  return isNaN(when) ? "" : when.toTimeString().slice(0, 8);
};

let said;
export function announce(text) {
  clearTimeout(said);
  said = setTimeout(() => { at("live").textContent = text; }, 100);
}

// What a list that grows has in common: newest first or last, at most so many, held while somebody reads.
export class Growing {
  constructor(box, button, { most = 500, newestFirst = false, empty = "Nothing yet." } = {}) {
    this.box = box;
    this.most = most;
    this.newestFirst = newestFirst;
    this.waiting = [];
    this.held = false;
    this.empty = empty;
    this.button = button;
    button.addEventListener("click", () => this.hold(!this.held));
    this.clear();
  }

  hold(held) {
    this.held = held;
    this.button.setAttribute("aria-pressed", held);
    this.button.textContent = held ? "Go on" : "Hold";
    if (!held) this.put(this.waiting.splice(0));
  }

  clear() {
    this.waiting = [];
    this.box.replaceChildren(make("p", { class: "empty" }, this.empty));
  }

  add(element) {
    this.waiting.push(element);
    if (this.waiting.length > this.most) this.waiting.shift();
    if (this.held || this.timer) return;
    this.timer = setTimeout(() => { this.timer = 0; if (!this.held) this.put(this.waiting.splice(0)); }, 100);
  }

  put(elements) {
    if (!elements.length) return;
    this.box.querySelector(":scope > .empty")?.remove();
    const atEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    if (this.newestFirst) this.box.prepend(...elements.reverse());
    else this.box.append(...elements);
    while (this.box.childElementCount > this.most) this.newestFirst ? this.box.lastChild.remove() : this.box.firstChild.remove();
    if (!this.newestFirst && atEnd) this.box.scrollTop = this.box.scrollHeight;
  }
}
