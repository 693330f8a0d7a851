// The state, the breaker, who is logged in, and the figures below them.

import { serverNow } from "./clock.js";
import { byId, make, moment, say, sayAccount, setMoment } from "./dom.js";
import { latency, number } from "./format.js";
import { breakerTitle, breakerTone, detailOf, titleOf, toneOf } from "./words.js";

/** What was told last is not what is, once nothing is told any more. */
export function showUnknown(health) {
  byId("hero").dataset.tone = "idle";
  say(byId("state"), "UNKNOWN");
  document.title = "Unknown · mt5relay";
  say(byId("detail"), `was ${health?.state ?? "without a worker"} when last heard of`);
  setMoment(byId("state-since"), null);
}

/** `breakerSince`: when it last changed, as the events say; null: not since the worker began. */
export function showState(health, breakerSince) {
  const state = health?.state ?? "NO_WORKER";
  byId("hero").dataset.tone = health?.detail === "wedged" ? "bad" : toneOf(state);
  say(byId("state"), health ? state : "NO WORKER");
  document.title = `${titleOf(state)} · mt5relay`;
  say(byId("detail"), health ? `· ${detailOf(health.detail)}` : "nobody holds the terminal");
  setMoment(byId("state-since"), health?.state_since_ms);
  say(byId("trouble"), troubleOf(health));
  showBreaker(health, breakerSince);
  sayAccount(byId("current"), health?.current_account ?? "none");
  say(byId("current-note"), pool(health));
  say(byId("worker"), health?.worker_id ?? "none");
  say(byId("worker-note"), health ? `${health.version}, heartbeat` : "");
  setMoment(byId("heartbeat"), health?.heartbeat_at_ms);
}

function troubleOf(health) {
  if (!health || health.state === "CONNECTED" || !health.last_error_code) return "";
  return `${health.last_error_code}: ${health.last_error_text ?? ""}`;
}

function pool(health) {
  return health ? `${health.pool_size} of ${health.pool_limit} sessions held` : "";
}

function showBreaker(health, since) {
  byId("breaker").dataset.tone = breakerTone(health?.breaker);
  say(byId("breaker"), health ? breakerTitle(health.breaker) : "unknown");
  setMoment(byId("breaker-since"), health ? (since ?? health.started_at_ms) : null);
  const retryAt = health?.breaker === "OPEN" ? health.breaker_retry_at_ms : null;
  const shown = byId("breaker-retry");
  if (shown.dataset.at === `${retryAt}`) return;
  shown.dataset.at = `${retryAt}`;
  shown.replaceChildren(...(retryAt ? ["· next try ", moment(retryAt, "by")] : []));
}

const TILES = {
  rate: "Answers a second",
  waiting: "Waiting",
  saved: "Logins saved",
  logins: "Logins, last hour",
  errors: "Errors",
  stale: "Stale answers",
};

export function showTiles(health, samples) {
  const parent = byId("tiles");
  if (!parent.children.length) {
    for (const [name, title] of Object.entries(TILES)) {
      const value = make("dd", { id: `tile-${name}` }, make("b"), make("small"));
      parent.append(make("div", {}, make("dt", {}, title), value));
    }
  }
  const set = (name, value, note, tone = "") => {
    const node = byId(`tile-${name}`);
    node.dataset.tone = tone;
    say(node.firstChild, value);
    say(node.lastChild, note);
  };
  const h = health ?? {};
  set("rate", number(recentRate(samples)), `${number(h.requests_total)} answered`);
  const oldest = h.queue_depth ? `oldest ${latency(h.oldest_request_age_ms)}` : "nobody";
  set("waiting", number(h.queue_depth), oldest);
  set("saved", number(h.logins_saved), savedShare(h), h.logins_saved ? "good" : "");
  set("logins", number(h.logins_last_hour), `${number(h.logins)} in all`);
  const share = h.requests_total ? (100 * h.errors_total) / h.requests_total : null;
  const errors = share === null ? "" : `${number(share)} % of all`;
  set("errors", number(h.errors_total), errors, h.errors_total ? "bad" : "");
  set("stale", number(h.stale_replies), "instead of an error", h.stale_replies ? "warn" : "");
}

function savedShare({ logins, logins_saved: saved }) {
  const all = (logins ?? 0) + (saved ?? 0);
  return all ? `${number((100 * saved) / all)} % of ${number(all)}` : "";
}

/** Over the last half minute. */
function recentRate(samples) {
  const now = serverNow();
  const [last, before] = [samples.at(now), samples.at(now - 30_000)];
  if (!last?.started_at_ms || last.started_at_ms !== before?.started_at_ms) return null;
  const seconds = (last.at_ms - before.at_ms) / 1000;
  return seconds > 0 ? (last.requests_total - before.requests_total) / seconds : null;
}
