// Figures over many streams, and one set against another: the same page as the command writes, with its words as controls.

import { FILTERS } from "./address.js";
import { get } from "./api.js";
import { element } from "./elements.js";
import { keepPlace } from "./place.js";

const BY = ["operation,model", "model", "service", "provider", "outcome", "error", "operation", "module", "field", "version", "finish_reason", "conversation", "user"];
const RANGES = [["", "all time"], ["15m", "15 minutes"], ["1h", "1 hour"], ["6h", "6 hours"], ["1d", "1 day"], ["7d", "7 days"]];
const STEPS = ["auto", "second", "10s", "minute", "10min", "hour", "day", "session"];
const LOOK_MS = 400;
/** The list's filters that are words of the report. */
const WORDS = ["service", "model", "operation", "provider", "outcome", "error", "finish_reason", "conversation"];
const TIMES = { last: "since", from: "from", to: "to" };
const LONGEST_NAME = 256;

/** The link to the report on the streams of a list. It names the filters that the report has no words for. */
export function reportLink(state) {
  const query = new URLSearchParams();
  for (const name of WORDS) if (state[name] && isWord(name, state[name])) query.append("where", `${name}=${state[name]}`);
  for (const [name, word] of Object.entries(TIMES)) if (state[name]) query.set(word, state[name]);
  const lost = FILTERS.filter((name) => state[name] && !TIMES[name] && !isWord(name, state[name])).map((name) => (name === "q" ? "search" : name.replaceAll("_", " ")));
  return element("a", { href: query.size ? `#/report?${query}` : "#/report" }, lost.length ? `report, without the filters: ${lost.join(", ")}` : "report on these");
}

/** A report has no streams in progress, knows names in full, of which the list has the beginning, and reads none with spaces around. */
function isWord(name, value) {
  const isCut = value.endsWith("…") && [...value].length >= LONGEST_NAME;
  return WORDS.includes(name) && value !== "in_progress" && !isCut && value === value.trim();
}

export function reportView(query) {
  const words = new URLSearchParams(query);
  const [a = "", b = ""] = words.getAll("compare");
  const conditions = words.has("where") ? words.getAll("where") : [""];
  const known = element("datalist", { id: "conditions" });
  const field = (name, title, value, hint) => element("label", {}, title,
    element("input", { name, value, placeholder: hint, list: "conditions", autocomplete: "off", spellcheck: "false" }));
  const select = (name, title, options, value) => {
    const texts = options.map((option) => (Array.isArray(option) ? option : [option, option.replaceAll(",", ", ")]));
    const all = value && !texts.some(([each]) => each === value) ? [...texts, [value, value]] : texts;
    const input = element("select", { name }, all.map(([each, text]) => element("option", { value: each, selected: each === value }, text)));
    return element("label", {}, title, input);
  };
  const range = ["from", "to"].filter((name) => words.get(name)).map((name) =>
    element("button", { type: "button", onclick: () => show({ [name]: "" }) }, `${name} ${new Date(Number(words.get(name))).toLocaleString("sv-SE")} ×`));
  const form = element("form", { class: "filters", "aria-label": "What the report is about", onsubmit: (event) => {
    event.preventDefault();
    show({});
  } },
  select("by", "a row for each", BY, words.get("by") ?? BY[0]),
  select("since", "time", RANGES, words.get("since") ?? ""),
  range,
  select("over", "step", STEPS, words.get("over") ?? STEPS[0]),
  conditions.map((each, index) => field("where", index ? "and" : "only", each, "outcome=completed")),
  field("a", "compare", a, "model=one"),
  field("b", "with", b, "model=another"),
  element("button", { type: "submit" }, "Show"), known);
  const progress = element("progress", { max: "1", "aria-label": "Report" });
  const state = element("p", { class: "muted", role: "status" });
  const frame = element("iframe", { class: "report", title: "Report" });
  const node = element("div", { class: "list" }, element("p", { class: "back" }, element("a", { href: "#/" }, "← Streams")), element("h1", { class: "unseen" }, "Report"), form, state, frame);
  const id = crypto.getRandomValues(new Uint32Array(4)).join("-"); // randomUUID is missing over http from another machine
  let asked = false;
  let looking = 0;

  function show(what) {
    const given = [...new FormData(form)].map(([name, value]) => [name, value.trim()]);
    const values = Object.fromEntries(given);
    const next = new URLSearchParams();
    for (const name of ["by", "since", "from", "to", "over"]) {
      const value = what[name] ?? values[name] ?? words.get(name) ?? "";
      if (value && value !== BY[0] && value !== STEPS[0]) next.set(name, value);
    }
    for (const [name, value] of given) if (name === "where" && value) next.append(name, value);
    if (values.a || values.b) for (const side of [values.a, values.b]) next.append("compare", side);
    keepPlace();
    const address = next.size ? `#/report?${next}` : "#/report";
    if (address === location.hash) start();
    else location.hash = address;
  }

  function start() {
    const wanted = new URLSearchParams(words);
    wanted.set("frame", "1");
    wanted.set("progress", id);
    state.replaceChildren(progress);
    progress.removeAttribute("value");
    frame.hidden = true;
    frame.onload = done;
    frame.src = `report?${wanted}`;
    clearInterval(looking);
    looking = setInterval(look, LOOK_MS);
  }

  async function look() {
    const { share, text } = await get("api/report_progress", { id }).catch(() => ({}));
    if (share !== undefined && share !== null) progress.value = share;
    state.replaceChildren(progress, text ? ` ${text}` : "");
  }

  function done() {
    clearInterval(looking);
    state.replaceChildren();
    frame.hidden = false;
    const inside = frame.contentDocument;
    fit();
    if (inside) new ResizeObserver(fit).observe(inside.documentElement);
  }

  function fit() {
    const inside = frame.contentDocument?.documentElement;
    if (inside) frame.style.setProperty("height", `${inside.scrollHeight + 4}px`);
  }

  async function update() {
    document.title = "Report · otel-tokenstream";
    if (asked) return; // a report stands still until it is asked for again
    asked = true;
    start();
    const { choices } = await get("api/streams", { limit: "1" });
    const offered = [["model", "models"], ["service", "services"], ["outcome", "outcomes"], ["operation", "operations"], ["error", "errors"], ["finish_reason", "finish_reasons"]];
    known.replaceChildren(...offered.flatMap(([word, kind]) => choices[kind].map((name) => element("option", { value: `${word}=${name}` }))));
  }

  return { node, update, close: () => clearInterval(looking) };
}
