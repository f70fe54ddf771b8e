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
  const next = made(() => (trace ? streamView(trace, span, query) : (VIEWS[path] ?? listView)(query)));
  const used = controlInUse();
  view = next;
  main.replaceChildren(next.node);
  const goesOn = used !== null && goOnWith(used);
  if (event && !goesOn) main.focus({ preventScroll: true }); // a reader's place is the new view, not where the link was
  if (isNew) toPlace();
  await update();
  if (view === next && !isNew) toPlace();
}

/** Where a view cannot be made, one whose updates say why. */
function made(make) {
  try {
    return make();
  } catch (error) {
    return { node: element("div", { class: "list" }), update: () => Promise.reject(error) };
  }
}

/** The view is made anew with every letter of the search and with every column, and the reader goes on with them. */
function controlInUse() {
  const used = document.activeElement;
  if (used?.name === "q") return { selector: "input[name=q]", at: used.selectionStart };
  if (used?.matches?.(".column-choice input")) return { selector: `.column-choice input[value="${used.value}"]` };
  return null;
}

/** Returns whether the new view has the control. */
function goOnWith({ selector, at }) {
  const control = main.querySelector(selector);
  if (!control) return false;
  const menu = control.closest("details");
  if (menu) menu.open = true;
  control.focus({ preventScroll: true });
  if (at !== undefined) control.setSelectionRange(at, at);
  return true;
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
