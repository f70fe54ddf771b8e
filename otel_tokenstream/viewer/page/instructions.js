// What to show while there is nothing to show: how to send something.

import { copy } from "./copy.js";
import { element } from "./elements.js";

export function instructions() {
  const at = (location.origin + location.pathname).replace(/\/$/, ""); // below a path, behind a proxy
  const commands = [
    `export OTEL_EXPORTER_OTLP_ENDPOINT=${at}`,
    "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
    "export OTEL_SERVICE_NAME=my-application",
    "export OTEL_METRIC_EXPORT_INTERVAL=5000",
    "export OTEL_BLRP_SCHEDULE_DELAY=200",
    "export OTEL_TOKENSTREAM_EVENTS=both",
    "opentelemetry-instrument python app.py",
  ].join("\n");
  const copied = element("span", { role: "status", class: "muted" });
  const button = element("button", { type: "button", onclick: () => copy(commands, copied, "copied") }, "Copy");
  return element("section", { class: "instructions panel", "aria-labelledby": "instructions" },
    element("h2", { id: "instructions" }, "Waiting for the first stream"),
    element("p", {}, "Start an application that streams through litellm, DSPy, LangChain or a provider's SDK with these settings. Nothing in its code changes."),
    element("pre", { tabindex: "0" }, element("code", {}, commands)),
    element("p", {}, button, " ", copied),
    element("p", {}, "Or, which sets the same and whatever you have not set yourself: ", element("code", {}, "otel-tokenstream run -- python app.py")),
    element("p", { class: "muted" },
      "A stream appears here as soon as it begins. Without ",
      element("code", {}, "OTEL_TOKENSTREAM_EVENTS=both"),
      " it appears when its span has ended. The text of tokens is shown only if the application captures it."));
}
