// What a list shows, as the part of the address behind "#/?": filters, order, page, columns, grouping.

/** Parameters of the API's selection, in the order in which they stand in the address. */
export const FILTERS = [
  "q", "service", "model", "operation", "provider", "outcome", "error", "finish_reason", "conversation", "trace",
  "stalled", "first_token_over", "duration_over", "last", "from", "to",
];
const LOOKS = ["sort", "page", "columns", "group", "open", "chart"];

export function read(query) {
  const parameters = new URLSearchParams(query);
  return Object.fromEntries([...FILTERS, ...LOOKS].map((name) => [name, parameters.get(name) ?? ""]));
}

export function write(state) {
  const query = new URLSearchParams([...FILTERS, ...LOOKS].filter((name) => state[name]).map((name) => [name, state[name]]));
  return query.size ? `#/?${query}` : "#/";
}

/** What the API is asked for. */
export function selection(state) {
  return Object.fromEntries(FILTERS.filter((name) => state[name]).map((name) => [name, state[name]]));
}

export function isFiltered(state) {
  return FILTERS.some((name) => state[name]);
}

/** The link of a stream, which keeps the list it was opened from. */
export function streamLink(stream, list) {
  const query = list.split("?")[1];
  return `#/${stream.trace_id}/${stream.span_id}${query ? `?${query}` : ""}`;
}
