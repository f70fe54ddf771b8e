// Who spent the time of a stream: the call that opens it, reads that wait for the provider, or the consumer.

import { percents } from "./format.js";
import { tokens } from "./groups.js";

export const PARTS = {
  opening: "opening",
  wait: "provider",
  consumer: "consumer",
  other: "not known",
};

/** Whether an event is a stall: the wait for the first token is none, however long it is. */
export function isStall(event) {
  return event.type === "stall" && event.wait_us > 0 && event.phase !== "first_token";
}

/** Stalls with their beginning and end; one that was told while it lasted and never ended goes on to the end. */
export function stallsOf(detail, end) {
  return detail.events.filter(isStall).map((event) => ({
    event,
    from: event.offset_us - event.wait_us,
    to: event.phase ? Math.max(end, event.offset_us) : event.offset_us,
  }));
}

/** Parts of the time from the call to `end`, in their order: { part, from, to, event }. `spans` are the arrivals of each event. */
export function spent(detail, spans, end) {
  const lane = new Lane(stallsOf(detail, end));
  const opening = openingOf(detail, end);
  if (opening !== undefined) lane.put("opening", Math.min(opening, end));
  tokens(detail).forEach((event, index) => {
    if (event.count === 0 || event.wait_us === undefined) return;
    if (event.count > 1) {
      lane.mix(Math.max(spans[index].at(-1), event.offset_us), event.wait_us, event);
    } else {
      const asked = event.offset_us - event.wait_us;
      lane.put(index === 0 && opening === undefined ? "other" : "consumer", asked, event);
      lane.put("wait", event.offset_us, event);
    }
  });
  finish(lane, detail.stream, end);
  return lane.parts;
}

/** When the caller had its stream, in microseconds since the call; while it waits for that, now. */
function openingOf(detail, end) {
  const { opening_ms: opening, running } = detail.stream;
  const told = detail.events.find((event) => event.type === "opened");
  if (told) return told.offset_us;
  if (opening !== null && opening !== undefined) return opening * 1000;
  return running?.phase === "opening" ? end : undefined;
}

/** After the last chunk: a read that brought none, or that is blocked now, and the consumer's time. */
function finish(lane, stream, end) {
  const { running, wait_total_ms: waited } = stream;
  if (running) {
    if (running.blocked_since_us !== null) {
      lane.put("consumer", running.blocked_since_us);
      lane.put(running.phase === "opening" ? "opening" : "wait", end);
    } else {
      lane.put("other", end);
    }
  } else if (waited !== null && waited !== undefined) {
    lane.mix(end, Math.max(0, waited * 1000 - lane.sum("wait")));
  } else {
    lane.put("other", end);
  }
}

class Lane {
  constructor(stalls) {
    this.stalls = stalls;
    this.parts = [];
    this.at = 0;
  }

  /** The time from the last part to `to`. */
  put(part, to, event) {
    if (to <= this.at) return;
    this.parts.push({ part, from: this.at, to, event });
    this.at = to;
  }

  /** Time to `to`, of which `waited` went on waiting: known stalls in their places, other waits first. */
  mix(to, waited, event) {
    const stalls = this.stalls.filter((stall) => stall.to > this.at && stall.from < to);
    let left = waited - stalls.reduce((sum, stall) => sum + stall.to - stall.from, 0);
    for (const stall of [...stalls, { from: to, to }]) {
      const free = Math.max(0, Math.min(left, stall.from - this.at));
      this.put("wait", this.at + free, event);
      left -= free;
      this.put("consumer", Math.min(stall.from, to), event);
      this.put("wait", Math.min(stall.to, to), event);
    }
  }

  sum(part) {
    return this.parts.reduce((sum, each) => (each.part === part ? sum + each.to - each.from : sum), 0);
  }
}

/** The parts of the whole duration as { part, title, ms, percent }: of a finished stream as it measured them itself. */
export function totals(stream, parts) {
  const { opening_ms: opening, wait_total_ms: wait, consumer_total_ms: consumer, duration_ms: whole } = stream;
  const known = wait !== null && consumer !== null
    ? { opening: opening ?? 0, wait, consumer }
    : Object.fromEntries(["opening", "wait", "consumer"].map((part) =>
      [part, parts.filter((each) => each.part === part).reduce((sum, each) => sum + each.to - each.from, 0) / 1000]));
  const rest = whole - known.opening - known.wait - known.consumer;
  const times = { ...known, other: rest < 3 ? 0 : rest }; // three roundings
  const shares = percents(Object.values(times), whole);
  return Object.keys(times).map((part, index) => ({ part, title: PARTS[part], ms: times[part], percent: shares[index] }));
}
