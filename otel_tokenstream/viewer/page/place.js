// Where the reader was: each entry of the history keeps its scroll position and its focused link.

const EVERY_MS = 150;

history.scrollRestoration = "manual";
let waiting = 0;
let arriving = false;
let shown = location.href;

function keep() {
  clearTimeout(waiting);
  waiting = 0;
  if (arriving || location.href !== shown) return; // the entry is already that of the next view
  const focused = document.activeElement?.closest?.("a[href], button[data-key]");
  history.replaceState({ y: scrollY, at: focused?.getAttribute("href") ?? focused?.dataset.key ?? null }, "");
}

addEventListener("scroll", () => {
  waiting ||= setTimeout(keep, EVERY_MS);
}, { passive: true });
addEventListener("focusin", () => {
  waiting ||= setTimeout(keep, EVERY_MS);
});

/** Before the address is changed. */
export const keepPlace = keep;

/**
 * Called when another view begins. Returns what brings the reader back to where an entry of the history was left, once the
 * view is filled; a new entry begins at the top, and has nothing to come back to.
 */
export function arrive(main) {
  clearTimeout(waiting);
  waiting = 0;
  shown = location.href;
  const left = history.state;
  arriving = left !== null;
  if (!arriving) return () => scrollTo(0, 0);
  return () => {
    const link = left.at && [...main.querySelectorAll("a[href], button[data-key]")].find((each) => (each.getAttribute("href") ?? each.dataset.key) === left.at);
    if (!main.contains(document.activeElement?.closest("input"))) link?.focus({ preventScroll: true });
    scrollTo(0, left.y);
    arriving = false;
  };
}
