// Which view is shown, and when it is brought up to date.

import { follow, get } from "./api.js";
import { besideView } from "./beside.js";
import { element } from "./elements.js";
import { count } from "./format.js";
import { listen } from "./keyboard.js";
import { listView } from "./list.js";
import { arrive, keepPlace } from "./place.js";
import { reportView } from "./report.js";
import { streamView } from "./stream.js";

const REFRESH_MS = 15_000; // now-figures fade when their process is gone, and no update tells that

const VIEWS = { "#/report": reportView, "#/beside": besideView };

const main = document.getElementById("main");
const trouble = element("p", { class: "notice", role: "alert" });
let view = null;

async function route(event) {
  const isNew = history.state === null;
  const toPlace = arrive(main);
  view?.close?.();
  const [path, query = ""] = location.hash.split("?");
  const [, trace, span] = /^#\/([0-9a-f]{32})\/([0-9a-f]{16})$/.exec(path) ?? [];
  const next = trace ? streamView(trace, span, query) : (VIEWS[path] ?? listView)(query);
  const searching = document.activeElement?.name === "q" && !trace ? document.activeElement.selectionStart : null;
  view = next;
  main.replaceChildren(next.node);
  if (searching !== null) restoreSearch(searching);
  else if (event) main.focus({ preventScroll: true }); // a reader's place is the new view, not where the link was
  if (isNew) toPlace();
  await update();
  if (view === next && !isNew) toPlace();
}

/** The view is made anew with every letter, and the reader goes on writing. */
function restoreSearch(at) {
  const input = main.querySelector("input[name=q]");
  input.focus({ preventScroll: true });
  input.setSelectionRange(at, at);
}

let updating = null;
let again = false;

/** One update at a time; what changes meanwhile leads to one more. */
function update() {
  again = true;
  updating ??= updateWhileAsked().finally(() => {
    updating = null;
  });
  return updating;
}

async function updateWhileAsked() {
  while (again) {
    again = false;
    try {
      await Promise.all([view.update(), showNow()]);
      trouble.remove();
    } catch (error) {
      trouble.textContent = error.message;
      if (!trouble.isConnected) main.prepend(trouble);
    }
  }
}

async function showNow() {
  const { now } = await get("api/metrics");
  for (const name of ["active", "stalled"]) {
    const node = document.getElementById(`now-${name}`);
    node.textContent = count(now[name]);
    node.classList.toggle("alarming", name === "stalled" && now[name] > 0);
  }
}

function showConnection(connected) {
  const node = document.getElementById("connection");
  node.textContent = connected ? "live" : "not connected";
  node.classList.toggle("lost", !connected);
}

addEventListener("hashchange", route);
addEventListener("click", keepPlace, { capture: true });
listen(() => view?.keys ?? {});
setInterval(update, REFRESH_MS);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view?.recolour?.());
route();
follow(update, showConnection);
