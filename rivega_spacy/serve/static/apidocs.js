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
  const ways = found.anyOf ?? found.oneOf;
  if (ways && !found.type) return ways.map(typeOf).join(" or ");
  if (Array.isArray(found.type)) return found.type.join(" or ");
  if (found.type === "array") return `list of ${typeOf(found.items)}`;
  return found.format === "binary" ? "file" : schema?.$ref ? schema.$ref.split("/").pop() : found.type ?? "any";
}

// Those of each way of giving it as well; what the schema itself or its first way says of a field comes before the others' word.
function propertiesOf(schema) {
  const found = resolve(schema);
  const ways = (found.anyOf ?? found.oneOf ?? []).map(propertiesOf).reverse();
  return Object.assign({}, ...ways, found.properties);
}

function fields(schema) {
  const rows = Object.entries(propertiesOf(schema)).map(([name, value]) => element("tr", {}, element("td", {}, element("code", {}, name)), element("td", {}, typeOf(value)), element("td", {}, value.description ?? resolve(value).description ?? "")));
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
