// The list, the search and one call. Whatever comes from calls is set as text, never as markup.
import { clock, faster, load, seek, skip, toggle } from "/player.js";

const $ = (id) => document.getElementById(id);
const FILTERS = ["since", "until", "direction", "state", "least", "most"];
const WORDS = { not_ready: "not ready", no_recording: "no recording" };
let calls = [], chosen = -1, more = false, latest = 0, loading = false;

const make = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const other = (call) => (call.direction === "outbound" ? call.to_number : call.from_number) || "unknown";
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const moment = (call) => {
  const at = new Date(call.started);
  return Number.isNaN(at.getTime()) ? "unknown date" : day.format(at);
};

function wanted() {
  const asked = new URLSearchParams();
  const add = (name, value) => { if (value) asked.set(name, value); };
  add("q", $("q").value.trim());
  for (const name of ["direction", "state", "least", "most"]) add(name, $(name).value);
  const midnight = (text, days) => {
    const [year, month, date] = text.split("-").map(Number);
    return new Date(year, month - 1, date + days).toISOString();
  };
  if ($("since").value) add("since", midnight($("since").value, 0));
  if ($("until").value) add("until", midnight($("until").value, 1));
  return asked;
}

const GONE = "No answer: is agentphone-async serve still running?";

async function ask(path) {
  let answer;
  try { answer = await fetch(path); } catch { throw new Error(GONE); }
  if (answer.status === 403) throw new Error("Open the printed link again.");
  if (!answer.ok) throw new Error(answer.status === 404 ? "The call is not there any more." : "It cannot be read.");
  return answer.json();
}

async function list(next = false) {
  if (next && (loading || !more)) return;
  const mine = ++latest, asked = wanted();
  loading = true;
  if (next) asked.set("before", `${calls.at(-1).started}|${calls.at(-1).id}`);
  let found;
  try {
    found = await ask(`/api/calls?${asked}`);
  } catch (error) {
    if (mine === latest) { $("status").textContent = error.message; loading = false; }
    return;
  }
  if (mine !== latest) return;
  loading = false;
  if (!next) { calls = []; chosen = -1; $("calls").replaceChildren(); $("calls").scrollTop = 0; }
  more = found.calls.length === found.page;
  for (const call of found.calls) { calls.push(call); $("calls").append(row(call, calls.length - 1)); }
  const shown = `${calls.length.toLocaleString()}${more ? "+" : ""}`;
  const total = found.total.toLocaleString();
  $("empty").hidden = calls.length > 0;
  $("empty").textContent = found.total ? "No call matches." : "There are no calls in this archive yet.";
  $("status").textContent = (asked.size ? `${shown} of ${total} calls` : `${total} calls`)
    + (found.unread ? `; reading ${found.unread.toLocaleString()} transcripts` : "");
}

function row(call, number) {
  const item = make("li");
  item.dataset.number = number;
  item.tabIndex = number ? -1 : 0;
  const who = make("span", "number");
  const arrow = make("span", "arrow", call.direction === "outbound" ? "↗" : "↙");
  arrow.title = call.direction || "";
  who.append(arrow, make("bdi", "", other(call)));
  item.append(who, make("span", "length", call.seconds === null ? "" : clock(call.seconds)));
  item.append(make("span", "date", moment(call)));
  item.append(make("span", "length", call.state === "archived" ? "" : WORDS[call.state] || call.state));
  if (call.snippet) item.append(marked(call.snippet));
  else if (call.summary) item.append(make("span", "line", call.summary));
  return item;
}

function marked(snippet) {
  const line = make("span", "line");
  line.dir = "auto";
  for (const piece of snippet.split(/(\u0002[^\u0003]*\u0003)/)) {
    if (piece.startsWith("\u0002")) line.append(make("mark", "", piece.slice(1, -1)));
    else line.append(piece.replace(/[\u0002\u0003]/g, ""));
  }
  return line;
}

async function choose(number) {
  if (number < 0 || number >= calls.length) return;
  chosen = number;
  for (const item of $("calls").querySelectorAll("[aria-current], [tabindex='0']")) {
    item.removeAttribute("aria-current");
    item.tabIndex = -1;
  }
  const item = $("calls").children[number];
  item.setAttribute("aria-current", "true");
  item.tabIndex = 0;
  item.scrollIntoView({ block: "nearest" });
  if (number > calls.length - 10) list(true);
  try {
    const call = await ask(`/api/calls/${calls[number].id}`);
    if (chosen === number) show(call);
  } catch (error) {
    if (chosen === number) $("status").textContent = error.message;
  }
}

function show(call) {
  $("nothing").hidden = true;
  $("detail").hidden = false;
  if (!document.body.classList.contains("open")) {
    document.body.classList.add("open");
    history.pushState({ open: true }, "");
  }
  $("who").textContent = `${call.direction === "outbound" ? "To" : "From"} ${other(call)}`;
  $("when").textContent = [moment(call), call.seconds === null ? "" : clock(call.seconds)].filter(Boolean).join(" · ");
  tags(call);
  $("summary").hidden = !call.summary;
  $("told").textContent = call.summary || "";
  $("silence").textContent = call.state === "no_recording" ? "This call has no recording."
    : `There is no recording: ${WORDS[call.state] || call.state}.`;
  $("turns").replaceChildren(...call.turns.map(turn));
  if (!call.turns.length) $("turns").append(make("li", "none", "There is no transcript."));
  $("call").scrollTop = 0;
  load(call);
}

function tags(call) {
  const add = (text, kind) => { if (text) $("tags").append(make("span", `tag ${kind || ""}`, text)); };
  $("tags").replaceChildren();
  add(call.direction);
  add(call.status);
  if (call.state !== "archived") add(WORDS[call.state] || call.state, call.state === "failed" ? "bad" : "");
  if (call.sentiment) {
    const kind = { positive: "good", negative: "bad" }[String(call.sentiment).toLowerCase()];
    add(`${String(call.sentiment).toLowerCase()} sentiment`, kind);
  }
  if (call.successful === true) add("successful", "good");
  if (call.successful === false) add("not successful", "bad");
  if (call.reason) add(String(call.reason).replaceAll("_", " "));
}

function turn(said) {
  const item = make("li", said.role === "user" ? "user" : "agent");
  if (said.at !== null) item.dataset.at = said.at;
  const by = make("div", "by");
  by.append(make("span", "", said.role === "user" ? "Caller" : "Agent"));
  by.append(make("span", "", said.at === null ? "" : clock(said.at)));
  const words = make("div", "said", said.said);
  words.dir = "auto";
  item.append(by, words);
  return item;
}

function back() {
  if (history.state?.open) history.back(); else close();
}

function close() {
  document.body.classList.remove("open");
  $("audio").pause();
}

let timer = 0;
const soon = () => { clearTimeout(timer); timer = setTimeout(list, 150); };
$("q").addEventListener("input", soon);
for (const name of FILTERS) $(name).addEventListener("input", soon);
$("clear").addEventListener("click", () => { for (const name of FILTERS) $(name).value = ""; list(); });
$("more").addEventListener("click", () => {
  $("filters").hidden = !$("filters").hidden;
  $("more").setAttribute("aria-expanded", String(!$("filters").hidden));
});
$("calls").addEventListener("click", (event) => {
  const item = event.target.closest("li");
  if (item) choose(Number(item.dataset.number));
});
$("calls").addEventListener("scroll", () => {
  const box = $("calls");
  if (box.scrollHeight - box.scrollTop - box.clientHeight < 600) list(true);
}, { passive: true });
$("back").addEventListener("click", back);
window.addEventListener("popstate", close);

const KEYS = {
  "/": () => { document.body.classList.remove("open"); $("q").focus(); $("q").select(); },
  j: () => choose(chosen + 1),
  k: () => choose(Math.max(0, chosen - 1)),
  ArrowDown: () => choose(chosen + 1),
  ArrowUp: () => choose(Math.max(0, chosen - 1)),
  ArrowLeft: () => skip(-5),
  ArrowRight: () => skip(5),
  Home: () => seek(0),
  ",": () => faster(-1),
  ".": () => faster(1),
  " ": toggle,
  Escape: back,
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target === $("q"))) {
      event.target.blur();
      if (event.key === "Enter" && calls.length) choose(0);
    }
    return;
  }
  const row = event.key === "Enter" && event.target.closest("#calls li");
  if (row) { choose(Number(row.dataset.number)); return; }
  if (event.key === " " && event.target.matches("button")) return;
  const act = KEYS[event.key];
  if (act) { event.preventDefault(); act(); }
});

history.replaceState({}, "");
list();
