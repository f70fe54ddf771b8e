// Keys: j and k go through rows, Enter opens one, the slash begins a search; views add their own.

const TYPING = "input:not([type=checkbox], [type=radio]), select, textarea";

/** `own` gives the keys of the shown view: a function for each key. */
export function listen(own) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && event.target.matches?.(TYPING)) return event.target.blur();
    if (event.target.matches?.(TYPING)) return;
    const act = own()[event.key] ?? { j: () => step(1), k: () => step(-1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  // A row is its link: a click anywhere in it follows it, unless text was marked.
  addEventListener("click", follow);
  addEventListener("auxclick", follow);
}

function step(by) {
  const targets = [...document.querySelectorAll("tr.linked")].map((row) => row.querySelector("a, button")).filter(Boolean);
  if (!targets.length) return;
  const at = targets.findIndex((target) => target.closest("tr").contains(document.activeElement));
  const target = targets[at < 0 ? (by > 0 ? 0 : targets.length - 1) : Math.min(Math.max(at + by, 0), targets.length - 1)];
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "nearest" });
}

function follow(event) {
  const row = event.target.closest?.("tr.linked");
  const link = row?.querySelector("a[href]");
  if (!link || event.target.closest("a, button, input, select") || String(getSelection())) return;
  if (event.button === 1 || event.ctrlKey || event.metaKey) open(link.href, "_blank", "noopener");
  else if (event.button === 0) link.click();
}
