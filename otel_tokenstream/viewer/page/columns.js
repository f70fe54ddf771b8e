// The columns of the list: what each shows, by what it is sorted, and which are shown unless others are chosen.

import { badge, element } from "./elements.js";
import { clock, count, duration, rate } from "./format.js";
import { totals } from "./spent.js";

const SHOWN_FIELDS = 2;

/** By name in the address; `sort` names the API's column, and `phone` columns stay on a narrow screen. */
const COLUMNS = {
  time: { label: "Time", sort: "start", phone: true, cell: (stream, link) => element("td", { class: "clock" }, element("a", { href: link }, clock(stream.start_unix_ns))) },
  date: { label: "Date", sort: "start", cell: (stream) => cell(new Date(Number(BigInt(stream.start_unix_ns) / 1000000n)).toLocaleDateString("sv-SE")) },
  service: { label: "Service", sort: "service", cell: (stream) => named(stream.service) },
  model: {
    label: "Operation and model",
    sort: "model",
    phone: true,
    cell: (stream) => element("td", { class: "named", title: `${stream.operation} ${stream.model}` }, element("span", { class: "muted" }, `${stream.operation} `), stream.model),
  },
  provider: { label: "Provider", sort: "provider", cell: (stream) => named(stream.provider) },
  outcome: {
    label: "Outcome",
    sort: "outcome",
    phone: true,
    cell: (stream) => cell(badge(stream), stream.error_type && element("span", { class: "error-type", title: stream.error_type }, String(stream.error_type).split(".").at(-1))),
  },
  error: { label: "Error", sort: "error_type", cell: (stream) => named(stream.error_type) },
  finish_reason: { label: "Finish reason", sort: "finish_reason", cell: (stream) => named(stream.finish_reason) },
  first_token: {
    label: "First token",
    sort: "time_to_first_token_ms",
    title: "From the call to the first generated content",
    phone: true,
    number: true,
    cell: (stream) => number(duration(stream.time_to_first_token_ms), stream.first_token_late, `Objective: ${duration(stream.first_token_objective_ms)}`),
  },
  first_answer: timed("First answer token", "time_to_first_answer_token_ms", "From the call to the first visible text"),
  duration: timed("Duration", "duration_ms"),
  gap_p50: timed("Gap median", "gap_p50_ms", "Between arrivals of neighbouring chunks"),
  gap_p95: timed("Gap p95", "gap_p95_ms", "95th percentile of the gaps"),
  gap_max: timed("Gap max", "gap_max_ms", "The longest gap"),
  wait_max: timed("Longest wait", "wait_max_ms", "The longest read that waited for the provider"),
  stalls: {
    label: "Stalls",
    sort: "stall_count",
    title: "Reads that waited for at least the stall threshold",
    number: true,
    cell: (stream) => number(count(stream.stall_count), stream.stall_count > 0),
  },
  stalled_for: timed("Stalled for", "stall_total_ms"),
  shares: { label: "Spent by", sort: "wait_total_ms", title: "The call that opens the stream, waits for the provider, and the consumer's time; sorted by the waits", cell: (stream) => cell(sharesBar(stream)) },
  rate: { label: "Tokens/s", sort: "output_rate", number: true, cell: (stream) => number(rate(stream.output_rate)) },
  chunks: { label: "Chunks", sort: "chunks", number: true, cell: (stream) => number(count(stream.chunks)) },
  input: { label: "Prompt tokens", sort: "input_tokens", number: true, cell: (stream) => number(count(stream.input_tokens)) },
  tokens: { label: "Tokens", sort: "output_tokens", title: "Output tokens as the provider counted them", number: true, cell: (stream) => number(count(stream.output_tokens)) },
  cost: { label: "Cost", sort: "cost_usd", number: true, cell: (stream) => number(money(stream.cost_usd)) },
  conversation: { label: "Conversation", sort: "conversation", cell: (stream) => named(stream.conversation) },
  fields: { label: "Fields", cell: (stream) => element("td", { class: "fields" }, chips(stream.fields)) },
};
const USUAL = ["time", "service", "model", "outcome", "first_token", "duration", "gap_p50", "gap_max", "stalls", "shares", "rate", "tokens", "fields"];

export const EVERY = Object.keys(COLUMNS).map((name) => [name, COLUMNS[name].label]);

/** Names of the columns to show, from the address. */
export function chosen(text) {
  const names = text.split(",").filter((name) => Object.hasOwn(COLUMNS, name));
  return names.length ? names : USUAL;
}

export function isUsual(names) {
  return names.join() === USUAL.join();
}

/** Heads of a table; `sorted` is the order in the address, and `sort` is called with a new one. */
export function heads(names, sorted, sort) {
  return names.map((name) => {
    const { label, title, number: right, phone, sort: by } = COLUMNS[name];
    const style = [right && "number", !phone && "wide"].filter(Boolean).join(" ");
    if (!by) return { label, class: style || null, title };
    const descending = sorted === `-${by}`;
    const active = descending || sorted === by;
    const button = element("button", { type: "button", class: "sort", title, onclick: () => sort(descending ? by : `-${by}`) },
      label, active && element("span", { "aria-hidden": "true" }, descending ? " ↓" : " ↑"));
    return { label: button, class: style || null, "aria-sort": active ? (descending ? "descending" : "ascending") : null };
  });
}

export function cells(names, stream, link) {
  return names.map((name) => {
    const node = COLUMNS[name].cell(stream, link);
    if (!COLUMNS[name].phone) node.classList.add("wide");
    return node;
  });
}

export function money(dollars) {
  return dollars === null || dollars === undefined ? "–" : `$${Number(dollars.toPrecision(2))}`;
}

function timed(label, sort, title) {
  return { label, sort, title, number: true, cell: (stream) => number(duration(stream[sort])) };
}

function cell(...children) {
  return element("td", {}, children);
}

function named(text) {
  return element("td", { class: "named", title: text }, text ?? "");
}

function number(text, warning, title) {
  return element("td", { class: warning ? "number warning" : "number", title }, text);
}

function chips(fields) {
  const shown = fields.slice(0, SHOWN_FIELDS).map((field) => element("span", { class: "chip", title: field }, field));
  return fields.length > SHOWN_FIELDS ? [...shown, element("span", { class: "muted", title: fields.join(", ") }, `+${fields.length - SHOWN_FIELDS}`)] : shown;
}

function sharesBar(stream) {
  if (stream.wait_total_ms === null || stream.consumer_total_ms === null || !stream.duration_ms) return element("span", { class: "muted" }, "–");
  const parts = totals(stream, []).filter((part) => part.ms > 0);
  const text = parts.map(({ title, ms, percent }) => `${title} ${duration(ms)} (${percent} %)`).join(", ");
  return element("span", { class: "shares", role: "img", "aria-label": text, title: text },
    parts.map(({ part, ms }) => element("span", { class: part, style: { "flex-basis": `${(100 * ms) / stream.duration_ms}%` } })));
}
