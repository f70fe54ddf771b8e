// Copies a text, and says so.

/** `told` is the element that says it. A page that came over http from another machine has no clipboard. */
export async function copy(text, told, said) {
  try {
    await navigator.clipboard.writeText(text);
    told.textContent = said;
  } catch {
    told.textContent = "the browser lets nobody copy here";
  }
}
