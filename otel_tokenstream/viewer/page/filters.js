// The form above the list: search, names, times, and what is shown of each stream.

import { element } from "./elements.js";
import { EVERY, chosen, isUsual } from "./columns.js";

const NAMES = [["outcome", "outcomes"], ["service", "services"], ["model", "models"]];
const MORE_NAMES = [["operation", "operations"], ["error", "errors"], ["finish_reason", "finish_reasons"]];
const RANGES = [["", "all time"], ["15m", "15 minutes"], ["1h", "1 hour"], ["6h", "6 hours"], ["1d", "1 day"], ["7d", "7 days"]];
const GROUPS = [["", "nothing"], ["trace", "trace"], ["conversation", "conversation"]];
const SEARCH_MS = 250;

/** `change` is called with what is to be different in the address, and whether the last entry of the history is replaced. */
export function filterForm(state, change) {
  const names = [...NAMES, ...MORE_NAMES].map(([name, kind]) => ({ name, kind, label: select(name, [["", "all"]], state, change) }));
  const [inFront, behind] = [names.slice(0, NAMES.length), names.slice(NAMES.length)];
  const search = searchField(state, change);
  const more = element("details", { class: "more", open: [...behind.map(({ name }) => name), "stalled", "first_token_over", "duration_over", "from", "to", "conversation", "trace", "provider"].some((name) => state[name]) },
    element("summary", {}, "More filters"),
    element("div", { class: "filters" },
      behind.map(({ label }) => label),
      element("label", {}, element("input", { type: "checkbox", name: "stalled", checked: state.stalled === "1", onchange: (event) => change({ stalled: event.target.checked ? "1" : "" }) }), " stalled"),
      seconds("first_token_over", "first token over", state, change),
      seconds("duration_over", "duration over", state, change),
      moment("from", state, change),
      moment("to", state, change),
      ["provider", "conversation", "trace"].filter((name) => state[name]).map((name) =>
        element("button", { type: "button", onclick: () => change({ [name]: "" }) }, `${name} ${state[name].slice(0, 24)} ×`))));
  const node = element("form", { class: "filter-form", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() },
    element("div", { class: "filters" },
      search,
      inFront.map(({ label }) => label),
      select("last", RANGES, state, change, "time"),
      select("group", GROUPS, state, change, "group by"),
      columnChoice(state, change)),
    more);

  /** Names the viewer knows, into the selects. */
  function offer(choices) {
    for (const { name, kind, label } of names) {
      const known = name === "outcome" ? ["in_progress", ...choices[kind]] : choices[kind];
      const options = [["", "all"], ...new Set(state[name] ? [...known, state[name]] : known)].map((each) => (Array.isArray(each) ? each : [each, each.replaceAll("_", " ")]));
      fill(label.querySelector("select"), options, state[name], choices.more?.includes(kind) ? choices[kind].length : 0);
    }
  }

  return { node, offer, focusSearch: () => search.querySelector("input").select() };
}

function select(name, options, state, change, title = name.replaceAll("_", " ")) {
  const input = element("select", { name, onchange: (event) => change({ [name]: event.target.value }) });
  const known = options.some(([value]) => value === state[name]);
  fill(input, known ? options : [...options, [state[name], state[name]]], state[name], 0);
  return element("label", {}, title, input);
}

/** `listed` is 0 unless there are more names than are listed. */
function fill(input, options, value, listed) {
  if (JSON.stringify(options.map(([each]) => each)) === JSON.stringify([...input.options].filter((option) => !option.disabled).map((option) => option.value))) return;
  const nodes = options.map(([each, text]) => element("option", { value: each, selected: each === value }, text));
  if (listed) nodes.push(element("option", { value: "", disabled: true }, `only ${listed} of them are listed`));
  input.replaceChildren(...nodes);
  input.value = value;
}

function searchField(state, change) {
  let waiting = 0;
  const input = element("input", {
    type: "search", name: "q", value: state.q, maxlength: "200", placeholder: "name, id or attribute", "aria-keyshortcuts": "/",
    oninput: () => {
      clearTimeout(waiting);
      // Who opened a stream meanwhile is not led back.
      waiting = setTimeout(() => input.isConnected && change({ q: input.value.trim() }, { replace: Boolean(state.q) }), SEARCH_MS);
    },
  });
  return element("label", { class: "search" }, "search", input);
}

function seconds(name, title, state, change) {
  const given = Number(state[name]) / 1000;
  const value = state[name] && Number.isFinite(given) ? String(given) : "";
  const input = element("input", {
    type: "number", name, min: "0", step: "any", value,
    onchange: () => input.checkValidity() && change({ [name]: input.value === "" ? "" : String(Math.round(Number(input.value) * 1000)) }),
  });
  return element("label", {}, title, input, " s");
}

function moment(name, state, change) {
  const input = element("input", {
    type: "datetime-local", name, step: "1", value: state[name] && localTime(Number(state[name])),
    onchange: () => change({ [name]: input.value ? String(new Date(input.value).getTime()) : "" }),
  });
  return element("label", {}, name, input);
}

/** As the input takes it; nothing where that is no time, or one of a year that the input does not take. */
function localTime(milliseconds) {
  const date = new Date(milliseconds);
  const local = new Date(date - date.getTimezoneOffset() * 60_000);
  const text = Number.isNaN(local.getTime()) ? "" : local.toISOString();
  return /^\d{4}-/.test(text) ? text.slice(0, 19) : null;
}

function columnChoice(state, change) {
  const names = chosen(state.columns);
  const toggle = (name, shown) => {
    const next = EVERY.map(([each]) => each).filter((each) => (each === name ? shown : names.includes(each)));
    change({ columns: isUsual(next) ? "" : next.join() });
  };
  return element("details", { class: "column-choice" },
    element("summary", {}, "Columns"),
    element("fieldset", {},
      element("legend", { class: "unseen" }, "Columns"),
      EVERY.map(([name, label]) => element("label", {},
        element("input", { type: "checkbox", value: name, checked: names.includes(name), disabled: name === "time", onchange: (event) => toggle(name, event.target.checked) }), ` ${label}`))));
}
