// What one does with a stream: copy, download, go to its neighbours in the list, put it beside another.

import { get } from "./api.js";
import { FILTERS, streamLink } from "./address.js";
import { copy } from "./copy.js";
import { element } from "./elements.js";
import { count } from "./format.js";

const MARK = "otel-tokenstream.marked";
const LISTED = [...FILTERS, "sort"];

/** `list` is the part of the address that tells from which list the stream was opened. */
export function streamTools(trace, span, list, detail) {
  const told = element("span", { role: "status", class: "muted" });
  const copied = (title, text) => element("button", { type: "button", onclick: () => copy(text(), told, `${title} copied`) }, title);
  const beside = element("a", { hidden: true }, "beside the marked stream");
  const mark = element("button", { type: "button", onclick: () => {
    sessionStorage.setItem(MARK, `${trace}/${span}`);
    told.textContent = "marked: open another stream, and choose “beside the marked stream”";
    showMark();
  } }, "Mark");
  const showMark = () => {
    const other = sessionStorage.getItem(MARK);
    beside.hidden = !other || other === `${trace}/${span}`;
    beside.href = `#/beside?a=${other}&b=${trace}/${span}`;
  };
  showMark();
  const near = element("nav", { class: "near", "aria-label": "Neighbours in the list" });
  const links = {};
  let drawn = "";
  const node = element("div", { class: "stream-tools" },
    copied("Trace id", () => trace),
    copied("Span id", () => span),
    copied("Link", () => `${location.origin}${location.pathname}#/${trace}/${span}`),
    copied("Span as JSON", () => JSON.stringify(asJson(detail()), null, 1)),
    element("a", { href: `api/streams/${trace}/${span}/recording`, download: `stream-${span}.json` }, "Recording"),
    mark, beside, told, near);

  /** Asks where the stream stands in its list. */
  async function update() {
    const parameters = new URLSearchParams(list);
    const asked = Object.fromEntries(LISTED.filter((name) => parameters.get(name)).map((name) => [name, parameters.get(name)]));
    const answer = await get(`api/streams/${trace}/${span}/neighbours`, asked);
    if (JSON.stringify(answer) === drawn) return; // the links keep the focus
    drawn = JSON.stringify(answer);
    for (const name of ["previous", "next"]) links[name] = answer[name] && streamLink(answer[name], `#/?${list}`);
    const link = (name, text, keys) => (links[name]
      ? element("a", { href: links[name], rel: name === "previous" ? "prev" : "next", "aria-keyshortcuts": keys }, text)
      : element("span", { class: "muted" }, text));
    near.replaceChildren(link("previous", "‹ previous", "k"),
      element("span", { class: "muted" }, answer.position ? `${count(answer.position)} of ${count(answer.streams)}` : "not in this list"),
      link("next", "next ›", "j"));
  }

  const go = (name) => () => {
    if (links[name]) location.hash = links[name];
  };
  return { node, update, keys: { j: go("next"), k: go("previous"), u: () => (location.hash = list ? `#/?${list}` : "#/") } };
}

function asJson({ stream, name, attributes, resource, status, status_message: message, events }) {
  const { trace_id, span_id, start_unix_ns } = stream;
  return { trace_id, span_id, name, start_unix_ns, status, status_message: message, attributes, resource, events };
}
