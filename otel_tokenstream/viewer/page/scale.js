// Axes of time with ticks a person would choose.

const STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500], // ms
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000),
  ...[1, 2, 3, 6, 12, 24].map((hours) => hours * 3_600_000),
];
const MOST_TICKS = 9;
const POWERS = [0.1, 1, 10, 100, 1000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000, 360_000_000];
const BETWEEN = [0.3, 3, 30, 300, 3000, 30_000, 300_000, 1_800_000, 18_000_000];

/** An axis from `low` to `high`, of which one is `unit` milliseconds. */
export function linearTime(low, high, unit) {
  return { range: [low, high], ...linearTicks(low, high, unit) };
}

export function linearTicks(low, high, unit) {
  const width = (high - low) * unit;
  let step = STEPS.find((each) => width / each <= MOST_TICKS);
  if (step === undefined) step = Math.ceil(width / MOST_TICKS / 86_400_000) * 86_400_000;
  else if (width / step < 2) step = 10 ** Math.floor(Math.log10(width / 2)); // below a millisecond
  const values = [];
  for (let at = Math.ceil((low * unit) / step - 1e-9); at * step <= high * unit + 1e-9; at += 1) values.push(at * step);
  return { tickvals: values.map((value) => value / unit), ticktext: values.map((value) => tick(value, step, high * unit)) };
}

/** A logarithmic axis of milliseconds. */
export function logTime(shortest, longest) {
  const low = Math.floor(Math.log10(shortest) * 2 - 0.2) / 2;
  const high = Math.ceil(Math.log10(longest) * 2 + 0.2) / 2;
  const within = (value) => Math.log10(value) >= low - 1e-9 && Math.log10(value) <= high + 1e-9;
  const powers = POWERS.filter(within);
  const values = powers.length < 3 ? [...powers, ...BETWEEN.filter(within)].sort((a, b) => a - b) : powers;
  return { type: "log", range: [low, high], tickvals: values, ticktext: values.map((value) => tick(value, value, value < 60_000 ? value : 120_000)) };
}

/** A tick in the unit of its axis: whole minutes and hours as such, between them as on a clock. */
function tick(value, step, longest) {
  if (value === 0) return "0";
  if (value < 0) return "";
  if (longest < 1000 || (step < 100 && value < 1000)) return `${Number(value.toPrecision(3))} ms`;
  if (longest < 120_000) return `${Number((value / 1000).toPrecision(4))} s`;
  const whole = Math.round(value / 1000);
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (step >= 3_600_000) return `${hours} h`;
  if (longest < 7_200_000 && step >= 60_000) return `${Math.round(whole / 60)} min`;
  const two = (number) => String(number).padStart(2, "0");
  const parts = step >= 60_000 ? [two(minutes)] : [two(minutes), two(seconds)];
  return hours > 0 || step >= 60_000 ? `${hours}:${parts.join(":")}${step >= 60_000 ? " h" : ""}` : `${minutes}:${two(seconds)}`;
}
