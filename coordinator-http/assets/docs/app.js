// The page: a list of operations, and the one that the address names with a form to try it.

import { $, h, json, prose } from "./dom.js";
import { curl, request, send } from "./call.js";
import { example, fields, resolved, type } from "./schema.js";

const METHODS = ["get", "post", "put", "delete"];
/** The groups of the list, in order, each with the nouns of paths that belong to it. */
const GROUPS = [
  ["Jobs", ["jobs"]], ["Events", ["events"]], ["Inference", ["inference", "models", "usage", "v1"]], ["Agents", ["agents"]], ["Pool", []],
  ["Credentials", ["keys", "join-tokens"]], ["What agents call", []], ["About", []],
];
const CREDENTIALS = {
  admin: "the administrator's token", api_key: "an API key", agent: "the agent's token", join_token: "a join token",
};

let spec;
let operations = [];
let running;

start().catch((error) => $("main").replaceChildren(h("p", { class: "refused" }, `The interface cannot be loaded: ${error.message}`)));

async function start() {
  theme();
  credential();
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`openapi.json answered ${answer.status}`);
  spec = await answer.json();
  $("version").textContent = spec.info.version;
  operations = Object.entries(spec.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => operation(path, method, item[method])));
  list();
  addEventListener("hashchange", show);
  show();
}

function operation(path, method, of) {
  const parameters = (of.parameters ?? []).filter((parameter) => parameter.name !== "X-Titan-Pool");
  const takes_pool = parameters.length < (of.parameters?.length ?? 0);
  const name = of.operationId.replaceAll("_", " ");
  const about = [of.summary, of.description].filter(Boolean).join("\n\n");
  return { ...of, id: of.operationId, path, method, parameters, takes_pool, about, group: group(path, of.tags?.[0]), name: name[0].toUpperCase() + name.slice(1) };
}

function group(path, tag) {
  if (tag === "agents") return "What agents call";
  if (tag === "everyone") return "About";
  // What every path of this interface begins with says nothing; `/v1` alone is OpenAI's.
  const noun = path.replace("/api/v1/", "/").split("/").find((part) => GROUPS.some(([, nouns]) => nouns.includes(part)));
  return GROUPS.find(([, nouns]) => nouns.includes(noun))?.[0] ?? "Pool";
}

// ---- the frame

function theme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => localStorage.getItem("titan-theme");
  const set = () => {
    const dark = chosen() ? chosen() === "dark" : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").textContent = dark ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", dark ? "Use light colours" : "Use dark colours");
  };
  $("theme").addEventListener("click", () => {
    localStorage.setItem("titan-theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    set();
  });
  system.addEventListener("change", set);
  set();
}

/** The credential stays in the page; only if asked to, the tab keeps it until it is closed. */
function credential() {
  const kept = sessionStorage.getItem("titan-key");
  $("key").value = kept ?? "";
  $("keep").checked = kept !== null;
  const keep = () => {
    if ($("keep").checked) sessionStorage.setItem("titan-key", $("key").value);
    else sessionStorage.removeItem("titan-key");
  };
  for (const id of ["key", "keep"]) $(id).addEventListener("input", keep);
}

function list() {
  const groups = GROUPS.map(([group]) => [group, operations.filter((one) => one.group === group)]);
  $("list").replaceChildren(...groups.filter(([, all]) => all.length).map(([group, all]) =>
    h("section", { "aria-label": group }, h("h2", {}, group), h("ul", {}, all.map(entry)))));
  $("filter").addEventListener("input", filter);
  addEventListener("keydown", keys);
}

function entry(one) {
  const text = `${one.method} ${one.path} ${one.name} ${one.about}`.toLowerCase();
  return h("li", { "data-text": text }, h("a", { href: `#${one.id}`, title: one.path },
    h("span", { class: `badge ${one.method}` }, one.method.toUpperCase()), one.name));
}

function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const section of $("list").children) {
    const items = [...section.querySelectorAll("li")];
    for (const item of items) item.hidden = !words.every((word) => item.dataset.text.includes(word));
    const shown = items.filter((item) => !item.hidden).length;
    section.hidden = !shown;
    left += shown;
  }
  $("none").hidden = left > 0;
}

function keys(event) {
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("filter").focus();
  } else if (event.target === $("filter") && ["Escape", "Enter"].includes(event.key)) {
    if (event.key === "Enter") $("list").querySelector("section:not([hidden]) li:not([hidden]) a")?.click();
    $("filter").value = "";
    filter();
  } else if (["ArrowDown", "ArrowUp"].includes(event.key) && event.target.closest?.("nav")) {
    const stops = [$("filter"), ...$("list").querySelectorAll("section:not([hidden]) li:not([hidden]) a")];
    const next = stops[stops.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
    if (!next) return;
    event.preventDefault();
    next.focus();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    $("send")?.click();
  }
}

// ---- one operation

function show() {
  running?.abort();
  const [id, ...given] = location.hash.slice(1).split("&");
  if (id === "main") return;
  const known = new URLSearchParams(given.join("&"));
  const one = operations.find((operation) => operation.id === id);
  for (const link of $("list").querySelectorAll("a")) {
    if (one && link.hash === `#${one.id}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = one ? `${one.name} · TitanCompute` : "TitanCompute: the interface";
  $("main").replaceChildren(...(one ? page(one, known) : welcome()));
  if (one) $("main").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function welcome() {
  return [
    h("h1", {}, "The interface"),
    h("p", {}, prose(spec.info.description)),
    h("p", {}, "Choose an operation on the left. A credential, if it needs one, goes into the field above; it is sent to this coordinator only, and forgotten when the page is left."),
    h("div", { class: "card" }, h("h2", {}, "Keys"), h("table", {}, h("tbody", {},
      [["/", "to the filter"], ["↓ ↑", "through the list"], ["Ctrl Enter", "sends the request"]].map(([key, what]) =>
        h("tr", {}, h("td", {}, h("kbd", {}, key)), h("td", {}, what)))))),
    h("p", { class: "quiet" }, "For programs: ", h("a", { href: "openapi.json" }, "openapi.json"), ` (OpenAPI ${spec.openapi})`),
  ];
}

function page(one, known) {
  return [
    h("h1", {}, one.name),
    h("p", { class: "path" }, h("span", { class: `badge ${one.method}` }, one.method.toUpperCase()), one.path),
    ...one.about.split("\n\n").map((text) => h("p", {}, prose(text))),
    h("p", { class: "quiet" }, "For ", whom(one)),
    form(one, known),
    reference(one),
  ].filter(Boolean);
}

function whom(one) {
  const all = (one.security ?? []).flatMap((way) => Object.entries(way));
  if (!all.length) return "everybody; no credential needed";
  return all.flatMap(([scheme, scopes], i) => [
    i ? ", or " : "", CREDENTIALS[scheme] ?? scheme, scopes.length ? [" with ", scopes.map((scope) => h("code", {}, scope))] : "",
  ]);
}

function form(one, known) {
  const inputs = one.parameters.map((parameter) => [parameter, input(parameter, known.get(parameter.name))]);
  const { schema, example: given } = one.requestBody?.content["application/json"] ?? {};
  const is_optional = !one.requestBody?.required;
  const first = schema && !is_optional ? JSON.stringify(given ?? example(spec, schema), null, 2) : "";
  const body = schema && h("textarea", { id: "body", spellcheck: "false", rows: Math.min(Math.max(first.split("\n").length, 5), 24) }, first);
  const shell = h("pre", { id: "curl", tabindex: "0" });
  const said = h("p", { id: "said", role: "status", class: "quiet" });
  const result = h("div", { id: "result" });
  const values = () => {
    const all = { path: {}, query: {}, header: {} };
    for (const [{ name, in: place }, field] of inputs) if (field.value !== "") all[place][name] = field.value;
    const who = { key: $("key").value.trim(), pool: $("pool").value.trim() };
    return request(one, all, body?.value.trim(), who);
  };
  const stop = h("button", { type: "button", id: "stop", disabled: true, onclick: () => running?.abort() }, "Stop");
  const try_it = h("form", { class: "card", onsubmit: (event) => { event.preventDefault(); run(values(), said, result, stop); } },
    h("h2", {}, "Try it"),
    inputs.length > 0 && h("div", { class: "fields" }, inputs.map(([parameter, field]) => [
      h("label", { for: field.id, class: parameter.required ? "must" : "" }, h("code", {}, parameter.name)),
      h("div", {}, field, h("p", { class: "quiet", id: `${field.id}-about` }, prose(parameter.description))),
    ])),
    body && h("label", { for: "body" }, "Body", is_optional && h("span", { class: "quiet" }, " (may be left out)")),
    body,
    h("div", { class: "row" }, h("button", { class: "main", id: "send" }, "Send"), stop, h("span", { class: "quiet" }, h("kbd", {}, "Ctrl Enter"))),
    h("details", { ontoggle: () => { shell.textContent = curl(values()); } }, h("summary", {}, "As a command"), shell));
  try_it.addEventListener("input", () => { shell.textContent = curl(values()); });
  return h("div", {}, try_it, said, result);
}

function input(parameter, known) {
  const schema = resolved(spec, parameter.schema);
  const id = `p-${parameter.name}`;
  const about = { id, "aria-describedby": `${id}-about`, required: parameter.required === true };
  const words = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : undefined);
  const field = words
    ? h("select", about, h("option", { value: "" }, ""), words.map((word) => h("option", {}, word)))
    : h("input", { ...about, autocomplete: "off", spellcheck: "false", placeholder: type(spec, schema) });
  if (known) field.value = known;
  return field;
}

/** Sends a call and shows the answer as it comes; the line above it is also read out. */
async function run(call, said, result, stop) {
  running?.abort();
  const mine = (running = new AbortController());
  stop.disabled = false;
  result.replaceChildren();
  said.textContent = "Waiting for the answer…";
  try {
    await send(call, mine.signal, (answer) => {
      if (running !== mine) return;
      said.textContent = answer.done ? `Answered ${answer.status}.` : `Answered ${answer.status}; the rest is coming…`;
      result.replaceChildren(shown(answer));
    });
  } catch (error) {
    if (running === mine) said.textContent = mine.signal.aborted ? "Stopped." : `No answer: ${error.message}`;
  } finally {
    if (running === mine) stop.disabled = true;
  }
}

function shown({ status, headers, took_ms, type, text, done }) {
  const value = done && /json/.test(type) ? parsed(text) : undefined;
  return h("div", { class: "card" },
    h("p", { class: "row" },
      h("span", { class: `status ${status < 400 ? "ok" : "refused"}`, id: "status" }, String(status)),
      h("span", { class: "quiet" }, `${took_ms.toFixed(0)} ms`), next(headers)),
    value && /problem/.test(type) && problem(value),
    h("details", {}, h("summary", {}, `${headers.length} headers`),
      h("table", {}, h("tbody", {}, headers.map(([name, value]) => h("tr", {}, h("td", {}, h("code", {}, name)), h("td", {}, value)))))),
    text && h("pre", { id: "answer", tabindex: "0" }, value === undefined ? text : json(value)));
}

/** A link to what was made. */
function next(headers) {
  const job = headers.find(([name]) => name === "location")?.[1].match(/\/jobs\/([\w.-]+)$/)?.[1];
  return job && h("a", { href: `#get_job&id=${job}` }, "look at it");
}

function problem({ title, detail, errors = [] }) {
  return h("div", { class: "problem" }, h("strong", {}, title), detail && h("div", {}, detail),
    errors.length > 0 && h("ul", {}, errors.map((error) => h("li", {}, h("code", {}, error.pointer || "/"), ` ${error.detail}`))));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reference(one) {
  const bodies = [["Body", one.requestBody], ...Object.entries(one.responses).map(([status, response]) =>
    [status === "default" ? "Otherwise" : status, response])];
  return h("div", {}, bodies.filter(([, of]) => of).map(([name, of]) => {
    const [kind, content] = Object.entries(of.content ?? {})[0] ?? [];
    return h("section", { class: "card" },
      h("h2", {}, name, kind && h("span", { class: "quiet" }, ` · ${kind}`)),
      of.description && h("p", { class: "quiet" }, prose(of.description)),
      content?.schema && fields(spec, content.schema));
  }));
}
