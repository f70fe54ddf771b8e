// Figures of all chosen streams over time; a point leads to the streams of its step.

import { axis, colour, label } from "./chart.js";
import { money } from "./columns.js";
import { duration, rate } from "./format.js";
import { logTime } from "./scale.js";

const percent = (share) => `${Math.round(1000 * share) / 10} %`;
const QUANTILES = [["p50", "series-1"], ["p95", "series-2"], ["p99", "series-4"]];

/** By name in the address: title, lines as [name, colour, value of a step], and how a value is read. */
export const TRENDS = {
  first_token: {
    title: "First token, percentiles",
    lines: QUANTILES.map(([name, colour]) => [name, colour, (step) => step.first_token_ms?.[name] ?? null]),
    text: duration,
    axis: (values) => logTime(Math.max(1, Math.min(...values)), Math.max(...values, 100)),
  },
  shares: {
    title: "Failed and stalled",
    lines: [["failed", "failed", (step) => step.failed_share], ["stalled", "series-2", (step) => step.stalled_share]],
    text: percent,
    axis: () => ({ rangemode: "tozero", tickformat: ".0%" }),
  },
  rate: {
    title: "Tokens/s, median",
    lines: [["p50", "series-1", (step) => step.output_rate?.p50 ?? null]],
    text: rate,
    axis: () => ({ rangemode: "tozero" }),
  },
  cost: {
    title: "Cost",
    lines: [["cost", "series-1", (step) => step.cost_usd]],
    text: money,
    axis: () => ({ rangemode: "tozero", tickprefix: "$" }),
  },
};

/** plotly.js traces and the axis of values. Times are shown by `at`, in the reader's time zone. */
export function trendPicture(name, { steps, step_s: length }, at) {
  const { lines, text, axis: scale } = TRENDS[name];
  const values = lines.flatMap(([, , of]) => steps.map(of)).filter((value) => value !== null);
  const traces = lines.map(([title, property, of]) => ({
    type: "scatter",
    mode: "lines+markers",
    connectgaps: false,
    x: steps.map((step) => at(step.start_ms + 500 * length)),
    y: steps.map(of),
    customdata: steps.map((step) => step.start_ms),
    hovertext: steps.map((step) => label(`${at(step.start_ms).slice(0, 16)}  ${title} ${of(step) === null ? "–" : text(of(step))}, ${step.streams} streams`)),
    hovertemplate: "%{hovertext}<extra></extra>",
    line: { color: colour(property), width: 2 },
    marker: { size: 6, color: colour(property) },
  }));
  return { traces, yaxis: axis({ ...(values.length ? scale(values) : {}), fixedrange: true }) };
}
