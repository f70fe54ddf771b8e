// The answer again in its own timing: what the program saw, at the speed at which it saw it.

import { element, panel } from "./elements.js";
import { duration } from "./format.js";
import { tokens } from "./groups.js";

const SPEEDS = [["0.5", "½ ×"], ["1", "1 ×"], ["2", "2 ×"], ["5", "5 ×"], ["20", "20 ×"]];
const MOST_DOTS = 400;

/** A panel that plays the tokens of `detail`; where their text was not captured, a dot stands for each character. */
export function playback() {
  const text = element("div", { class: "content played", tabindex: "0", role: "region", "aria-label": "Text played" });
  const button = element("button", { type: "button", onclick: () => (playing ? pause() : play()) }, "Play");
  const place = element("input", { type: "range", min: "0", max: "1", step: "1", value: "0", "aria-label": "Time since the call", oninput: () => {
    pause();
    show(Number(place.value));
  } });
  const clock = element("output", {});
  const speed = element("select", { "aria-label": "Speed" }, SPEEDS.map(([value, name]) => element("option", { value, selected: value === "1" }, name)));
  const node = panel("Playback", element("div", { class: "player" }, button, place, clock, speed), text);
  let pieces = [];
  let end = 0;
  let at = 0;
  let playing = 0;
  let before = 0;

  function load(detail) {
    pieces = tokens(detail).map((event, index, all) => ({
      from: event.offset_us,
      // A merged event brought its text until the next one came.
      to: event.count > 1 ? all[index + 1]?.offset_us ?? event.offset_us : event.offset_us,
      text: event.text ?? "•".repeat(Math.min(event.chars ?? 0, MOST_DOTS)),
    })).filter((piece) => piece.text);
    end = Math.max(detail.stream.duration_ms * 1000, pieces.at(-1)?.to ?? 0);
    node.hidden = pieces.length === 0;
    place.max = String(Math.ceil(end));
    show(at);
  }

  function show(to) {
    at = Math.min(to, end);
    text.textContent = pieces.filter((piece) => piece.from <= at).map((piece) => {
      const share = piece.to > piece.from ? (at - piece.from) / (piece.to - piece.from) : 1;
      return share >= 1 ? piece.text : piece.text.slice(0, Math.max(1, Math.floor(piece.text.length * share)));
    }).join("");
    place.value = String(Math.round(at));
    place.setAttribute("aria-valuetext", duration(at / 1000));
    clock.textContent = `${duration(at / 1000)} of ${duration(end / 1000)}`;
  }

  function play() {
    if (at >= end) at = 0;
    before = performance.now();
    button.textContent = "Pause";
    playing = requestAnimationFrame(step);
  }

  function step(now) {
    show(at + (now - before) * 1000 * Number(speed.value));
    before = now;
    if (at < end) playing = requestAnimationFrame(step);
    else pause();
  }

  function pause() {
    cancelAnimationFrame(playing);
    playing = 0;
    button.textContent = "Play";
  }

  return { node, load, close: pause };
}
