// One stream: what was measured, its picture, the trace around it, and everything it was told from.

import { get } from "./api.js";
import { draw, release } from "./chart.js";
import { badge, element, panel } from "./elements.js";
import { clock, duration } from "./format.js";
import { groupsOf } from "./groups.js";
import { attributesPanel, contentPanel, errorNotice, eventsPanel, facts, fieldsPanel, recordsPanel } from "./panels.js";
import { picture } from "./picture.js";
import { waterfall } from "./waterfall.js";

export function streamView(trace, span) {
  const options = { unit: "chars", gaps: "log" };
  const chart = element("div", { class: "picture", role: "img" });
  const legend = element("ul", { class: "legend", "aria-label": "Colours" });
  const head = element("div", {});
  const rest = element("div", {});
  const drawing = panel("Tokens over time",
    choice("Growth in", options, "unit", [["chars", "characters"], ["chunks", "chunks"]], () => show()),
    choice("Gaps", options, "gaps", [["log", "log"], ["linear", "linear"]], () => show()),
    legend,
    chart,
    element("p", { class: "hint muted" }, "Drag to zoom, double-click to see all. The event table below has the same values."));
  const nothing = element("p", { class: "panel muted" });
  const node = element("article", { class: "stream" }, head);
  let detail = null;
  let state = "";

  async function update() {
    const found = await get(`/api/streams/${trace}/${span}`);
    if (JSON.stringify(found) === state) return;
    state = JSON.stringify(found);
    detail = found;
    const name = `${detail.stream.operation} ${detail.stream.model}`;
    document.title = `${name} · otel-tokenstream`;
    head.replaceChildren(...header(detail, name));
    const open = new Set([...rest.querySelectorAll("details[open]")].map((details) => details.id));
    rest.replaceChildren(...[
      fieldsPanel(detail), contentPanel(detail), waterfall(detail), attributesPanel(detail), eventsPanel(detail), recordsPanel(detail),
    ].filter(Boolean));
    for (const details of rest.querySelectorAll("details")) details.open ||= open.has(details.id);
    if (!drawing.isConnected) node.append(drawing, nothing, rest);
    await show();
  }

  async function show() {
    if (!detail) return;
    const groups = groupsOf(detail);
    drawing.hidden = groups.length === 0;
    nothing.hidden = !drawing.hidden;
    nothing.textContent = whyNothing(detail.stream);
    if (drawing.hidden) return;
    legend.replaceChildren(...keys(groups, detail));
    chart.setAttribute("aria-label", describe(detail));
    const { traces, layout } = picture(detail, options);
    await draw(chart, traces, layout);
  }

  return { node, update, recolour: show, close: () => release(chart) };
}

function header(detail, name) {
  const { stream } = detail;
  const told = [stream.service, stream.provider, clock(stream.start_unix_ns, { precise: true }), duration(stream.duration_ms)];
  return [
    element("p", { class: "back" }, element("a", { href: "#/" }, "← Streams")),
    element("h1", {}, name, " ", badge(stream)),
    element("p", { class: "muted" }, told.filter(Boolean).join(" · "), " · trace ", element("code", {}, stream.trace_id)),
    errorNotice(detail),
    facts(detail),
  ].filter(Boolean);
}

function choice(title, options, option, values, changed) {
  return element("fieldset", { class: "choice" },
    element("legend", {}, title),
    values.map(([value, text]) => element("label", {},
      element("input", { type: "radio", name: option, value, checked: options[option] === value, onchange: () => {
        options[option] = value;
        changed();
      } }), text)));
}

function keys(groups, detail) {
  const tokens = groups.flatMap((group) => group.events);
  const merged = tokens.some((event) => event.count > 1);
  const single = tokens.some((event) => event.index > 0 && (event.count ?? 1) === 1);
  const key = (mark, text, style) => element("li", {}, element("span", { class: `key ${mark}`, style }), text);
  return [
    ...groups.map((group) => key("line", group.name, { background: `var(--${group.property})` })),
    single && key("dot", "gap"),
    merged && key("diamond", "longest gap of a merged event"),
    key("line", "wait for the provider", { background: "var(--wait)" }),
    key("line", "consumer’s time", { background: "var(--consumer)" }),
    detail.stream.stall_count > 0 && key("band", "stall"),
  ].filter(Boolean);
}

function whyNothing(stream) {
  if (stream.chunks === null) return "This call was not streamed: there are no tokens over time to show.";
  if (stream.chunks === 0) return "No chunk came.";
  return "The token events of this stream are not here: the application sends none, or sends them as log records that did not arrive.";
}

function describe(detail) {
  const { stream } = detail;
  return `Characters, gaps and waits over the ${duration(stream.duration_ms)} of the stream: ${stream.chunks ?? "some"} chunks, `
    + `first token after ${duration(stream.time_to_first_token_ms)}, longest gap ${duration(stream.gap_max_ms)}, ${stream.stall_count ?? 0} stalls`;
}
