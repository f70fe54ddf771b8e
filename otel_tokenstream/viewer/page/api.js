// The viewer's own API, and its stream of updates. Paths are relative: a proxy may serve the page below another path.

export async function get(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const response = await fetch(query ? `${path}?${query}` : path).catch(() => {
    throw new Error("The viewer does not answer. Is it still running?");
  });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? `the viewer answered ${response.status}`);
  return body;
}

/** Calls `changed` after every change of the store and `connected` with whether updates come. */
export function follow(changed, connected) {
  let source = null;
  const open = () => {
    source ??= new EventSource("api/updates");
    source.onopen = () => connected(true);
    source.onerror = () => connected(false);
    source.onmessage = changed;
  };
  const close = () => {
    source?.close();
    source = null;
  };
  // A browser opens six connections to one host; hidden tabs must not use them all up.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  if (!document.hidden) open();
}
