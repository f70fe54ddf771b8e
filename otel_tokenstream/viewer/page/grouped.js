// Traces or conversations as rows, which open to their streams.

import { selection, streamLink, write } from "./address.js";
import { get } from "./api.js";
import { cells, chosen, heads, money } from "./columns.js";
import { element, table } from "./elements.js";
import { clock, count, duration } from "./format.js";

const HEADS = [
  { label: "Started" }, { label: "Name" }, { label: "Streams", class: "number" }, { label: "Duration", class: "number wide" },
  { label: "Failed", class: "number" }, { label: "Stalls", class: "number" }, { label: "Tokens", class: "number wide" },
  { label: "Cost", class: "number wide" }, { label: "Services", class: "wide" }, { label: "Models", class: "wide" },
];
const MEMBERS = 500;

export function groupsView(state, change) {
  const node = table(state.group === "trace" ? "Traces" : "Conversations", HEADS, [], { class: "streams groups" });
  const body = node.querySelector("tbody");
  let drawn = "";
  let total = 0;

  async function update(limit, offset) {
    const answer = await get("api/groups", { ...selection(state), by: state.group, limit: String(limit), offset: String(offset) });
    total = answer.summary.groups;
    const members = answer.groups.some((group) => group.key === state.open) ? await streamsOf(state.open) : null;
    const told = JSON.stringify([answer.groups, members, new Date().toDateString()]); // a row of yesterday has its date
    if (told === drawn) return;
    drawn = told;
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    body.replaceChildren(...answer.groups.flatMap((group) => [row(group), ...(group.key === state.open ? [opened(members)] : [])]));
    if (answer.groups.length === 0) body.append(element("tr", {}, element("td", { colspan: HEADS.length }, "None of these streams belongs to a conversation.")));
    if (focused) [...body.querySelectorAll("button")].find((button) => button.dataset.key === focused)?.focus();
  }

  async function streamsOf(key) {
    const { streams, summary } = await get("api/streams", { ...selection(state), [state.group]: key, sort: "start", limit: String(MEMBERS) });
    return { streams, found: summary.streams };
  }

  function row(group) {
    const isOpen = group.key === state.open;
    const toggle = element("button", { type: "button", class: "toggle", "aria-expanded": String(isOpen), "data-key": group.key }, `${isOpen ? "▾" : "▸"} ${clock(group.start_unix_ns)}`);
    return element("tr", { class: "linked", onclick: (event) => {
      if (!event.target.closest("button") && String(getSelection())) return; // text of the row was marked
      change({ open: isOpen ? "" : group.key, page: state.page });
    } },
      element("td", { class: "clock" }, toggle),
      element("td", { class: "named", title: group.name || group.key }, group.name || group.key),
      element("td", { class: "number" }, count(group.streams)),
      element("td", { class: "number wide" }, duration(group.duration_ms)),
      element("td", { class: group.failed ? "number warning" : "number" }, count(group.failed)),
      element("td", { class: group.stalls ? "number warning" : "number" }, count(group.stalls)),
      element("td", { class: "number wide" }, count(group.output_tokens)),
      element("td", { class: "number wide" }, money(group.cost_usd)),
      element("td", { class: "named wide" }, group.services.join(", ")),
      element("td", { class: "named wide" }, group.models.join(", ")));
  }

  function opened({ streams, found }) {
    const names = chosen(state.columns);
    const rows = streams.map((stream) => element("tr", { class: "linked" }, cells(names, stream, streamLink(stream, location.hash))));
    return element("tr", { class: "members" }, element("td", { colspan: HEADS.length },
      table("Streams of the group", heads(names, "start", () => {}).map((head) => ({ ...head, label: head.label.textContent ?? head.label })), rows, { class: "streams" }),
      found > streams.length && element("p", { class: "muted" }, `the first ${count(streams.length)} of ${count(found)} streams · `,
        element("a", { href: write({ ...state, group: "", open: "", page: "", [state.group]: state.open }) }, "show all"))));
  }

  return { node, update, total: () => total };
}
