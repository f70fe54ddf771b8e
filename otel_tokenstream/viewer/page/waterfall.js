// The trace around a stream, parents above their children, on one time scale.

import { get } from "./api.js";
import { element, panel, table } from "./elements.js";
import { between, duration, value } from "./format.js";
import { linearTicks } from "./scale.js";

const DEEPEST = 12;

/** `opened` keeps the contents of opened spans by their ids: the waterfall is made anew while a stream runs. */
export function waterfall(detail, opened) {
  const spans = detail.trace;
  if (spans.length === 0) return null;
  const earliest = spans.map((span) => BigInt(span.start)).reduce((a, b) => (a < b ? a : b)).toString();
  const latest = spans.map((span) => BigInt(span.end)).reduce((a, b) => (a > b ? a : b)).toString();
  const whole = Math.max(between(earliest, latest), 0.001);
  const rows = inOrder(spans).map(({ span, depth }) => row(span, depth, earliest, whole, detail, opened));
  const title = spans.length === 1 ? "this span alone" : `${spans.length} spans, ${duration(whole)}`;
  return panel("Trace",
    element("p", { class: "muted" }, title, " · the thin mark is the first token · a span opens with a click"),
    element("div", { class: "waterfall-axis", "aria-hidden": "true" }, ticks(whole)),
    element("ol", { class: "waterfall" }, rows));
}

function ticks(whole) {
  const { tickvals, ticktext } = linearTicks(0, whole, 1);
  return element("span", { class: "track" }, tickvals.map((value, index) =>
    element("span", { class: "tick", style: { left: `${(100 * value) / whole}%` } }, ticktext[index])));
}

/** Depth first; a span whose parent was not sent stands at the top. */
function inOrder(spans) {
  const ids = new Set(spans.map((span) => span.span_id));
  const children = new Map();
  for (const span of spans) {
    const parent = ids.has(span.parent_id) && span.parent_id !== span.span_id ? span.parent_id : "";
    children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const ordered = [];
  const seen = new Set();
  const visit = (parent, depth) => {
    for (const span of children.get(parent) ?? []) {
      if (seen.has(span.span_id)) continue;
      seen.add(span.span_id);
      ordered.push({ span, depth });
      visit(span.span_id, depth + 1);
    }
  };
  visit("", 0);
  for (const span of spans) if (!seen.has(span.span_id)) ordered.push({ span, depth: 0 }); // parents in a circle
  return ordered;
}

function row(span, depth, earliest, whole, detail, opened) {
  const start = (100 * between(earliest, span.start)) / whole;
  const time = between(span.start, span.end);
  const width = (100 * time) / whole;
  const here = span.span_id === detail.stream.span_id;
  const state = span.status === "error" || span.outcome === "failed" ? " error" : "";
  const kind = span.is_generation ? "generation" : span.kind;
  const name = span.is_generation && !here
    ? element("a", { href: `#/${detail.stream.trace_id}/${span.span_id}` }, span.name)
    : element("span", {}, span.name);
  const first = span.first_token_ms === null ? null : start + (100 * span.first_token_ms) / whole;
  const inside = opened.get(span.span_id) ?? element("div", { class: "inside" });
  const open = element("button", { type: "button", class: "toggle", "data-key": span.span_id, "aria-label": `Open ${span.name}`, onclick: () => toggle() });
  const showState = () => {
    open.setAttribute("aria-expanded", String(opened.has(span.span_id)));
    open.textContent = opened.has(span.span_id) ? "▾" : "▸";
  };
  const toggle = async () => {
    if (!opened.delete(span.span_id)) opened.set(span.span_id, inside);
    showState();
    const details = opened.has(span.span_id) ? spanDetails(await get(`api/spans/${detail.stream.trace_id}/${span.span_id}`)) : [];
    inside.replaceChildren(...(opened.has(span.span_id) ? details : [])); // it may have been closed meanwhile
  };
  showState();
  return element("li", { class: here ? "here" : null, "aria-current": here ? "true" : null },
    element("div", { class: "span-row", onclick: (event) => event.target.closest("a, button") || toggle() },
      open,
      element("span", { class: "name", style: { "--depth": String(Math.min(depth, DEEPEST)) } }, name,
        element("span", { class: "muted" }, kind === "internal" || kind === "unspecified" ? "" : ` ${kind}`),
        span.error_type && element("span", { class: "error-type", title: span.error_type }, String(span.error_type).split(".").at(-1))),
      element("span", { class: "track", "aria-hidden": "true" },
        element("span", { class: `extent ${kind}${state}`, style: { left: within(start), width: `max(2px, ${width}%)` } }),
        first !== null && element("span", { class: "first-token", style: { left: within(first) } })),
      element("span", { class: "number" }, duration(time))),
    inside);
}

/** A clock that was set back puts a time beyond the end of the trace. */
function within(percent) {
  return `min(${percent}%, 100% - 2px)`;
}

function spanDetails(span) {
  const pairs = (content) => Object.entries(content).map(([name, each]) =>
    element("tr", {}, element("th", { scope: "row" }, element("code", {}, name)), element("td", { class: "value" }, value(each))));
  const events = span.events.map((event) => element("tr", {},
    element("th", { scope: "row" }, `${duration(between(span.start, event.time_unix_ns))} ${event.name}`),
    element("td", { class: "value" }, value(event.attributes))));
  const links = span.links.map((link) => element("tr", {},
    element("th", { scope: "row" }, link.is_generation
      ? element("a", { href: `#/${link.trace_id}/${link.span_id}` }, link.span_id)
      : element("code", {}, `${link.trace_id} ${link.span_id}`)),
    element("td", { class: "value" }, value(link.attributes))));
  return [
    span.status_message && element("p", { class: "warning" }, span.status_message),
    table(`Attributes of ${span.name}`, ["Attribute", "Value"], pairs(span.attributes), { class: "span-attributes" }),
    events.length > 0 && table(`Events of ${span.name}`, ["Event", "Attributes"], events),
    links.length > 0 && table(`Links of ${span.name}`, ["Span", "Attributes"], links),
  ].filter(Boolean);
}
