// The trace around a stream, parents above their children, on one time scale.

import { element, panel } from "./elements.js";
import { between, duration } from "./format.js";

const DEEPEST = 12;

export function waterfall(detail) {
  const spans = detail.trace;
  if (spans.length === 0) return null;
  const earliest = spans.map((span) => BigInt(span.start)).reduce((a, b) => (a < b ? a : b)).toString();
  const latest = spans.map((span) => BigInt(span.end)).reduce((a, b) => (a > b ? a : b)).toString();
  const whole = Math.max(between(earliest, latest), 0.001);
  const rows = inOrder(spans).map(({ span, depth }) => row(span, depth, earliest, whole, detail));
  const title = spans.length === 1 ? "Trace: this span alone" : `Trace: ${spans.length} spans, ${duration(whole)}`;
  return panel("Trace",
    element("p", { class: "muted" }, title.replace("Trace: ", "")),
    element("ol", { class: "waterfall" }, rows));
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

function row(span, depth, earliest, whole, detail) {
  const start = (100 * between(earliest, span.start)) / whole;
  const time = between(span.start, span.end);
  const width = (100 * time) / whole;
  const here = span.span_id === detail.stream.span_id;
  const state = span.status === "error" || span.outcome === "failed" ? " error" : "";
  const kind = span.is_generation ? "generation" : span.kind;
  const name = span.is_generation && !here
    ? element("a", { href: `#/${detail.stream.trace_id}/${span.span_id}` }, span.name)
    : element("span", {}, span.name);
  return element("li", { class: here ? "here" : null, "aria-current": here ? "true" : null },
    element("span", { class: "name", style: { "--depth": String(Math.min(depth, DEEPEST)) } }, name,
      element("span", { class: "muted" }, kind === "internal" || kind === "unspecified" ? "" : ` ${kind}`),
      span.error_type && element("span", { class: "error-type", title: span.error_type }, String(span.error_type).split(".").at(-1))),
    element("span", { class: "track", "aria-hidden": "true" },
      element("span", { class: `extent ${kind}${state}`, style: { left: `${start}%`, width: `max(2px, ${width}%)` } })),
    element("span", { class: "number" }, duration(time)));
}
