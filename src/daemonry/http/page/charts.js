// Two charts of the last two minutes: calls per second, and how long they took.

import { ask } from "./api.js";
import { at, drawn, make, span } from "./elements.js";

const WIDTH = 480, HEIGHT = 100, SECONDS = 120;

function figure(title, about) {
  const svg = drawn("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title });
  const value = make("b", {}, "–");
  const made = make("figure", {}, make("figcaption", {}, make("span", {}, title), value), svg, make("p", { class: "unseen" }, about));
  return { made, svg, value };
}

const points = (values, most) => values.map((value, index) => [(index * WIDTH) / (SECONDS - 1), HEIGHT - 4 - (value / most) * (HEIGHT - 12)]);
const path = (places) => places.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function draw(chart, values, second, most) {
  const line = points(values, most);
  const parts = [25, 50, 75].map((y) => drawn("line", { class: "rule", x1: 0, x2: WIDTH, y1: y, y2: y }));
  parts.push(drawn("path", { class: "area", d: `${path(line)}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z` }), drawn("path", { class: "line", d: path(line) }));
  if (second) parts.push(drawn("path", { class: "second", d: path(points(second, most)) }));
  chart.svg.replaceChildren(...parts);
}

export function charts() {
  const rate = figure("Calls per second", "How many calls ended in each second.");
  const time = figure("Time for half of the calls, and for 95 % (dashed)", "How long calls took at most.");
  at("charts").replaceChildren(rate.made, time.made);
  let failed = 0;
  async function look() {
    try {
      show(await ask("/v1/rates"));
      failed = 0;
    } catch {
      failed += 1;
    }
    setTimeout(look, document.hidden || failed > 3 ? 5000 : 1000);
  }
  function show(found) {
    const now = Math.floor(Date.now() / 1000) - 1;
    const by = new Map(found.seconds.map((one) => [one.at, one]));
    const all = Array.from({ length: SECONDS }, (_, index) => by.get(now - SECONDS + 1 + index));
    const calls = all.map((one) => one?.calls || 0);
    const half = all.map((one) => one?.half_s || 0);
    const most = all.map((one) => one?.most_s || 0);
    draw(rate, calls, null, Math.max(1, ...calls));
    draw(time, half, most, Math.max(0.0001, ...most));
    const last = all.findLast((one) => one);
    const recent = calls.slice(-5).reduce((sum, one) => sum + one, 0) / 5;
    rate.value.textContent = `${recent < 10 ? Math.round(recent * 10) / 10 : Math.round(recent)} now, ${Math.max(...calls)} at most; ${found.running} running`;
    time.value.textContent = last ? `≤ ${span(last.half_s)}, ≤ ${span(last.most_s)}` : "no calls";
  }
  look();
}
