// What a schema of the document looks like to a reader, and an example of it.

import { h, prose } from "./dom.js";

/** The schema behind a reference. */
export function resolved(document, schema) {
  const name = schema?.$ref?.split("/").pop();
  if (!name) return schema ?? {};
  const { $ref, ...more } = schema;
  return { ...document.components.schemas[name], ...more, title: name };
}

/** Leaves out the `null` that an optional value may be. */
function without_null(document, schema) {
  const one = resolved(document, schema);
  const kinds = (one.oneOf ?? one.anyOf)?.filter((kind) => kind.type !== "null");
  if (kinds?.length === 1) return { ...resolved(document, kinds[0]), description: one.description };
  if (Array.isArray(one.type)) return { ...one, type: one.type.find((type) => type !== "null") };
  return one;
}

/** All properties of an object, those of its parts included. */
function properties(document, schema) {
  const own = Object.entries(schema.properties ?? {}).map(([name, of]) => [name, of, schema.required?.includes(name)]);
  const parts = (schema.allOf ?? []).flatMap((part) => properties(document, resolved(document, part)));
  return [...parts, ...own];
}

/** The type of a schema in a few words. */
export function type(document, schema) {
  const one = without_null(document, schema);
  if (one.enum) return one.enum.map((word) => JSON.stringify(word)).join(" | ");
  if (one.oneOf) return one.title ?? "one of";
  if (one.type === "array") return `list of ${type(document, one.items)}`;
  if (one.type === "object" && one.additionalProperties && !one.properties) {
    return `map to ${type(document, one.additionalProperties)}`;
  }
  return one.title ?? one.format ?? one.type ?? "anything";
}

/** A schema as a list of its fields; deep ones unfold when they are asked for. */
export function fields(document, schema, depth = 0) {
  const one = without_null(document, schema);
  const inner = one.type === "array" ? without_null(document, one.items) : one;
  if (inner.oneOf) {
    return h("div", {}, inner.oneOf.map((kind) => [
      h("p", { class: "quiet" }, prose(resolved(document, kind).description ?? "or")),
      fields(document, kind, depth + 1),
    ]));
  }
  const all = properties(document, inner).sort(([, , a], [, , b]) => Boolean(b) - Boolean(a));
  if (!all.length) return h("p", { class: "quiet" }, type(document, schema));
  return h("dl", { class: "schema" }, all.map(([name, of, must]) => {
    const field = without_null(document, of);
    const nested = field.type === "array" ? without_null(document, field.items) : field;
    const deep = properties(document, nested).length > 0 || nested.oneOf;
    return [
      h("dt", {}, h("code", { class: must ? "must" : "" }, name), h("span", { class: "type" }, type(document, of))),
      h("dd", {}, prose(field.description), deep && depth < 6 && unfolding(document, field, depth)),
    ];
  }));
}

function unfolding(document, schema, depth) {
  const details = h("details", {}, h("summary", {}, "fields"));
  details.addEventListener("toggle", () => details.append(fields(document, schema, depth + 1)), { once: true });
  return details;
}

/** An example with what must be there. */
export function example(document, schema) {
  const one = without_null(document, schema);
  if (one.example !== undefined) return one.example;
  if (one.enum) return one.enum[0];
  if (one.oneOf) return example(document, one.oneOf[0]);
  if (one.type === "array") return [];
  if (one.type === "integer" || one.type === "number") return one.minimum ?? 0;
  if (one.type === "boolean") return false;
  if (one.type === "string") return "";
  const must = properties(document, one).filter(([, , must]) => must);
  return Object.fromEntries(must.map(([name, of]) => [name, example(document, of)]));
}
