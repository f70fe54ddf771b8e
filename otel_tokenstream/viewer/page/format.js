// Numbers and times as a person reads them; a dash where nothing was measured.

export const NONE = "–";

export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return NONE;
  const ms = Number(milliseconds);
  if (ms === 0) return "0 ms";
  if (ms < 0.1) return `${Math.round(ms * 1000)} µs`;
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
}

export function micro(microseconds) {
  return duration(microseconds === null || microseconds === undefined ? null : microseconds / 1000);
}

export function count(number) {
  return number === null || number === undefined ? NONE : Number(number).toLocaleString("en");
}

export function rate(number) {
  return number === null || number === undefined ? NONE : Number(number).toFixed(number < 10 ? 1 : 0);
}

/** Parts of a whole in percent, without a fraction; together they are 100 where the parts are the whole. */
export function percents(parts, whole) {
  const exact = parts.map((part) => (whole > 0 ? (100 * part) / whole : 0));
  const rounded = exact.map(Math.floor);
  let left = Math.round(exact.reduce((sum, each) => sum + each, 0)) - rounded.reduce((sum, each) => sum + each, 0);
  for (const index of exact.map((_, at) => at).sort((a, b) => exact[b] - rounded[b] - (exact[a] - rounded[a]))) {
    if (left <= 0) break;
    rounded[index] += 1;
    left -= 1;
  }
  return rounded;
}

/** Milliseconds since the epoch, with fractions, from nanoseconds in a string. */
export function epoch(nanoseconds) {
  return Number(BigInt(nanoseconds) / 1000n) / 1000;
}

/** Difference of two such strings in milliseconds. */
export function between(from, to) {
  return Number(BigInt(to) - BigInt(from)) / 1e6;
}

export function clock(nanoseconds, { precise = false } = {}) {
  const date = new Date(epoch(nanoseconds));
  const time = date.toLocaleTimeString("en-GB", { hour12: false });
  const text = precise ? `${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : time;
  return date.toDateString() === new Date().toDateString() ? text : `${date.toLocaleDateString("sv-SE")} ${text}`;
}

export function value(content) {
  if (typeof content === "number" && !Number.isInteger(content)) return String(Number(content.toPrecision(6)));
  return typeof content === "string" ? content : JSON.stringify(content);
}
