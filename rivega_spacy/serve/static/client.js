// Requests to the server. Whatever goes wrong becomes a Problem that can be shown.

export class Problem extends Error {
  constructor(title, detail, notes = [], status = 0) {
    super(detail);
    this.title = title;
    this.detail = detail;
    this.notes = notes;
    this.status = status;
  }
}

// What a status means to a person; the reason stands beside it.
const TITLES = {
  400: "The server could not read that", 403: "The server refuses that", 404: "There is no such thing", 408: "That took too long to arrive", 409: "Somebody was quicker",
  413: "That is too large", 415: "The server could not read that", 421: "The server refuses that", 422: "That cannot be used", 429: "Too much at once", 500: "The server failed",
  501: "The pipeline cannot do that", 503: "The server is busy", 507: "The disk is full",
};

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer", "Nothing is lost: what you changed is still on this page. Start the server again or check the connection, then try again.");
  }
  if (answer.ok) return answer;
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // An answer without problem details, of a proxy for example.
  }
  const title = TITLES[answer.status] ?? body?.title ?? `${answer.status} ${answer.statusText}`;
  throw new Problem(title, body?.detail ?? "The server gave no reason.", body?.notes ?? [], answer.status);
}

export async function askJSON(path, options) {
  return (await ask(path, options)).json();
}

export function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || value === undefined) continue;
    if (value instanceof Blob) data.append(name, value, value.name ?? "picture");
    else data.append(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return { method: "POST", body: data };
}
