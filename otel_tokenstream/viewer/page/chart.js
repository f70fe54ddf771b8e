// Loads plotly.js when the first chart is drawn, and gives charts the page's colours.

let loading = null;

function plotly() {
  loading ??= load();
  return loading;
}

async function load() {
  const { style_ids: ids } = await (await fetch("page/plotly.json")).json();
  // plotly.js brings style elements for maps, which the policy would refuse and no chart here needs.
  // It leaves them out where an element of their id is there already.
  for (const id of ids) {
    const standIn = document.createElement("meta");
    standIn.id = id;
    document.head.append(standIn);
  }
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "page/plotly.min.js";
    script.onload = resolve;
    script.onerror = () => reject(new Error("plotly.js could not be loaded"));
    document.head.append(script);
  });
  return window.Plotly;
}

/** Draws or redraws; keeps the zoom while `layout.uirevision` stays the same. */
export async function draw(node, traces, layout) {
  const Plotly = await plotly();
  const config = { displayModeBar: false, responsive: true, doubleClick: "reset" };
  await Plotly.react(node, traces, { ...base(), ...layout }, config);
}

export function release(node) {
  window.Plotly?.purge(node);
}

/** A colour of the page's style sheet, by the name of its custom property. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Text for a plotly.js label, which would read tags and entities in it. */
export function label(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

export function axis(settings = {}) {
  return {
    gridcolor: colour("grid"),
    linecolor: colour("line"),
    zeroline: false,
    tickfont: { size: 11, color: colour("muted") },
    fixedrange: false,
    ...settings,
  };
}

function base() {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
    showlegend: false,
    hovermode: "closest",
    hoverlabel: {
      bgcolor: colour("panel"),
      bordercolor: colour("line"),
      align: "left",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
    },
    dragmode: "zoom",
  };
}
