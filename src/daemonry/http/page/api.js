// Asking the daemon: the token of this tab, requests, and streams of server-sent events that come again by themselves.

const KEY = "daemonry-token";

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

export async function signIn() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (!code) return;
  history.replaceState(null, "", location.pathname); // the code is worth nothing from now on
  const answer = await fetch("/v1/session", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code }),
  });
  if (answer.ok) sessionStorage.setItem(KEY, (await answer.json()).token);
}

function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

export async function ask(path, { method = "GET", body } = {}) {
  const more = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(path, { method, headers: headers(more), body: body === undefined ? undefined : JSON.stringify(body) });
  const type = answer.headers.get("Content-Type") || "";
  const found = type.includes("json") ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Refused(found);
  return found;
}

export const call = (method, parameters = {}) => {
  const dot = method.lastIndexOf(".");
  return ask(`/v1/call/${method.slice(0, dot)}/${method.slice(dot + 1)}`, { method: "POST", body: parameters });
};

// One stream: tells `events` each event by name, `status` whether it is open; returns what closes it.
export function follow(path, events, status = () => {}) {
  const gone = new AbortController();
  let last = "";
  let wait = 250;
  async function once() {
    const more = { Accept: "text/event-stream" };
    if (last) more["Last-Event-ID"] = last;
    const answer = await fetch(path, { headers: headers(more), signal: gone.signal });
    if (answer.status === 401) return "no token";
    if (!answer.ok) throw new Error(`${answer.status}`);
    status("open");
    wait = 250;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      // A computer that slept finds its connection dead without being told: heartbeats come every 15 seconds.
      const timer = setTimeout(() => reader.cancel(), 40000);
      const { value, done } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return "";
      held += value;
      let end;
      while ((end = held.indexOf("\n\n")) >= 0) {
        const frame = held.slice(0, end);
        held = held.slice(end + 2);
        last = tell(frame, events) || last;
      }
    }
  }
  (async () => {
    while (!gone.signal.aborted) {
      try {
        if ((await once()) === "no token") { status("no token"); return; }
      } catch { /* it is tried again */ }
      if (gone.signal.aborted) return;
      status("lost");
      await new Promise((go) => setTimeout(go, wait));
      wait = Math.min(wait * 2, 5000);
    }
  })();
  return () => gone.abort();
}

function tell(frame, events) {
  let name = "message", id = "";
  const data = [];
  for (const line of frame.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
    else if (line.startsWith("id: ")) id = line.slice(4);
  }
  if (data.length && events[name]) events[name](JSON.parse(data.join("\n")));
  return id;
}
