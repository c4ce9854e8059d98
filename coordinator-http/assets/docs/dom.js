// Building pieces of the page. Text is only ever set as text, so nothing that a server answers can become markup.

/** An element: `props` are attributes, `class`, and `on…` listeners; children are elements, texts or lists of them. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value === "boolean") element[name] = value;
    else element.setAttribute(name === "class" ? "class" : name, value);
  }
  element.append(...children.flat(9).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** A text in which `words between backticks` are code. */
export function prose(text = "") {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

/** JSON with its words in colour; a very long one without. */
export function json(value) {
  const text = JSON.stringify(value, null, 2) ?? "";
  if (text.length > 200_000) return [text];
  const parts = [];
  const words = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d[\d.eE+-]*|\b(?:true|false|null)\b/g;
  let at = 0;
  for (const word of text.matchAll(words)) {
    parts.push(text.slice(at, word.index));
    const [all, string, colon] = word;
    const kind = colon ? undefined : string ? "s" : /[tfn]/.test(all[0]) ? "w" : "n";
    parts.push(kind ? h("span", { class: kind }, all) : all);
    at = word.index + all.length;
  }
  parts.push(text.slice(at));
  return parts;
}

export const $ = (id) => document.getElementById(id);
