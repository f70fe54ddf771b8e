// Builds the page's elements. Strings become text nodes, never markup: what a model wrote stays text.

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [rule, setting] of Object.entries(value)) node.style.setProperty(rule, setting);
    else node.setAttribute(name, value === true ? "" : value);
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function table(caption, heads, rows, properties = {}) {
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element("table", properties,
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, heads.map((head) => {
        const { label, ...rest } = typeof head === "string" ? { label: head } : head;
        return element("th", { scope: "col", ...rest }, label);
      }))),
      element("tbody", {}, rows)));
}

/** Children that are controls of the whole panel stand beside its title. */
export function panel(title, ...children) {
  const id = `panel-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  const controls = children.filter((child) => child instanceof HTMLFieldSetElement || child instanceof HTMLLabelElement);
  const others = children.filter((child) => !controls.includes(child));
  return element("section", { class: "panel", "aria-labelledby": id }, element("header", {}, element("h2", { id }, title), controls), others);
}

export function badge(stream) {
  const outcome = stream.in_progress ? "in progress" : stream.outcome ?? "no span";
  const known = ["completed", "failed", "cancelled", "closed", "abandoned", "in progress"].includes(outcome);
  return element("span", { class: `badge ${known ? outcome.replace(" ", "-") : "other"}` }, outcome);
}
