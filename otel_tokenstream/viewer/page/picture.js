// One stream as a chart: growth, gaps, and who was waited for, over the time since the call.

import { axis, colour, label } from "./chart.js";
import { duration, micro } from "./format.js";
import { groupsOf, keyOf, tokens } from "./groups.js";
import { linearTime, logTime } from "./scale.js";
import { isStall, PARTS, spent, stallsOf } from "./spent.js";

const FAINT = "1c"; // opacity in a hexadecimal colour
const BETWEEN_PLOTS = 0.445;
const LINE = 14; // height of a line of a label, in pixels
const CHARACTER = 6; // about the width of one
const SIDES = { l: 64, r: 16 };

const seconds = (microseconds) => microseconds / 1e6;

/** `options`: unit "chars" or "chunks", gaps "log" or "linear", width in pixels. Returns plotly.js traces and layout. */
export function picture(detail, options) {
  const events = tokens(detail);
  const end = endOf(detail, events);
  const spans = arrivals(detail, events, end);
  const groups = new Map(groupsOf(detail).map((group) => [group.key, group]));
  const hasStrip = events.some((event) => event.wait_us !== undefined);
  const traces = [
    ...growth(events, spans, groups, options.unit),
    ...gaps(events, spans, groups),
    ...(hasStrip ? lane(spent(detail, spans, end)) : []),
  ];
  return { traces, layout: layout(detail, events, end, options, hasStrip) };
}

/** Who spent the time, as the picture's lane shows it. */
export function spentBy(detail) {
  const events = tokens(detail);
  const end = endOf(detail, events);
  return spent(detail, arrivals(detail, events, end), end);
}

function endOf(detail, events) {
  return Math.max(detail.stream.duration_ms * 1000, events.at(-1)?.offset_us ?? 0, 1);
}

/** Arrivals within each event, its first among them: one, or for a merged event those that are known. */
function arrivals(detail, events, end) {
  // A stall tells when the chunk before it came: its gap began then.
  const before = new Map(detail.events.filter((event) => isStall(event) && event.gap_us !== undefined)
    .map((event) => [event.index, event.offset_us - event.gap_us]));
  return events.map((event, index) => {
    if (!(event.count > 1)) return [event.offset_us];
    const next = events[index + 1];
    const last = before.get(event.index + event.count) ?? (next && (next.count ?? 1) === 1 ? next.offset_us - next.gap_us : undefined);
    const until = Math.max(event.offset_us, last ?? next?.offset_us ?? end);
    const kept = detail.offsets_us.filter((offset) => offset > event.offset_us && offset < until);
    if (last !== undefined) return [event.offset_us, ...kept, until];
    // When the last of them came is not known: it was before the next event, and soon, where nothing came since.
    if (kept.length > 0) return [event.offset_us, ...kept];
    return [event.offset_us, next ? until : Math.min(until, event.offset_us + (event.wait_us ?? 0))];
  });
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

const TOLD = { ...PARTS, opening: "opened by the call", wait: "waited for the provider", consumer: "kept by the consumer" };

/** Who spent the time, one bar a part. Of merged chunks only the sums are known: their waits are drawn first. */
function lane(parts) {
  const place = (event) => {
    if (!event) return "";
    return event.count > 1 ? `, between chunks ${event.index} to ${event.index + event.count - 1}` : `, before chunk ${event.index}`;
  };
  return Object.keys(PARTS).map((name) => {
    const of = parts.filter(({ part }) => part === name);
    return {
      type: "bar",
      orientation: "h",
      yaxis: "y3",
      name,
      base: of.map(({ from }) => seconds(from)),
      x: of.map(({ from, to }) => seconds(to - from)),
      y: of.map(() => 0),
      width: 1,
      hovertext: of.map(({ from, to, event }) => label(`${TOLD[name]} ${micro(to - from)}${place(event)}`)),
      hovertemplate: "%{hovertext}<extra></extra>",
      marker: { color: colour(name), line: { width: 0 } },
    };
  });
}

function layout(detail, events, end, options, hasStrip) {
  const times = events.filter((event) => event.index > 0 && event.count !== 0)
    .flatMap((event) => (event.count > 1 ? [event.gap_us] : [event.gap_us, event.wait_us]))
    .filter((time) => time !== undefined).map((time) => Math.max(time, 1) / 1000);
  const gapAxis = options.gaps === "log" && times.length
    ? logTime(Math.min(...times), Math.max(...times))
    : linearTime(0, Math.max(...times, 1) * 1.05, 1);
  const places = milestones(detail, end);
  return {
    height: 470,
    margin: { ...SIDES, t: 8 + LINE * Math.max(1, ...places.map((place) => place.level + linesOf(place, end, options.width).length)), b: 30 },
    barmode: "overlay",
    bargap: 0,
    uirevision: `${options.unit} ${options.gaps}`,
    xaxis: axis({ ...linearTime(-0.01 * seconds(end), 1.015 * seconds(end), 1000), anchor: hasStrip ? "y3" : "y2" }),
    yaxis: axis({ domain: [BETWEEN_PLOTS + 0.025, 1], title: title(options.unit === "chars" ? "characters" : "chunks"), rangemode: "tozero" }),
    yaxis2: axis({ domain: [hasStrip ? 0.12 : 0, BETWEEN_PLOTS - 0.025], title: title("gap"), ...gapAxis }),
    ...(hasStrip && { yaxis3: axis({ domain: [0, 0.07], range: [-0.5, 0.5], tickvals: [0], ticktext: ["spent by"], showgrid: false, fixedrange: true }) }),
    shapes: [...stalls(detail, end), ...places.map(line)],
    annotations: [...places.map((place) => mark(place, end, options.width)), ...lengths(detail, end)],
  };
}

function title(text) {
  return { text, font: { size: 11, color: colour("muted") }, standoff: 6 };
}

function stalls(detail, end) {
  return stallsOf(detail, end).map(({ from, to }) => ({
    type: "rect",
    xref: "x",
    yref: "paper",
    x0: seconds(from),
    x1: seconds(to),
    y0: 0,
    y1: 1,
    layer: "below",
    fillcolor: colour("stall"),
    line: { width: 0 },
  }));
}

/** The length of each stall that has room for it, between growth and gaps, where nothing is drawn. */
function lengths(detail, end) {
  return stallsOf(detail, end).filter(({ from, to }) => 100 * (to - from) > 7 * end).map(({ from, to }) => ({
    xref: "x",
    yref: "paper",
    x: seconds((from + to) / 2),
    y: BETWEEN_PLOTS,
    yanchor: "middle",
    showarrow: false,
    text: `stall ${micro(to - from)}`,
    font: { size: 11, color: colour("failed") },
  }));
}

/** Moments worth a line; those at one place share it. */
function milestones(detail, end) {
  const at = (type) => detail.events.find((event) => event.type === type)?.offset_us;
  const { opening_ms: opening } = detail.stream;
  const first = detail.attributes["gen_ai.response.time_to_first_chunk"];
  const moments = [
    [at("opened") ?? (opening ? opening * 1000 : undefined), "opened", "muted"],
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

function mark(place, end, width) {
  const { offset, property, level } = place;
  return {
    xref: "x",
    yref: "paper",
    x: seconds(offset),
    y: 1 + level * 0.035,
    yanchor: "bottom",
    xanchor: isLate(place, end) ? "right" : "left",
    align: isLate(place, end) ? "right" : "left",
    showarrow: false,
    bgcolor: colour("panel"), // or the line of a later moment would strike it through
    borderpad: 1,
    text: linesOf(place, end, width).map(label).join("<br>"),
    font: { size: 11, color: colour(property) },
  };
}

function isLate({ offset }, end) {
  return offset > 0.8 * end;
}

/** The label of a moment in as many lines as fit beside it. */
function linesOf(place, end, width) {
  const names = place.marks.map(({ name, time }, index) => (time === place.marks[index + 1]?.time ? name : `${name} ${time}`));
  const share = place.offset / end;
  const room = (width - SIDES.l - SIDES.r) * (isLate(place, end) ? share : 1 - share);
  const lines = [];
  for (const name of names) {
    const longer = lines.length ? `${lines.at(-1)}, ${name}` : name;
    if (lines.length && longer.length * CHARACTER > room) lines.push(name);
    else lines[Math.max(lines.length - 1, 0)] = longer;
  }
  return lines;
}
