// One stream as a chart: growth, gaps, and who was waited for, over the time since the call.

import { axis, colour, label } from "./chart.js";
import { duration, micro } from "./format.js";
import { groupsOf, keyOf, tokens } from "./groups.js";
import { logTime } from "./overview.js";

const FAINT = "1c"; // opacity in a hexadecimal colour

const seconds = (microseconds) => microseconds / 1e6;

/** `options`: unit "chars" or "chunks", gaps "log" or "linear". Returns plotly.js traces and layout. */
export function picture(detail, options) {
  const events = tokens(detail);
  const end = Math.max(detail.stream.duration_ms * 1000, events.at(-1)?.offset_us ?? 0, 1);
  const spans = events.map((event, index) => arrivals(detail, event, events[index + 1], end));
  const groups = new Map(groupsOf(detail).map((group) => [group.key, group]));
  const hasStrip = events.some((event) => event.wait_us !== undefined);
  const traces = [
    ...growth(events, spans, groups, options.unit),
    ...gaps(events, spans, groups),
    ...(hasStrip ? whoWaited(events, spans) : []),
  ];
  return { traces, layout: layout(detail, events, end, options, hasStrip) };
}

/** Arrivals within an event, its first among them: one, or for a merged event those that are known. */
function arrivals(detail, event, next, end) {
  if (!(event.count > 1)) return [event.offset_us];
  const tellsLast = next && (next.count ?? 1) === 1;
  const until = tellsLast ? next.offset_us - next.gap_us : next?.offset_us ?? end;
  const kept = detail.offsets_us.filter((offset) => offset > event.offset_us && offset < until);
  return tellsLast || kept.length === 0 ? [event.offset_us, ...kept, until] : [event.offset_us, ...kept];
}

/** One stepped line for every run of events of one group. */
function growth(events, spans, groups, unit) {
  const size = (event) => (unit === "chars" ? event.chars ?? 0 : event.count ?? 1);
  const runs = [];
  let total = 0;
  let at = events[0]?.offset_us ?? 0;
  events.forEach((event, index) => {
    if (runs.at(-1)?.key !== keyOf(event)) runs.push({ key: keyOf(event), x: [], y: [], text: [] });
    const run = runs.at(-1);
    const steps = spans[index];
    const text = describe(event, `, ${total + size(event)} ${unit === "chars" ? "characters" : "chunks"} so far`);
    const point = (offset, height) => {
      run.x.push(seconds(offset));
      run.y.push(height);
      run.text.push(text);
    };
    point(at, total);
    point(event.offset_us, total);
    // Merged: known is the whole, and when some of its chunks came, not how much each of them brought.
    const first = 1 / Math.max(event.count ?? 1, 1);
    steps.forEach((offset, step) => point(offset, total + size(event) * (first + ((1 - first) * step) / Math.max(steps.length - 1, 1))));
    total += size(event);
    at = steps.at(-1);
  });
  return runs.map((run) => ({
    type: "scatter",
    mode: "lines",
    x: run.x,
    y: run.y,
    hovertext: run.text,
    hovertemplate: "%{hovertext}<extra></extra>",
    line: { color: groups.get(run.key).colour, width: 2.5 },
    fill: groups.get(run.key).quiet ? "none" : "tozeroy",
    fillcolor: `${groups.get(run.key).colour}${FAINT}`,
  }));
}

function describe(event, sum = "") {
  const merged = event.count > 1;
  const longest = merged ? "longest " : "";
  const lines = [
    `${micro(event.offset_us)}  ${merged ? `chunks ${event.index} to ${event.index + event.count - 1}, merged` : `chunk ${event.index}`}`,
    event.index > 0 && `${longest}gap ${micro(event.gap_us)}, ${merged ? "waits in all" : "wait"} ${micro(event.wait_us)}`,
    `${event.chars ?? 0} characters${sum}`,
    [event.field && `field ${event.field}`, event.kind].filter(Boolean).join(", "),
    event.text && `“${event.text.length > 60 ? `${event.text.slice(0, 60)}…` : event.text}”`,
  ];
  return lines.filter(Boolean).map(label).join("<br>");
}

function gaps(events, spans, groups) {
  const milliseconds = (value) => Math.max(value, 1) / 1000;
  const later = events.map((event, index) => ({ event, until: spans[index].at(-1), at: seconds(event.offset_us) }))
    .filter(({ event }) => event.index > 0 && event.gap_us !== undefined && event.count !== 0);
  const merged = later.filter(({ event }) => event.count > 1);
  const single = later.filter(({ event }) => !(event.count > 1));
  // A merged event tells its waits in all, which is nothing to hold against its longest gap.
  const kept = single.filter(({ event }) => event.gap_us > 1.03 * (event.wait_us ?? event.gap_us));
  const lines = (parts, settings) => ({
    type: "scatter",
    mode: "lines",
    yaxis: "y2",
    x: parts.flatMap(([[x0], [x1]]) => [x0, x1, null]),
    y: parts.flatMap(([[, y0], [, y1]]) => [y0, y1, null]),
    hoverinfo: "skip",
    line: settings,
  });
  const dots = (of, symbol, width) => ({
    type: "scatter",
    mode: "markers",
    yaxis: "y2",
    x: of.map(({ at }) => at),
    y: of.map(({ event }) => milliseconds(event.gap_us)),
    hovertext: of.map(({ event }) => describe(event)),
    hovertemplate: "%{hovertext}<extra></extra>",
    marker: { symbol, size: 7, color: of.map(({ event }) => groups.get(keyOf(event)).colour), line: { width } },
  });
  return [
    lines(kept.map(({ event, at }) => [[at, milliseconds(event.wait_us)], [at, milliseconds(event.gap_us)]]), { width: 2, color: colour("consumer") }),
    lines(merged.map(({ event, at, until }) => [[at, milliseconds(event.gap_us)], [seconds(until), milliseconds(event.gap_us)]]), { width: 1, color: colour("muted") }),
    dots(single, "circle", 0),
    dots(merged, "diamond-open", 1.5),
  ];
}

/** Where the time between arrivals went. Of merged chunks only the sums are known: their waits are drawn first. */
function whoWaited(events, spans) {
  const parts = { wait: [], consumer: [] };
  let last = 0; // the last arrival before
  events.forEach((event, index) => {
    if (event.count === 0 || event.wait_us === undefined) return;
    if (event.count > 1) {
      const from = last;
      const known = Math.max(spans[index].at(-1), from + event.wait_us); // arrivals that are not known may have come later
      last = Math.max(Math.min(known, events[index + 1]?.offset_us ?? known), from);
      const waited = Math.min(event.wait_us, last - from);
      parts.wait.push([from, from + waited, event]);
      parts.consumer.push([from + waited, last, event]);
    } else {
      last = event.offset_us;
      const asked = last - event.wait_us;
      const kept = event.gap_us - event.wait_us;
      parts.wait.push([asked, last, event]);
      if (event.index > 0 && kept > 0) parts.consumer.push([asked - kept, asked, event]);
    }
  });
  const place = (event) => (event.count > 1 ? `between chunks ${event.index} to ${event.index + event.count - 1}` : `before chunk ${event.index}`);
  const bar = (name, text) => ({
    type: "bar",
    orientation: "h",
    yaxis: "y3",
    base: parts[name].map(([from]) => seconds(from)),
    x: parts[name].map(([from, to]) => seconds(to - from)),
    y: parts[name].map(() => 0),
    width: 1,
    hovertext: parts[name].map(([from, to, event]) => label(`${text} ${micro(to - from)}, ${place(event)}`)),
    hovertemplate: "%{hovertext}<extra></extra>",
    marker: { color: colour(name), line: { width: 0 } },
  });
  return [bar("wait", "waited for the provider"), bar("consumer", "kept by the consumer")];
}

function layout(detail, events, end, options, hasStrip) {
  const times = events.filter((event) => event.index > 0 && event.count !== 0)
    .flatMap((event) => (event.count > 1 ? [event.gap_us] : [event.gap_us, event.wait_us]))
    .filter((time) => time !== undefined).map((time) => Math.max(time, 1) / 1000);
  const gapAxis = options.gaps === "log" && times.length
    ? logTime(Math.min(...times), Math.max(...times))
    : { rangemode: "tozero", ticksuffix: " ms" };
  const places = milestones(detail, end);
  return {
    height: 470,
    margin: { l: 64, r: 16, t: 22 + 14 * Math.max(0, ...places.map((place) => place.level)), b: 30 },
    barmode: "overlay",
    bargap: 0,
    uirevision: `${options.unit} ${options.gaps}`,
    xaxis: axis({ range: [-0.01 * seconds(end), 1.015 * seconds(end)], ticksuffix: " s", anchor: hasStrip ? "y3" : "y2" }),
    yaxis: axis({ domain: [0.47, 1], title: title(options.unit === "chars" ? "characters" : "chunks"), rangemode: "tozero" }),
    yaxis2: axis({ domain: [hasStrip ? 0.12 : 0, 0.42], title: title("gap"), ...gapAxis }),
    ...(hasStrip && { yaxis3: axis({ domain: [0, 0.07], range: [-0.5, 0.5], tickvals: [0], ticktext: ["spent by"], showgrid: false, fixedrange: true }) }),
    shapes: [...stalls(detail, end), ...places.map(line)],
    annotations: places.map((place) => mark(place, end)),
  };
}

function isStall(event) {
  return event.type === "stall" && event.wait_us > 0;
}

function title(text) {
  return { text, font: { size: 11, color: colour("muted") }, standoff: 6 };
}

function stalls(detail, end) {
  return detail.events.filter(isStall).map((event) => ({
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
    label: 100 * event.wait_us > 7 * end && { text: `stall ${micro(event.wait_us)}`, textposition: "top center", font: { size: 11, color: colour("failed") } },
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
    const mark = { name, time: duration(offset / 1000) };
    if (last && offset - last.offset < end * 0.004) last.marks.push(mark);
    else places.push({ offset, marks: [mark], property, level: last && offset - last.offset < end * 0.2 ? (last.level + 1) % 3 : 0 });
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

function mark({ offset, marks, property, level }, end) {
  const names = marks.map(({ name, time }, index) => (time === marks[index + 1]?.time ? name : `${name} ${time}`));
  return {
    xref: "x",
    yref: "paper",
    x: seconds(offset),
    y: 1 + level * 0.035,
    yanchor: "bottom",
    xanchor: offset > 0.8 * end ? "right" : "left",
    showarrow: false,
    text: label(names.join(", ")),
    font: { size: 11, color: colour(property) },
  };
}
