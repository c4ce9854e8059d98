// Making a call: the request that the form says, the same as a line for a shell, and the answer as it comes.

/** The most that is shown of an answer. */
const SHOWN = 500_000;

/**
 * The request. `values` are the parameters by `in` and name, `body` is text, `who` has `key` and `pool`.
 * Paths are relative to the page, so that a proxy may put the coordinator under a prefix.
 */
export function request(operation, values, body, who) {
  const filled = operation.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values.path[name] ?? ""));
  const query = new URLSearchParams(Object.entries(values.query)).toString();
  const url = new URL(filled.slice(1) + (query && `?${query}`), document.baseURI.replace(/[?#].*/, ""));
  const headers = { ...values.header };
  if (who.key) headers.Authorization = `Bearer ${who.key}`;
  if (who.pool && operation.takes_pool) headers["X-Titan-Pool"] = who.pool;
  if (body) headers["Content-Type"] = "application/json";
  return { method: operation.method.toUpperCase(), url: url.href, headers, body: body || undefined };
}

/** The request for a shell; the credential stays in the environment. */
export function curl(request) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const headers = Object.entries(request.headers).map(([name, value]) =>
    name === "Authorization" ? `-H "Authorization: Bearer $TITAN_API_KEY"` : `-H ${quoted(`${name}: ${value}`)}`);
  const method = request.method === "GET" ? [] : [`-X ${request.method}`];
  const body = request.body ? [`-d ${quoted(request.body)}`] : [];
  const stream = request.headers.Accept === "text/event-stream" ? ["-N"] : [];
  return ["curl", ...stream, ...method, ...headers, ...body, quoted(request.url)].join(" \\\n  ");
}

/** Sends it. `told` gets the answer's head, then its text as it grows. */
export async function send({ url, ...request }, signal, told) {
  const began = performance.now();
  const response = await fetch(url, { ...request, signal, cache: "no-store", credentials: "omit" });
  const headers = [...response.headers];
  const head = { status: response.status, headers, took_ms: performance.now() - began };
  const type = response.headers.get("content-type") ?? "";
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    told({ ...head, type, text, done: false });
    const { done, value } = reader ? await reader.read() : { done: true };
    if (done) break;
    text += value;
    if (text.length > SHOWN) {
      text = `${text.slice(0, SHOWN)}\n… the rest is not shown`;
      await reader.cancel();
      break;
    }
  }
  told({ ...head, type, text, done: true });
}
