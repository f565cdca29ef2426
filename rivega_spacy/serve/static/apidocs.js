// openapi.json as a page: what each route takes and gives.

import { askJSON } from "./client.js";
import { element } from "./words.js";

const place = document.getElementById("routes");
let api = null;

function resolve(schema) {
  while (schema?.$ref) schema = schema.$ref.split("/").slice(1).reduce((held, key) => held[key], api);
  return schema ?? {};
}

function typeOf(schema) {
  const found = resolve(schema);
  if (found.anyOf || found.oneOf) return (found.anyOf ?? found.oneOf).map(typeOf).join(" or ");
  if (found.type === "array") return `list of ${typeOf(found.items)}`;
  return found.format === "binary" ? "file" : schema?.$ref ? schema.$ref.split("/").pop() : found.type ?? "any";
}

function fields(schema) {
  const found = resolve(schema);
  const inner = found.properties ? found : resolve((found.anyOf ?? found.oneOf ?? [])[0]);
  const rows = Object.entries(inner.properties ?? {}).map(([name, value]) => element("tr", {}, element("td", {}, element("code", {}, name)), element("td", {}, typeOf(value)), element("td", {}, value.description ?? resolve(value).description ?? "")));
  return rows.length ? element("table", {}, element("tbody", {}, ...rows)) : element("p", { class: "soft" }, typeOf(schema));
}

function route(path, method, operation) {
  const made = element("section", { class: "card api" }, element("h2", {}, element("b", {}, method.toUpperCase()), path), element("p", {}, operation.description ?? ""));
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  for (const [kind, { schema }] of bodies) made.append(element("details", {}, element("summary", {}, `Body: ${kind}`), fields(schema)));
  for (const [status, answer] of Object.entries(operation.responses ?? {})) {
    if (status !== "200") continue;
    for (const [kind, { schema }] of Object.entries(answer.content ?? {})) made.append(element("details", {}, element("summary", {}, `Answer: ${kind}`), fields(schema)));
  }
  const others = Object.keys(operation.responses ?? {}).filter((status) => status !== "200");
  made.append(element("p", { class: "soft" }, `Problems (application/problem+json): ${others.join(", ")}`));
  return made;
}

try {
  api = await askJSON("/openapi.json");
  document.getElementById("about").textContent = `${api.info.description} Version ${api.info.version}.`;
  for (const [path, methods] of Object.entries(api.paths)) for (const [method, operation] of Object.entries(methods)) place.append(route(path, method, operation));
} catch (error) {
  document.getElementById("problem").textContent = error.message;
  document.getElementById("problem").hidden = false;
}
