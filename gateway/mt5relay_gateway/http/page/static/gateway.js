// Asks the gateway that served this page, wherever it is mounted.

import { keptToken } from "./token.js";

const ROOT = new URL("../", import.meta.url);

/** What the gateway said instead of an answer. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export async function request(path, { headers = {}, signal } = {}) {
  const token = keptToken();
  const all = token ? { ...headers, authorization: `Bearer ${token}` } : headers;
  const options = { headers: all, signal, cache: "no-store", credentials: "omit" };
  const response = await fetch(new URL(path, ROOT), options);
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function getJson(path) {
  return (await request(path)).json();
}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const said = body.detail ?? body.title ?? `the gateway answered ${response.status}`;
  return new Problem(response.status, body.code ?? "", said);
}
