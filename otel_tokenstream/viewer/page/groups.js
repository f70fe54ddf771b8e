// Which colour a token event has: by output field where there are fields, else by kind.

import { colour } from "./chart.js";

const PALETTE = ["series-1", "series-2", "series-3", "series-4", "series-5", "series-6", "series-7", "series-8"];
const NAMES = { empty: "no content", mixed: "mixed content", tool_call: "tool call" };
const QUIET = new Set(["empty", "mixed"]);

export function tokens(detail) {
  return detail.events.filter((event) => event.type === "token" && event.offset_us !== undefined)
    .sort((a, b) => a.offset_us - b.offset_us || (a.index ?? 0) - (b.index ?? 0));
}

export function keyOf(event) {
  return event.field ? `field ${event.field}` : event.kind ?? "text";
}

/** Groups in the order of their first token, those without content of their own last. */
export function groupsOf(detail) {
  const groups = new Map();
  for (const event of tokens(detail)) {
    const key = keyOf(event);
    if (!groups.has(key)) {
      groups.set(key, { key, name: event.field ?? NAMES[event.kind] ?? event.kind ?? "text", isField: Boolean(event.field), events: [] });
    }
    groups.get(key).events.push(event);
  }
  let next = 0;
  const fields = [...groups.values()].some((group) => group.isField);
  for (const group of groups.values()) {
    if (fields && group.key === "text") group.name = "no field";
    group.quiet = QUIET.has(group.key);
    group.property = group.quiet ? "muted" : PALETTE[next++ % PALETTE.length];
    group.colour = colour(group.property);
  }
  return [...groups.values()].sort((one, other) => one.quiet - other.quiet);
}
