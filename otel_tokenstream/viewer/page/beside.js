// Two streams on one axis of time, each since its own call.

import { get } from "./api.js";
import { axis, colour, draw, label, release } from "./chart.js";
import { badge, element, panel, table } from "./elements.js";
import { money } from "./columns.js";
import { count, duration, micro, rate } from "./format.js";
import { tokens } from "./groups.js";

const COLOURS = ["series-1", "series-2"];
const IDS = /^[0-9a-f]{32}\/[0-9a-f]{16}$/;
const FIGURES = [
  ["first token", "time_to_first_token_ms", duration], ["first answer token", "time_to_first_answer_token_ms", duration],
  ["duration", "duration_ms", duration], ["opening", "opening_ms", duration], ["waits", "wait_total_ms", duration],
  ["consumer", "consumer_total_ms", duration], ["gap median", "gap_p50_ms", duration], ["gap p95", "gap_p95_ms", duration],
  ["gap max", "gap_max_ms", duration], ["stalls", "stall_count", count], ["stalled for", "stall_total_ms", duration],
  ["chunks", "chunks", count], ["tokens", "output_tokens", count], ["tokens/s", "output_rate", rate], ["cost", "cost_usd", money],
  ["finish reason", "finish_reason", (value) => value ?? "–"], ["error", "error_type", (value) => value ?? "–"],
];

export function besideView(query) {
  const parameters = new URLSearchParams(query);
  const ids = [parameters.get("a") ?? "", parameters.get("b") ?? ""];
  const chart = element("div", { class: "picture beside", role: "img" });
  const figures = element("div", {});
  const node = element("article", { class: "stream" }, element("p", { class: "back" }, element("a", { href: "#/" }, "← Streams")),
    element("h1", {}, "Two streams"), figures, panel("Characters over the time since the call", chart));
  let details = [];

  async function update() {
    document.title = "Two streams · otel-tokenstream";
    if (!ids.every((each) => IDS.test(each))) throw new Error("Two streams are needed: mark one on its page, then open another.");
    details = await Promise.all(ids.map((each) => get(`api/streams/${each}`)));
    const heads = ["", ...details.map(({ stream }, index) => ({ label: element("a", { href: `#/${ids[index]}` }, key(index), `${stream.operation} ${stream.model}`) }))];
    figures.replaceChildren(panel("Figures", table("Figures of the two streams", heads, [
      element("tr", {}, element("th", { scope: "row" }, "outcome"), details.map(({ stream }) => element("td", {}, badge(stream)))),
      ...FIGURES.map(([name, field, shown]) => element("tr", {}, element("th", { scope: "row" }, name), details.map(({ stream }) => element("td", {}, shown(stream[field]))))),
    ])));
    await show();
  }

  function key(index) {
    return element("span", { class: "key line", style: { background: `var(--${COLOURS[index]})` } });
  }

  async function show() {
    if (!details.length) return;
    const end = Math.max(...details.map(({ stream }) => stream.duration_ms ?? 0)) / 1000;
    chart.setAttribute("aria-label", `Characters of two streams over ${duration(end * 1000)}`);
    await draw(chart, details.map(growth), {
      height: 380,
      margin: { l: 64, r: 16, t: 16, b: 30 },
      uirevision: "beside",
      xaxis: axis({ range: [0, end * 1.02], ticksuffix: " s" }),
      yaxis: axis({ rangemode: "tozero" }),
    });
  }

  function growth(detail, index) {
    let total = 0;
    const points = tokens(detail).map((event) => {
      total += event.chars ?? 0;
      return [event.offset_us / 1e6, total, label(`${micro(event.offset_us)}: ${total} characters`)];
    });
    return {
      type: "scatter", mode: "lines", line: { shape: "hv", width: 2.5, color: colour(COLOURS[index]) },
      x: [0, ...points.map(([x]) => x)], y: [0, ...points.map(([, y]) => y)],
      hovertext: ["", ...points.map(([, , text]) => text)], hovertemplate: "%{hovertext}<extra></extra>",
    };
  }

  return { node, update, recolour: show, close: () => release(chart) };
}
