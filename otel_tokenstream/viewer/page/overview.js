// Above the list: the first tokens of the listed streams as dots, or figures of all chosen streams over time.

import { axis, colour, draw, label, release } from "./chart.js";
import { element, panel } from "./elements.js";
import { clock, duration, epoch } from "./format.js";
import { logTime } from "./scale.js";
import { TRENDS, trendPicture } from "./trends.js";
import { streamLink } from "./address.js";

const OUTCOMES = ["completed", "failed", "cancelled", "closed", "abandoned", "progress"];
const DOTS = "dots";

export function overview(state, change) {
  const chart = element("div", { class: "overview", role: "img" });
  const legend = element("ul", { class: "legend", "aria-label": "Colours" });
  const choice = element("select", { name: "chart", onchange: (event) => change({ chart: event.target.value, page: state.page, open: state.open }, { replace: true }) },
    element("option", { value: "" }, "Streams, or figures if there are many"),
    element("option", { value: DOTS }, "First token of each stream listed"),
    Object.entries(TRENDS).map(([name, { title }]) => element("option", { value: name }, title)));
  const chosen = state.chart === DOTS || Object.hasOwn(TRENDS, state.chart) ? state.chart : "";
  choice.value = chosen;
  const node = panel("Over time", element("label", { class: "chart-choice" }, "show", choice), legend, chart);
  let last = null;
  let drawn = false;

  /** `streams` are those listed, `trend` is of all that are chosen, `found` how many these are. */
  async function show(streams, trend, found) {
    last = [streams, trend, found];
    const dots = streams.filter((stream) => stream.time_to_first_token_ms !== null);
    const what = chosen || (found > streams.length || state.group ? "first_token" : DOTS);
    node.hidden = found < 2 || (what === DOTS && dots.length < 2);
    if (node.hidden) return;
    const { traces, yaxis } = what === DOTS ? dotPicture(dots) : trendPicture(what, trend, localTime);
    chart.setAttribute("aria-label", what === DOTS
      ? `Time to first token of ${dots.length} streams; the table below has the values`
      : `${TRENDS[what].title} of ${found} streams in ${trend.steps.length} steps of ${duration(1000 * trend.step_s)}`);
    legend.replaceChildren(...(what === DOTS ? [] : TRENDS[what].lines.map(([name, property]) =>
      element("li", {}, element("span", { class: "key line", style: { background: `var(--${property})` } }), name))));
    await draw(chart, traces, {
      height: 150,
      margin: { l: 64, r: 12, t: 8, b: 28 },
      uirevision: `overview ${what}`,
      xaxis: axis({ type: "date", showgrid: false, nticks: 8, tickformatstops: [{ dtickrange: [null, 60_000], value: "%H:%M:%S" }, { dtickrange: [60_000, 86_000_000], value: "%H:%M" }, { dtickrange: [86_000_000, null], value: "%d %b" }] }),
      yaxis,
    });
    if (drawn) return;
    drawn = true;
    chart.on("plotly_click", ({ points: [point] }) => {
      if (typeof point.customdata === "string") location.hash = point.customdata;
      else range(point.customdata, point.customdata + 1000 * last[1].step_s);
    });
    chart.on("plotly_relayout", (event) => {
      const [from, to] = [event["xaxis.range[0]"], event["xaxis.range[1]"]];
      if (from && to) range(new Date(from).getTime(), new Date(to).getTime());
    });
  }

  function range(from, to) {
    change({ from: String(Math.floor(from)), to: String(Math.ceil(to)), last: "" });
  }

  return {
    node,
    show,
    recolour: () => last && show(...last),
    close: () => release(chart),
  };
}

function dotPicture(streams) {
  const times = streams.map((stream) => stream.time_to_first_token_ms);
  const traces = OUTCOMES.map((outcome) => {
    const of = streams.filter((stream) => (OUTCOMES.includes(stream.outcome) ? stream.outcome : "progress") === outcome);
    return {
      type: "scatter",
      mode: "markers",
      x: of.map((stream) => localTime(epoch(stream.start_unix_ns))),
      y: of.map((stream) => Math.max(stream.time_to_first_token_ms, 1)),
      customdata: of.map((stream) => streamLink(stream, location.hash)),
      hovertext: of.map((stream) =>
        label(`${clock(stream.start_unix_ns)}  ${stream.model}, ${stream.outcome ?? "in progress"}: ${duration(stream.time_to_first_token_ms)}`)),
      hovertemplate: "%{hovertext}<extra></extra>",
      marker: { size: 8, opacity: 0.8, color: colour(outcome), symbol: outcome === "completed" ? "circle" : "diamond" },
    };
  });
  return { traces, yaxis: axis({ ...logTime(Math.max(1, Math.min(...times)), Math.max(...times, 100)), fixedrange: true }) };
}

/** plotly.js shows dates as they are written, in no time zone. */
function localTime(milliseconds) {
  const date = new Date(milliseconds);
  return `${date.toLocaleDateString("sv-SE")} ${date.toLocaleTimeString("en-GB")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
