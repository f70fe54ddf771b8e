// First-token times of the listed streams over the time of day; a dot leads to its stream.

import { axis, colour, draw, label, release } from "./chart.js";
import { element, panel } from "./elements.js";
import { clock, duration, epoch } from "./format.js";

const OUTCOMES = ["completed", "failed", "cancelled", "closed", "abandoned", "progress"];

export function overview() {
  const chart = element("div", { class: "overview", role: "img" });
  const node = panel("Time to first token", chart);
  let shown = [];
  let drawn = false;

  async function show(streams) {
    shown = streams.filter((stream) => stream.time_to_first_token_ms !== null);
    node.hidden = shown.length < 2;
    if (node.hidden) return;
    chart.setAttribute("aria-label", `Time to first token of ${shown.length} streams; the table below has the values`);
    await draw(chart, OUTCOMES.map(dots), layout());
    if (!drawn) {
      chart.on("plotly_click", ({ points: [point] }) => {
        location.hash = `#/${point.customdata}`;
      });
      drawn = true;
    }
  }

  function dots(outcome) {
    const of = shown.filter((stream) => (OUTCOMES.includes(stream.outcome) ? stream.outcome : "progress") === outcome);
    return {
      type: "scatter",
      mode: "markers",
      x: of.map((stream) => localTime(epoch(stream.start_unix_ns))),
      y: of.map((stream) => Math.max(stream.time_to_first_token_ms, 1)),
      customdata: of.map((stream) => `${stream.trace_id}/${stream.span_id}`),
      hovertext: of.map((stream) =>
        label(`${clock(stream.start_unix_ns)}  ${stream.model}, ${stream.outcome ?? "in progress"}: ${duration(stream.time_to_first_token_ms)}`)),
      hovertemplate: "%{hovertext}<extra></extra>",
      marker: { size: 8, opacity: 0.8, color: colour(outcome), symbol: outcome === "completed" ? "circle" : "diamond" },
    };
  }

  function layout() {
    const longest = Math.max(...shown.map((stream) => stream.time_to_first_token_ms), 100);
    const shortest = Math.max(1, Math.min(...shown.map((stream) => stream.time_to_first_token_ms)));
    return {
      height: 150,
      margin: { l: 64, r: 12, t: 8, b: 28 },
      uirevision: "overview",
      xaxis: axis({ type: "date", showgrid: false, nticks: 8, tickformatstops: [{ dtickrange: [null, 60_000], value: "%H:%M:%S" }, { dtickrange: [60_000, 86_000_000], value: "%H:%M" }, { dtickrange: [86_000_000, null], value: "%d %b" }] }),
      yaxis: axis({ ...logTime(shortest, longest), fixedrange: true }),
    };
  }

  return {
    node,
    show,
    recolour: () => show(shown),
    close: () => release(chart),
  };
}

/** plotly.js shows dates as they are written, in no time zone. */
function localTime(milliseconds) {
  const date = new Date(milliseconds);
  return `${date.toLocaleDateString("sv-SE")} ${date.toLocaleTimeString("en-GB")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A logarithmic axis of milliseconds with ticks a person would choose. */
export function logTime(shortest, longest) {
  const low = Math.floor(Math.log10(shortest) * 2 - 0.2) / 2;
  const high = Math.ceil(Math.log10(longest) * 2 + 0.2) / 2;
  const powers = [];
  for (let power = Math.ceil(low); power <= high; power += 1) powers.push(10 ** power);
  const steps = powers.length < 3 ? powers.flatMap((power) => [power / 3.333333, power]) : powers;
  return { type: "log", range: [low, high], tickvals: steps, ticktext: steps.map((step) => duration(step).replace(/\.0+ /, " ")) };
}
