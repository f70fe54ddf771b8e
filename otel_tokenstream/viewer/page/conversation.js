// Prompt and answer as a conversation, where their content was captured; reasoning and tools are folded.

import { element, panel } from "./elements.js";

const SOURCES = [
  ["gen_ai.system_instructions", "system"],
  ["gen_ai.input.messages", "user"],
  ["gen_ai.output.messages", "assistant"],
];

/** Null where no content was captured. */
export function conversationPanel(detail) {
  const told = detail.records.filter((record) => record.span_id === detail.stream.span_id).map((record) => record.attributes);
  const messages = SOURCES.flatMap(([name, role]) => {
    const content = [detail.attributes, ...told].map((attributes) => attributes?.[name]).find((each) => each !== undefined);
    return messagesOf(content, role);
  });
  if (messages.length === 0) return null;
  return panel("Conversation", element("ol", { class: "conversation" }, messages.map(({ role, parts }) =>
    element("li", { class: `message ${role}` }, element("b", {}, role), parts.map(part)))));
}

/** The attribute is JSON, or a value of the log's; what is neither is shown as it is. */
function messagesOf(content, role) {
  if (content === undefined || content === null || content === "") return [];
  let value = content;
  if (typeof content === "string") {
    try {
      value = JSON.parse(content);
    } catch {
      return [{ role, parts: [{ type: "text", content }] }];
    }
  }
  const list = Array.isArray(value) ? value : [value];
  // System instructions are parts without a message around them.
  if (list.every((each) => typeof each !== "object" || each === null || !("parts" in each || "role" in each))) return [{ role, parts: list }];
  return list.map((each) => ({ role: String(each.role ?? role), parts: partsOf(each) }));
}

function partsOf(message) {
  if (Array.isArray(message.parts)) return message.parts;
  return message.content === undefined ? [] : [].concat(message.content);
}

function part(value) {
  if (typeof value !== "object" || value === null) return text(value);
  const type = String(value.type ?? "text");
  const content = value.content ?? value.text;
  if (type === "text") return text(content);
  if (type === "tool_call") return folded(`calls ${value.name ?? "a tool"}`, value.arguments ?? value);
  if (type === "tool_call_response") return folded("result of the tool", value.response ?? value.result ?? value);
  return folded(type.replaceAll("_", " "), content ?? value);
}

function text(value) {
  return element("p", { class: "said" }, typeof value === "string" ? value : JSON.stringify(value));
}

function folded(title, content) {
  return element("details", {}, element("summary", {}, title),
    element("pre", { tabindex: "0" }, typeof content === "string" ? content : JSON.stringify(content, null, 1)));
}
