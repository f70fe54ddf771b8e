// One stream: what was measured, its picture, the trace around it, and everything it was told from.

import { get } from "./api.js";
import { draw, release } from "./chart.js";
import { conversationPanel } from "./conversation.js";
import { badge, element, panel } from "./elements.js";
import { clock, duration } from "./format.js";
import { groupsOf } from "./groups.js";
import { attributesPanel, contentPanel, errorNotice, eventsPanel, facts, fieldsPanel, recordsPanel } from "./panels.js";
import { picture, spentBy } from "./picture.js";
import { playback } from "./playback.js";
import { advanced, told } from "./running.js";
import { linearTicks } from "./scale.js";
import { streamTools } from "./tools.js";
import { waterfall } from "./waterfall.js";

const TICK_MS = 1000;

export function streamView(trace, span, list) {
  const options = { unit: "chars", gaps: "log" };
  const chart = element("div", { class: "picture", role: "img" });
  const legend = element("ul", { class: "legend", "aria-label": "Colours" });
  const head = element("div", {});
  const figures = element("div", {}); // apart from the head, whose links keep the focus while the clock goes on
  const rest = element("div", {});
  const openSpans = new Map();
  const drawing = panel("Tokens over time",
    choice("Growth in", options, "unit", [["chars", "characters"], ["chunks", "chunks"]], () => show()),
    choice("Gaps", options, "gaps", [["log", "log"], ["linear", "linear"]], () => show()),
    legend,
    chart,
    element("p", { class: "hint muted" }, "Drag to zoom, double-click to see all. The event table below has the same values."));
  const nothing = element("p", { class: "panel muted" });
  const player = playback();
  const tools = streamTools(trace, span, list, () => detail);
  const node = element("article", { class: "stream" }, head, tools.node, figures);
  let detail = null;
  let fetched = null;
  let fetchedAt = 0;
  let zooms = false;
  const ticking = setInterval(tick, TICK_MS);

  async function update() {
    const found = await get(`api/streams/${trace}/${span}`);
    const isNew = !fetched || told(found) !== told(fetched);
    [fetched, fetchedAt] = [found, performance.now()];
    detail = found;
    if (!isNew) return;
    document.title = `${nameOf(detail)} · otel-tokenstream`;
    const refocus = focusIn(node);
    const places = scrolledIn(rest);
    head.replaceChildren(...header(detail, nameOf(detail), list));
    const open = new Set(foldedIn(rest).filter(([details]) => details.open).map(([, name]) => name));
    rest.replaceChildren(...[
      fieldsPanel(detail), conversationPanel(detail), contentPanel(detail), waterfall(detail, openSpans), attributesPanel(detail), eventsPanel(detail), recordsPanel(detail),
    ].filter(Boolean));
    for (const [details, name] of foldedIn(rest)) details.open ||= open.has(name);
    for (const region of regionsIn(rest)) if (places.has(region.ariaLabel)) region.scrollTo(...places.get(region.ariaLabel));
    refocus();
    if (!drawing.isConnected) node.append(drawing, nothing, player.node, rest);
    player.load(detail);
    await tools.update();
    await show();
  }

  /** While a stream is in progress its clock goes on between two answers. */
  function tick() {
    if (!fetched?.stream.running || document.hidden) return;
    detail = advanced(fetched, performance.now() - fetchedAt);
    show();
  }

  async function show() {
    if (!detail) return;
    figures.replaceChildren(facts(detail, spentBy(detail)));
    const groups = groupsOf(detail);
    drawing.hidden = groups.length === 0;
    nothing.hidden = !drawing.hidden;
    nothing.textContent = whyNothing(detail.stream);
    if (drawing.hidden) return;
    legend.replaceChildren(...keys(groups, detail));
    chart.setAttribute("aria-label", describe(detail));
    const { traces, layout } = picture(detail, { ...options, width: chart.clientWidth });
    await draw(chart, traces, layout);
    if (!zooms) chart.on("plotly_relayout", rescale);
    zooms = true;
    await rescale();
  }

  /** Ticks that fit what a zoom shows. */
  async function rescale() {
    const { range: [low, high], tickvals: shown } = chart.layout.xaxis;
    const { tickvals, ticktext } = linearTicks(low, high, 1000);
    if (JSON.stringify(tickvals) === JSON.stringify(shown)) return;
    await window.Plotly.relayout(chart, { "xaxis.tickvals": tickvals, "xaxis.ticktext": ticktext });
  }

  return {
    node,
    update,
    recolour: show,
    keys: tools.keys,
    close: () => {
      player.close();
      clearInterval(ticking);
      release(chart);
    },
  };
}

/** The folded parts, each with the name by which it is found again; those of a conversation have no id. */
function foldedIn(rest) {
  return [...rest.querySelectorAll("details")].map((details, index) => [details, details.id || index]);
}

function regionsIn(rest) {
  return [...rest.querySelectorAll("[role=region][aria-label]")];
}

/** How far the parts that scroll by themselves are scrolled, by their names. */
function scrolledIn(rest) {
  return new Map(regionsIn(rest).filter((region) => region.scrollTop || region.scrollLeft).map((region) => [region.ariaLabel, [region.scrollLeft, region.scrollTop]]));
}

/** Returns what gives the same link, span, folded or scrolling part the focus once they are made anew. */
function focusIn(node) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  const selector = focused && selectorOf(focused);
  return () => {
    if (selector && !focused.isConnected) node.querySelector(selector)?.focus({ preventScroll: true });
  };
}

function selectorOf(control) {
  if (control.dataset.key) return `[data-key="${control.dataset.key}"]`;
  if (control.matches("[role=region]")) return `[aria-label="${CSS.escape(control.ariaLabel)}"]`;
  if (control.matches("a[href]")) return `a[href="${CSS.escape(control.getAttribute("href"))}"]`;
  return control.matches("details[id] > summary") ? `#${control.parentElement.id} > summary` : null;
}

function nameOf({ stream }) {
  return `${stream.operation} ${stream.model}`;
}

function header(detail, name, list) {
  const { stream } = detail;
  const told = [stream.service, stream.provider, clock(stream.start_unix_ns, { precise: true })];
  return [
    element("p", { class: "back" }, element("a", { href: list ? `#/?${list}` : "#/" }, "← Streams")),
    element("h1", {}, name, " ", badge(stream)),
    element("p", { class: "muted" }, told.filter(Boolean).join(" · "), " · trace ", element("code", {}, stream.trace_id)),
    errorNotice(detail),
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
    key("line", "opening", { background: "var(--opening)" }),
    key("line", "wait for the provider", { background: "var(--wait)" }),
    key("line", "consumer’s time", { background: "var(--consumer)" }),
    detail.stream.stall_count > 0 && key("band", "stall"),
  ].filter(Boolean);
}

function whyNothing(stream) {
  if (stream.chunks === null) return "This call was not streamed: there are no tokens over time to show.";
  if (stream.chunks === 0 && stream.in_progress) return "No chunk has come yet.";
  if (stream.chunks === 0) return "No chunk came.";
  return "The token events of this stream are not here: the application sends none, or sends them as log records that did not arrive.";
}

function describe(detail) {
  const { stream } = detail;
  return `Characters, gaps and waits over the ${duration(stream.duration_ms)} of the stream: ${stream.chunks ?? "some"} chunks, `
    + `first token after ${duration(stream.time_to_first_token_ms)}, longest gap ${duration(stream.gap_max_ms)}, ${stream.stall_count ?? 0} stalls`;
}
