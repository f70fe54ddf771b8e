// Which view is shown, and when it is brought up to date.

import { follow, get } from "./api.js";
import { element } from "./elements.js";
import { count } from "./format.js";
import { listView } from "./list.js";
import { streamView } from "./stream.js";

const REFRESH_MS = 15_000; // now-figures fade when their process is gone, and no update tells that

const main = document.getElementById("main");
const trouble = element("p", { class: "notice", role: "alert" });
let view = null;

function route(event) {
  view?.close?.();
  const [, trace, span] = /^#\/([0-9a-f]{32})\/([0-9a-f]{16})$/.exec(location.hash) ?? [];
  view = trace ? streamView(trace, span) : listView(new URLSearchParams(location.hash.split("?")[1] ?? ""));
  main.replaceChildren(view.node);
  window.scrollTo(0, 0);
  if (event) main.focus({ preventScroll: true }); // a reader's place is the new view, not where the link was
  update();
}

let updating = false;
let again = false;

/** One update at a time; what changes meanwhile leads to one more. */
async function update() {
  if (updating) {
    again = true;
    return;
  }
  updating = true;
  do {
    again = false;
    try {
      await Promise.all([view.update(), showNow()]);
      trouble.remove();
    } catch (error) {
      trouble.textContent = error.message;
      if (!trouble.isConnected) main.prepend(trouble);
    }
  } while (again);
  updating = false;
}

async function showNow() {
  const { now } = await get("/api/metrics");
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
setInterval(update, REFRESH_MS);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view?.recolour?.());
route();
follow(update, showConnection);
