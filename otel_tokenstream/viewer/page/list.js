// The list of streams: chosen, ordered and grouped as the address says, page by page, kept up to date.

import { isFiltered, read, selection, streamLink, write } from "./address.js";
import { get } from "./api.js";
import { cells, chosen, heads } from "./columns.js";
import { element, table } from "./elements.js";
import { filterForm } from "./filters.js";
import { count, duration } from "./format.js";
import { groupsView } from "./grouped.js";
import { instructions } from "./instructions.js";
import { overview } from "./overview.js";
import { keepPlace } from "./place.js";
import { reportLink } from "./report.js";

const PAGE = 200;

export function listView(query) {
  const state = read(query);
  const summary = element("span", { class: "summary", role: "status" });
  const form = filterForm(state, change);
  const names = chosen(state.columns);
  const chart = overview(state, change);
  const order = state.sort || "-start";
  const body = state.group ? groupsView(state, change) : table("Streams", heads(names, order, (sort) => change({ sort: sort === "-start" ? "" : sort })), [], { class: "streams" });
  const rows = new Map();
  const pages = element("nav", { class: "pages", "aria-label": "Pages" });
  const content = element("div", {});
  const tools = element("p", { class: "tools" }, summary, reportLink(state));
  const node = element("div", { class: "list" }, element("h1", { class: "unseen" }, "Streams"), form.node, tools, content);
  const offset = PAGE * (Math.max(1, Number.parseInt(state.page, 10) || 1) - 1);
  let seen = false;

  function change(what, { replace = false } = {}) {
    keepPlace();
    const next = write({ ...state, page: "", open: "", ...what });
    if (replace) location.replace(next);
    else location.hash = next;
  }

  async function update() {
    document.title = "Streams · otel-tokenstream";
    // Beyond the first page a list that moves with every new stream could not be read.
    if (seen && offset > 0) return;
    const asked = { ...selection(state), sort: order, offset: String(offset), limit: String(PAGE) };
    const [answer, trend] = await Promise.all([get("api/streams", asked), get("api/over_time", selection(state)), state.group && body.update(PAGE, offset)]);
    form.offer(answer.choices);
    form.node.hidden = tools.hidden = answer.total === 0;
    summary.textContent = answer.total === 0 ? "" : summarise(answer, state.group && `${count(body.total())} ${body.total() === 1 ? state.group : `${state.group}s`} of ${count(answer.summary.streams)} streams`);
    if (answer.summary.streams === 0) {
      rows.clear();
      if (!state.group) body.querySelector("tbody").replaceChildren(); // it is shown again with the next stream
      const wanted = isFiltered(state) ? "nothing-found" : "instructions";
      if (content.firstElementChild?.classList.contains(wanted)) return;
      content.replaceChildren(isFiltered(state) ? nothingFound() : instructions());
      return;
    }
    const table = state.group ? body.node : body;
    const first = !table.isConnected;
    const shown = state.group ? body.total() : answer.summary.streams;
    pages.replaceChildren(...pageLinks(state, offset, shown));
    pages.hidden = pages.childElementCount === 0;
    if (first) content.replaceChildren(chart.node, table, pages);
    if (!state.group) synchronise(body.querySelector("tbody"), rows, answer.streams, first, names);
    seen = true;
    await chart.show(answer.streams, trend, answer.summary.streams);
  }

  return { node, update, recolour: chart.recolour, close: chart.close, keys: { "/": form.focusSearch } };
}

function summarise({ summary, streams, total, offset }, groups) {
  const { streams: found, failed, stalled, open, first_token_p50_ms: median } = summary;
  const part = found > streams.length ? `${streams.length ? `${count(offset + 1)} to ${count(offset + streams.length)}` : "none"} of ${count(found)}` : count(found);
  const of = found < total ? ` (${count(total)} in all)` : "";
  return [
    groups || `${part} ${found === 1 ? "stream" : "streams"}${of}`,
    open > 0 && `${count(open)} open`,
    `${count(failed)} failed`,
    `${count(stalled)} with stalls`,
    median !== null && `median first token ${duration(median)}`,
  ].filter(Boolean).join(" · ");
}

function pageLinks(state, offset, found) {
  if (found <= PAGE && offset === 0) return [];
  const here = offset / PAGE + 1;
  const last = Math.ceil(found / PAGE);
  const link = (page, text, rel) => (page >= 1 && page <= last && page !== here
    ? element("a", { href: write({ ...state, page: page === 1 ? "" : String(page) }), rel }, text)
    : element("span", { class: "muted" }, text));
  return [
    link(1, "« first"), link(Math.min(here - 1, last), "‹ previous", "prev"),
    element("span", {}, `page ${count(here)} of ${count(last)}`),
    link(here + 1, "next ›", "next"), link(last, "last »"),
  ];
}

function nothingFound() {
  return element("p", { class: "nothing-found" }, "No stream matches these filters. ", element("a", { href: "#/" }, "Show all"));
}

/** Touches only rows that changed, so that focus and scroll position stay. */
export function synchronise(body, rows, streams, first, names) {
  const today = new Date().toDateString(); // a row of yesterday has its date
  const wanted = streams.map((stream) => {
    const key = `${stream.trace_id}/${stream.span_id}`;
    const state = JSON.stringify([stream, today]);
    const known = rows.get(key) ?? { node: element("tr", { class: first ? "linked" : "linked arrived" }), state: "" };
    rows.set(key, known);
    if (known.state !== state) {
      const focused = known.node.contains(document.activeElement);
      known.node.replaceChildren(...cells(names, stream, streamLink(stream, location.hash)));
      known.state = state;
      if (focused) known.node.querySelector("a").focus();
    }
    return [key, known.node];
  });
  const kept = new Set(wanted.map(([key]) => key));
  for (const [key, { node }] of rows) {
    if (!kept.has(key)) {
      node.remove();
      rows.delete(key);
    }
  }
  wanted.forEach(([, node], index) => {
    if (body.children[index] !== node) body.insertBefore(node, body.children[index] ?? null);
  });
}
