// The list of streams: newest first, filtered, kept up to date.

import { get } from "./api.js";
import { badge, element, table } from "./elements.js";
import { instructions } from "./instructions.js";
import { clock, count, duration, rate, share } from "./format.js";
import { overview } from "./overview.js";

const COLUMNS = [
  { label: "Time" },
  { label: "Service" },
  { label: "Operation and model" },
  { label: "Outcome" },
  { label: "First token", class: "number", title: "From the call to the first generated content" },
  { label: "Gap, median", class: "number", title: "Between arrivals of neighbouring chunks" },
  { label: "p95", class: "number" },
  { label: "max", class: "number" },
  { label: "Stalls", class: "number", title: "Reads that waited for at least the stall threshold" },
  { label: "Wait | consumer", title: "Time blocked on the provider, and time the caller kept chunks" },
  { label: "Tokens/s", class: "number" },
  { label: "Tokens", class: "number", title: "Output tokens as the provider counted them" },
  { label: "Fields" },
];
const SHOWN_FIELDS = 2;
const FILTERS = [["service", "services"], ["model", "models"], ["outcome", "outcomes"]];

export function listView(parameters) {
  const filters = Object.fromEntries(FILTERS.map(([name]) => [name, parameters.get(name) ?? ""]));
  const summary = element("p", { class: "summary" });
  const selects = FILTERS.map(([name]) => select(name, filters[name], (chosen) => {
    const query = new URLSearchParams(Object.entries({ ...filters, [name]: chosen }).filter(([, value]) => value));
    location.hash = query.size ? `#/?${query}` : "#/";
  }));
  const chart = overview();
  const body = table("Streams, newest first", COLUMNS, [], { class: "streams" });
  const rows = new Map();
  const content = element("div", {});
  const form = element("form", { class: "filters", "aria-label": "Filters" }, selects, summary);
  const node = element("div", { class: "list" }, element("h1", { class: "unseen" }, "Streams"), form, content);

  async function update() {
    document.title = "Streams · otel-tokenstream";
    const chosen = Object.fromEntries(Object.entries(filters).filter(([, value]) => value));
    const { streams, choices } = await get("/api/streams", chosen);
    FILTERS.forEach(([name, key], index) => {
      offer(selects[index], name === "outcome" ? ["in_progress", ...choices[key]] : choices[key], filters[name]);
    });
    summary.textContent = summarise(streams);
    form.hidden = streams.length === 0 && Object.keys(chosen).length === 0;
    if (streams.length === 0) {
      rows.clear();
      const filtered = Object.keys(chosen).length > 0;
      const wanted = filtered ? "nothing-found" : "instructions";
      if (content.firstElementChild?.classList.contains(wanted)) return;
      content.replaceChildren(filtered ? nothingFound() : instructions());
      return;
    }
    const first = !body.isConnected;
    if (first) content.replaceChildren(chart.node, body);
    synchronise(body.querySelector("tbody"), rows, streams, first);
    await chart.show(streams);
  }

  return { node, update, recolour: chart.recolour, close: chart.close };
}

function select(name, chosen, changed) {
  const input = element("select", { name, onchange: (event) => changed(event.target.value) });
  const label = element("label", {}, name, input);
  offer(label, [], chosen);
  return label;
}

function offer(label, names, chosen) {
  const input = label.querySelector("select");
  const wanted = ["", ...new Set(chosen ? [...names, chosen] : names)];
  if (JSON.stringify(wanted) === JSON.stringify([...input.options].map((option) => option.value))) return;
  input.replaceChildren(...wanted.map((name) =>
    element("option", { value: name, selected: name === chosen }, name === "" ? "all" : name.replaceAll("_", " "))));
  input.value = chosen;
}

function summarise(streams) {
  const failed = streams.filter((stream) => stream.outcome === "failed").length;
  const stalled = streams.filter((stream) => stream.stall_count > 0).length;
  const times = streams.map((stream) => stream.time_to_first_token_ms).filter((time) => time !== null).sort((a, b) => a - b);
  const median = times.length ? ` · median first token ${duration(times[Math.floor(times.length / 2)])}` : "";
  return `${count(streams.length)} ${streams.length === 1 ? "stream" : "streams"} · ${failed} failed · ${stalled} with stalls${median}`;
}

function nothingFound() {
  return element("p", { class: "nothing-found" }, "No stream matches these filters. ", element("a", { href: "#/" }, "Show all"));
}

/** Touches only rows that changed, so that focus and scroll position stay. */
function synchronise(body, rows, streams, first) {
  const wanted = streams.map((stream) => {
    const key = `${stream.trace_id}/${stream.span_id}`;
    const state = JSON.stringify(stream);
    const known = rows.get(key) ?? { node: element("tr", { class: first ? null : "arrived" }), state: "" };
    rows.set(key, known);
    if (known.state !== state) {
      const focused = known.node.contains(document.activeElement);
      known.node.replaceChildren(...cells(stream, key));
      known.state = state;
      if (focused) known.node.querySelector("a").focus();
    }
    return [key, known.node];
  });
  const kept = new Set(wanted.map(([key]) => key));
  for (const [key, { node }] of rows) {
    if (!kept.has(key)) {
      node.remove();
      rows.delete(key);
    }
  }
  wanted.forEach(([, node], index) => {
    if (body.children[index] !== node) body.insertBefore(node, body.children[index] ?? null);
  });
}

function cells(stream, key) {
  const number = (text, warning) => element("td", { class: warning ? "number warning" : "number" }, text);
  return [
    element("td", {}, element("a", { href: `#/${key}` }, clock(stream.start_unix_ns))),
    element("td", {}, stream.service),
    element("td", {}, element("span", { class: "muted" }, `${stream.operation} `), stream.model),
    element("td", {}, badge(stream), stream.error_type && element("span", { class: "error-type", title: stream.error_type }, String(stream.error_type).split(".").at(-1))),
    number(duration(stream.time_to_first_token_ms)),
    number(duration(stream.gap_p50_ms)),
    number(duration(stream.gap_p95_ms)),
    number(duration(stream.gap_max_ms)),
    number(count(stream.stall_count), stream.stall_count > 0),
    element("td", {}, sharesBar(stream)),
    number(rate(stream.output_rate)),
    number(count(stream.output_tokens)),
    element("td", { class: "fields" }, chips(stream.fields)),
  ];
}

function chips(fields) {
  const shown = fields.slice(0, SHOWN_FIELDS).map((field) => element("span", { class: "chip", title: field }, field));
  return fields.length > SHOWN_FIELDS ? [...shown, element("span", { class: "muted", title: fields.join(", ") }, `+${fields.length - SHOWN_FIELDS}`)] : shown;
}

function sharesBar(stream) {
  const { wait_total_ms: wait, consumer_total_ms: consumer, duration_ms: whole } = stream;
  if (wait === null || consumer === null || !whole) return element("span", { class: "muted" }, "–");
  const part = (name, time) => element("span", { class: name, style: { "flex-basis": `${(100 * time) / whole}%` } });
  const text = `provider ${duration(wait)} (${share(wait, whole)}), consumer ${duration(consumer)} (${share(consumer, whole)})`;
  return element("span", { class: "shares", role: "img", "aria-label": text, title: text }, part("wait", wait), part("consumer", consumer));
}
