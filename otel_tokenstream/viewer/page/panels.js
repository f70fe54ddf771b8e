// The parts of a stream's page that are tables and figures.

import { element, panel, table } from "./elements.js";
import { clock, count, duration, micro, rate, value } from "./format.js";
import { groupsOf, tokens } from "./groups.js";
import { totals } from "./spent.js";

/** `parts` say who spent the time, for a stream that does not say it itself yet. */
export function facts(detail, parts) {
  const { stream, attributes } = detail;
  const blocked = pending(stream);
  const cost = attributes["tokenstream.cost_usd"];
  const entry = (name, text, warning) => element("div", {}, element("dt", {}, name), element("dd", { class: warning ? "warning" : null }, text));
  return element("dl", { class: "facts" },
    blocked && entry(...blocked, stream.running.phase === "tokens"),
    entry(stream.in_progress ? "so far" : "duration", duration(stream.duration_ms)),
    entry("first token", duration(stream.time_to_first_token_ms), stream.first_token_late),
    entry("its objective", duration(stream.first_token_objective_ms)),
    entry("first answer token", duration(stream.time_to_first_answer_token_ms)),
    entry("gap median | p95 | max", [stream.gap_p50_ms, stream.gap_p95_ms, stream.gap_max_ms].map(duration).join(" | ")),
    entry("longest wait", duration(stream.wait_max_ms)),
    entry("stalls", stream.stall_count ? `${stream.stall_count}, ${duration(stream.stall_total_ms)}` : count(stream.stall_count), stream.stall_count > 0),
    entry("tokens/s", rate(stream.output_rate)),
    entry("tokens in | out", `${count(stream.input_tokens)} | ${count(stream.output_tokens)}`),
    entry("chunks", count(stream.chunks)),
    stream.finish_reason && entry("finish reason", stream.finish_reason),
    typeof cost === "number" && entry("cost", `$${cost.toPrecision(2)}`),
    split(stream, parts));
}

function split(stream, parts) {
  if (!stream.duration_ms || (stream.wait_total_ms === null && parts.length === 0)) return null;
  const shown = totals(stream, parts).filter(({ ms }) => ms >= 0.5);
  return element("div", { class: "split" },
    element("dt", {}, stream.in_progress ? "where the time goes" : "where the time went"),
    element("dd", {},
      element("span", { class: "shares", "aria-hidden": "true" },
        shown.map(({ part, ms }) => element("span", { class: part, style: { "flex-basis": `${(100 * ms) / stream.duration_ms}%` } }))),
      element("span", { class: "parts" }, shown.map(({ part, title, ms, percent }) =>
        element("span", {}, element("i", { class: `key line ${part}` }), `${title} ${duration(ms)} (${percent} %)`)))));
}

/** What a stream in progress waits for now. */
function pending(stream) {
  const { running } = stream;
  if (!running?.phase) return null;
  const awaited = { opening: "waits for its stream", first_token: "waits for the first token", tokens: "waits for the next chunk" }[running.phase];
  return [awaited, micro(running.now_us - running.blocked_since_us)];
}

export function errorNotice(detail) {
  const { stream, status_message: message } = detail;
  if (!stream.error_type && detail.status !== "error") return null;
  const exceptions = detail.events.filter((event) => event.type === "exception");
  return element("div", { class: "notice", role: "note" },
    element("strong", {}, stream.error_type ?? "error"),
    message && element("p", {}, message),
    exceptions.map((event) => element("pre", { tabindex: "0" },
      event.attributes["exception.stacktrace"] ?? `${event.attributes["exception.type"]}: ${event.attributes["exception.message"] ?? ""}`)));
}

export function fieldsPanel(detail) {
  const groups = groupsOf(detail).filter((group) => group.events.some((event) => event.chars > 0));
  if (groups.length < 2 && !groups.some((group) => group.isField)) return null;
  const rows = groups.map((group) => {
    const told = group.events.filter((event) => (event.chars ?? 0) > 0);
    return element("tr", {},
      element("th", { scope: "row" }, element("i", { class: "key line", style: { background: `var(--${group.property})` } }), group.name),
      element("td", { class: "number" }, micro(told[0]?.offset_us)),
      element("td", { class: "number" }, micro(told.at(-1)?.offset_us)),
      element("td", { class: "number" }, count(group.events.reduce((sum, event) => sum + (event.chars ?? 0), 0))),
      element("td", { class: "number" }, count(group.events.reduce((sum, event) => sum + (event.count ?? 1), 0))));
  });
  const number = (text) => ({ label: text, class: "number" });
  return panel(groups.some((group) => group.isField) ? "Output fields" : "Kinds of content",
    table("Output fields and kinds", ["Name", number("First token"), number("Last event"), number("Characters"), number("Chunks")], rows));
}

export function contentPanel(detail) {
  const names = new Map(groupsOf(detail).flatMap((group) => group.events.map((event) => [event, group])));
  const runs = [];
  for (const event of tokens(detail).filter((token) => token.text)) {
    if (runs.at(-1)?.group !== names.get(event)) runs.push({ group: names.get(event), text: "" });
    runs.at(-1).text += event.text;
  }
  if (runs.length === 0) return null;
  return panel("Text", element("div", { class: "content", tabindex: "0", role: "region", "aria-label": "Text of the tokens" },
    runs.map(({ group, text }) => element("p", { style: { "border-color": `var(--${group.property})` } },
      runs.length > 1 && element("b", {}, group.name), element("span", {}, text)))));
}

export function attributesPanel(detail) {
  const hidden = new Set(["tokenstream.offsets_us"]); // drawn, and too long to read
  const rank = (name) => (name.startsWith("tokenstream.") ? 0 : name.startsWith("gen_ai.") ? 1 : 2);
  const names = Object.keys(detail.attributes).filter((name) => !hidden.has(name)).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  if (names.length === 0) return null;
  const rows = names.map((name) => {
    const known = detail.descriptions[name];
    return element("tr", {},
      element("th", { scope: "row" }, element("code", {}, name)),
      element("td", { class: "value" }, value(detail.attributes[name]), known?.unit && element("span", { class: "muted" }, ` ${known.unit.replaceAll(/[{}]/g, "")}`)),
      element("td", { class: "muted" }, known?.brief ?? ""));
  });
  const resource = Object.entries(detail.resource).map(([name, content]) =>
    element("tr", {}, element("th", { scope: "row" }, element("code", {}, name)), element("td", { class: "value" }, value(content)), element("td", {})));
  return folded("attributes", `Attributes (${names.length})`, table("Attributes of the span", ["Name", "Value", "Meaning"], rows),
    resource.length > 0 && element("h3", {}, "Resource"),
    resource.length > 0 && table("Attributes of the resource", ["Name", "Value", ""], resource));
}

export function eventsPanel(detail) {
  const { events } = detail;
  if (events.length === 0) return null;
  const merged = events.filter((event) => event.count > 1).length;
  const source = detail.events_source === "log" ? "log records" : "span events";
  const note = merged > 0
    ? ` ${merged} of them stand for several neighbouring chunks each: their gap is the longest one, their wait and their characters are sums.`
    : "";
  const columns = EVENT_COLUMNS.filter(([, , content]) => events.some((event) => content(event) !== undefined && content(event) !== ""));
  const rows = events.map((event) => element("tr", {},
    columns.map(([, style, content]) => element("td", { class: style || null }, content(event)))));
  return folded("events", `Events (${events.length})`,
    element("p", { class: "muted" }, `From ${source}.${note}`),
    table("Events of the stream", columns.map(([label, style]) => ({ label, class: style })), rows));
}

const time = (microseconds) => (microseconds === undefined ? "" : micro(microseconds));
const EVENT_COLUMNS = [
  ["Since call", "number", (event) => time(event.offset_us)],
  ["Event", "", (event) => event.type],
  ["Chunk", "number", (event) => event.index],
  ["Gap", "number", (event) => time(event.gap_us)],
  ["Wait", "number", (event) => time(event.wait_us)],
  ["Characters", "number", (event) => event.chars],
  ["Chunks merged", "number", (event) => event.count],
  ["Kind", "", (event) => event.kind],
  ["Field", "", (event) => event.field],
  ["Text and other", "value", more],
];

function more(event) {
  const parts = [event.text, event.number && `attempt ${event.number}`, event.model, event.error_type];
  const others = Object.entries(event.attributes)
    .filter(([name]) => !name.startsWith("gen_ai.") && name !== "event.name")
    .map(([name, content]) => `${name}=${value(content)}`);
  return [...parts, ...others].filter(Boolean).join("  ");
}

export function recordsPanel(detail) {
  if (detail.records.length === 0) return null;
  const rows = detail.records.map((record) => element("tr", {},
    element("td", {}, clock(record.time_unix_ns, { precise: true })),
    element("td", {}, record.severity || record.name),
    element("td", { class: "value" }, value(record.body ?? record.attributes))));
  return folded("records", `Log records of the trace (${detail.records.length})`, table("Log records", ["Time", "Severity", "Message"], rows));
}

function folded(id, title, ...children) {
  return element("details", { class: "panel", id }, element("summary", {}, title), children);
}
