// One stream as a chart: growth, gaps, and who was waited for, over the time since the call.

import { axis, colour, label } from "./chart.js";
import { duration, micro } from "./format.js";
import { groupsOf, keyOf, tokens } from "./groups.js";
import { logTime } from "./overview.js";

const seconds = (microseconds) => microseconds / 1e6;

/** `options`: unit "chars" or "chunks", gaps "log" or "linear". Returns plotly.js traces and layout. */
export function picture(detail, options) {
  const events = tokens(detail);
  const end = Math.max(detail.stream.duration_ms * 1000, events.at(-1)?.offset_us ?? 0, 1);
  const spans = events.map((event, index) => arrivals(detail, event, events[index + 1]?.offset_us ?? end));
  const colours = new Map(groupsOf(detail).map((group) => [group.key, group.colour]));
  const strip = whoWaited(events);
  const traces = [
    ...growth(events, spans, colours, options.unit),
    ...gaps(events, spans, colours),
    ...strip.traces,
  ];
  return { traces, layout: layout(detail, events, end, options, strip.shown) };
}

/** Arrivals within an event, its first among them: one, or for a merged event those the span kept. */
function arrivals(detail, event, before) {
  if ((event.count ?? 1) === 1) return [event.offset_us];
  const kept = detail.offsets_us.filter((offset) => offset > event.offset_us && offset < before);
  return kept.length > 0 ? [event.offset_us, ...kept] : [event.offset_us, before];
}

function growth(events, spans, colours, unit) {
  const size = (event) => (unit === "chars" ? event.chars ?? 0 : event.count ?? 1);
  const lines = new Map();
  let total = 0;
  let at = events[0]?.offset_us ?? 0;
  events.forEach((event, index) => {
    const key = keyOf(event);
    if (!lines.has(key)) lines.set(key, { x: [], y: [], text: [] });
    const line = lines.get(key);
    const point = (offset, height, text = null) => {
      line.x.push(offset === null ? null : seconds(offset));
      line.y.push(height);
      line.text.push(text);
    };
    const text = describe(event, total + size(event), unit);
    point(at, total, text);
    point(event.offset_us, total, text);
    const steps = spans[index];
    if (steps.length === 1) {
      point(event.offset_us, total + size(event), text);
    } else {
      // Merged: the whole is known and when chunks came, not how much each of them brought.
      steps.forEach((offset, step) => point(offset, total + (size(event) * (step + 1)) / steps.length, text));
    }
    point(null, null);
    total += size(event);
    at = steps.at(-1);
  });
  return [...lines].map(([key, line]) => ({
    type: "scatter",
    mode: "lines",
    x: line.x,
    y: line.y,
    hovertext: line.text,
    hovertemplate: "%{hovertext}<extra></extra>",
    line: { color: colours.get(key), width: 2.5 },
    connectgaps: false,
  }));
}

function describe(event, total, unit) {
  const count = event.count ?? 1;
  const what = count > 1 ? `chunks ${event.index} to ${event.index + count - 1}, merged` : `chunk ${event.index}`;
  const lines = [`<b>${micro(event.offset_us)}</b>  ${what}`.replaceAll(/<\/?b>/g, "")];
  const longest = count > 1 ? "longest " : "";
  lines.push(`${longest}gap ${micro(event.gap_us)}, ${longest}wait ${micro(event.wait_us)}`);
  lines.push(`${event.chars ?? 0} characters, ${total} ${unit === "chars" ? "characters" : "chunks"} so far`);
  const of = [event.field && `field ${event.field}`, event.kind].filter(Boolean).join(", ");
  if (of) lines.push(of);
  if (event.text) lines.push(`“${event.text.length > 60 ? `${event.text.slice(0, 60)}…` : event.text}”`);
  return lines.map(label).join("<br>");
}

function gaps(events, spans, colours) {
  const later = events.map((event, index) => [event, spans[index]]).filter(([event]) => event.index > 0 && event.gap_us !== undefined);
  const milliseconds = (value) => Math.max(value, 1) / 1000;
  const dots = (symbol, of, extra) => ({
    type: "scatter",
    mode: "markers",
    yaxis: "y2",
    x: of.map(([event]) => seconds(event.offset_us)),
    y: of.map(([event]) => milliseconds(event.gap_us)),
    hovertext: of.map(([event]) => describe(event, event.index + (event.count ?? 1), "chunks")),
    hovertemplate: "%{hovertext}<extra></extra>",
    marker: { symbol, size: 7, color: of.map(([event]) => colours.get(keyOf(event))), line: { width: 0 } },
    ...extra,
  });
  const merged = later.filter(([event]) => event.count > 1);
  const single = later.filter(([event]) => !(event.count > 1));
  const waits = later.filter(([event]) => event.wait_us !== undefined);
  return [
    {
      type: "scatter",
      mode: "markers",
      yaxis: "y2",
      x: waits.map(([event]) => seconds(event.offset_us)),
      y: waits.map(([event]) => milliseconds(event.wait_us)),
      hoverinfo: "skip",
      marker: { symbol: "line-ew", size: 12, line: { width: 1.5, color: colour("muted") } },
    },
    // How long a merged event reaches, at the height of its longest gap.
    {
      type: "scatter",
      mode: "lines",
      yaxis: "y2",
      x: merged.flatMap(([event, steps]) => [seconds(event.offset_us), seconds(steps.at(-1)), null]),
      y: merged.flatMap(([event]) => [milliseconds(event.gap_us), milliseconds(event.gap_us), null]),
      hoverinfo: "skip",
      line: { width: 1, color: colour("muted") },
    },
    dots("circle", single),
    dots("diamond-open", merged, { marker: { symbol: "diamond-open", size: 8, color: merged.map(([event]) => colours.get(keyOf(event))), line: { width: 1.5 } } }),
  ];
}

/** Where the time between arrivals went, for chunks that have an event of their own. */
function whoWaited(events) {
  const parts = { wait: [], consumer: [] };
  for (const event of events) {
    if ((event.count ?? 1) > 1 || event.wait_us === undefined) continue;
    const asked = event.offset_us - event.wait_us;
    parts.wait.push([asked, event.offset_us, event]);
    const kept = (event.gap_us ?? 0) - event.wait_us;
    if (event.index > 0 && kept > 0) parts.consumer.push([asked - kept, asked, event]);
  }
  const shown = parts.wait.length > 1;
  const bar = (name, title) => ({
    type: "bar",
    orientation: "h",
    yaxis: "y3",
    base: parts[name].map(([from]) => seconds(from)),
    x: parts[name].map(([from, to]) => seconds(to - from)),
    y: parts[name].map(() => 0),
    width: 1,
    hovertext: parts[name].map(([from, to, event]) => label(`${title} ${micro(to - from)}, before chunk ${event.index}`)),
    hovertemplate: "%{hovertext}<extra></extra>",
    marker: { color: colour(name), line: { width: 0 } },
  });
  return { shown, traces: shown ? [bar("wait", "waited for the provider"), bar("consumer", "kept by the consumer")] : [] };
}

function layout(detail, events, end, options, hasStrip) {
  const later = events.filter((event) => event.index > 0);
  const times = later.flatMap((event) => [event.gap_us, event.wait_us]).filter((time) => time !== undefined).map((time) => Math.max(time, 1) / 1000);
  const gapAxis = options.gaps === "log" && times.length
    ? logTime(Math.min(...times), Math.max(...times))
    : { rangemode: "tozero", ticksuffix: " ms" };
  return {
    height: 470,
    margin: { l: 64, r: 16, t: 46, b: 34 },
    barmode: "overlay",
    bargap: 0,
    uirevision: `${options.unit} ${options.gaps}`,
    xaxis: axis({ range: [-0.01 * seconds(end), 1.015 * seconds(end)], ticksuffix: " s", anchor: hasStrip ? "y3" : "y2" }),
    yaxis: axis({ domain: [0.47, 1], title: title(options.unit === "chars" ? "characters" : "chunks"), rangemode: "tozero" }),
    yaxis2: axis({ domain: [hasStrip ? 0.12 : 0, 0.42], title: title("gap"), ...gapAxis }),
    ...(hasStrip && { yaxis3: axis({ domain: [0, 0.07], range: [-0.5, 0.5], showticklabels: false, showgrid: false, fixedrange: true }) }),
    shapes: [...stalls(detail), ...milestones(detail, end).map(line)],
    annotations: milestones(detail, end).map(mark),
  };
}

function title(text) {
  return { text, font: { size: 11, color: colour("muted") }, standoff: 6 };
}

function stalls(detail) {
  return detail.events.filter((event) => event.type === "stall" && event.wait_us).map((event) => ({
    type: "rect",
    xref: "x",
    yref: "paper",
    x0: seconds(event.offset_us - event.wait_us),
    x1: seconds(event.offset_us),
    y0: 0,
    y1: 1,
    layer: "below",
    fillcolor: colour("stall"),
    line: { width: 0 },
    label: { text: `stall ${micro(event.wait_us)}`, textposition: "top center", font: { size: 11, color: colour("failed") } },
  }));
}

/** Moments worth a line; those at one place share it. */
function milestones(detail, end) {
  const at = (type) => detail.events.find((event) => event.type === type)?.offset_us;
  const first = detail.attributes["gen_ai.response.time_to_first_chunk"];
  const moments = [
    [typeof first === "number" ? first * 1e6 : undefined, "first chunk", "muted"],
    [at("first_token"), "first token", "ink"],
    [at("first_answer_token"), "first answer token", "ink"],
    ...detail.events.filter((event) => event.type === "attempt" && event.number > 1)
      .map((event) => [event.offset_us, `attempt ${event.number}`, "failed"]),
    [detail.stream.error_type ? end : undefined, detail.stream.outcome, "failed"],
  ].filter(([offset]) => offset !== undefined).sort((a, b) => a[0] - b[0]);
  const places = [];
  for (const [offset, name, property] of moments) {
    const last = places.at(-1);
    if (last && offset - last.offset < end * 0.004) last.names.push(name);
    else places.push({ offset, names: [name], property, level: last && offset - last.offset < end * 0.2 ? (last.level + 1) % 3 : 0 });
    if (property === "failed") places.at(-1).property = property;
  }
  return places;
}

function line({ offset, property, level }) {
  return {
    type: "line",
    xref: "x",
    yref: "paper",
    x0: seconds(offset),
    x1: seconds(offset),
    y0: 0,
    y1: 1 + level * 0.035,
    line: { width: 1, dash: "dot", color: colour(property) },
  };
}

function mark({ offset, names, property, level }) {
  const late = names.length > 0 && property === "failed";
  return {
    xref: "x",
    yref: "paper",
    x: seconds(offset),
    y: 1 + level * 0.035,
    yanchor: "bottom",
    xanchor: late ? "right" : "left",
    showarrow: false,
    text: label(`${names.join(", ")} ${duration(offset / 1000)}`),
    font: { size: 11, color: colour(property) },
  };
}
