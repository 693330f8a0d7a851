// The lists: who waits, what happened, how fresh accounts are, what was given up.

import { serverNow } from "./clock.js";
import { byId, fill, make, moment, say, sayAccount } from "./dom.js";
import { counted, number } from "./format.js";
import { breakerTitle, breakerTone, titleOf, toneOf } from "./words.js";

const MOST_LINES = 100;
const AGES = [
  ["under 1 min", 60_000, "good"],
  ["under 10 min", 600_000, "first"],
  ["under 1 h", 3_600_000, "warn"],
  ["older", Infinity, "bad"],
];

function isEmpty(name, count) {
  byId(`${name}-empty`).hidden = count > 0;
  byId(name).closest(".scroll").hidden = count === 0;
}

export function showQueue(line) {
  const waiting = line.reduce((sum, one) => sum + one.waiting, 0);
  const accounts = counted(line.length, "account", "accounts");
  say(
    byId("queue-note"),
    line.length ? `${counted(waiting, "request", "requests")}, ${accounts}` : "",
  );
  isEmpty("queue", line.length);
  const key = (one, i) => `${i}|${one.account}|${one.waiting}|${one.since_ms}|${one.by_ms}`;
  let i = 0;
  fill(
    byId("queue"),
    line.slice(0, MOST_LINES),
    (one) => key(one, i++),
    (one) =>
      make(
        "tr",
        {},
        sayAccount(make("th", { scope: "row" }), one.account),
        make("td", { class: "n" }, number(one.waiting)),
        make("td", { class: "n" }, moment(one.since_ms, "ago")),
        make("td", { class: "n" }, moment(one.by_ms, "by")),
      ),
  );
}

/** `entries`: newest first, as `journalEntry` makes them. */
export function showJournal(entries) {
  isEmpty("journal", entries.length);
  fill(
    byId("journal"),
    entries.slice(0, MOST_LINES),
    (one) => one.key,
    (one) =>
      make(
        "li",
        { "data-tone": one.tone },
        moment(one.at, "clock"),
        make("p", {}, make("b", {}, one.title), one.text ? ` ${one.text}` : ""),
      ),
  );
}

export function journalEntry(kind, event) {
  const base = { at: event.at_ms, key: `${kind}|${JSON.stringify(event)}` };
  const cause = event.cause ?? "";
  if (kind === "state") {
    const title = `${event.from ?? "?"} → ${event.to}`;
    return { ...base, title, text: cause, tone: toneOf(event.to), said: titleOf(event.to) };
  }
  if (kind === "breaker") {
    const name = breakerTitle(event.to);
    return {
      ...base,
      title: `Breaker ${name}`,
      text: cause,
      tone: breakerTone(event.to),
      said: `Breaker ${name}`,
    };
  }
  if (kind === "lease") {
    return {
      ...base,
      title: `Lease ${event.to}`,
      text: cause,
      tone: "idle",
      said: `Lease ${event.to}`,
    };
  }
  if (kind === "credential") {
    const text = [event.detail, cause].filter(Boolean).join(": ");
    const tone = event.to === "refused" ? "warn" : "good";
    return { ...base, title: `Credential ${event.to}`, text, tone };
  }
  const text = [event.result, event.message].filter(Boolean).join(": ");
  return {
    ...base,
    title: `Command ${event.command}`,
    text,
    tone: event.result === "ok" ? "good" : "warn",
  };
}

export function errorEntry(health) {
  const { last_error_at_ms: at, last_error_code: title, last_error_text: text } = health;
  return { at, key: `error|${at}|${title}`, title, text: text ?? "", tone: "bad" };
}

export function showFreshness(overview, canSearch, search) {
  const { accounts, enrolled } = overview;
  const shown = accounts.length;
  say(
    byId("fresh-note"),
    shown < enrolled
      ? `stalest ${number(shown)} of ${number(enrolled)}`
      : counted(enrolled, "account", "accounts"),
  );
  isEmpty("fresh", shown);
  showAges(accounts);
  // Masked, two accounts may look the same.
  const seen = new Map();
  const key = (one) => {
    const count = (seen.get(one.account) ?? 0) + 1;
    seen.set(one.account, count);
    return `${one.account}|${count}|${one.as_of_ms}`;
  };
  fill(byId("fresh"), accounts, key, (one) => freshnessRow(one, canSearch(one.account), search));
}

function freshnessRow({ account, as_of_ms: at }, isOpen, search) {
  const name = sayAccount(
    isOpen ? make("button", { type: "button", class: "link" }) : make("span"),
    account,
  );
  if (isOpen) name.addEventListener("click", () => search(account));
  const read = at === null ? make("span", { class: "dim" }, "never") : moment(at, "ago");
  return make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "n" }, read));
}

function showAges(accounts) {
  const now = serverNow();
  const counts = AGES.map(() => 0);
  let never = 0;
  for (const { as_of_ms: at } of accounts) {
    if (at === null) never += 1;
    else counts[AGES.findIndex(([, limit]) => now - at < limit)] += 1;
  }
  const parts = [
    ...AGES.map(([name, , tone], i) => [name, tone, counts[i]]),
    ["never", "idle", never],
  ];
  const key = parts.map(([, , count]) => count).join();
  if (byId("ages").dataset.counts === key) return;
  byId("ages").dataset.counts = key;
  byId("ages").replaceChildren(
    ...parts
      .filter(([, , count]) => count)
      .map(([name, tone, count]) => {
        const part = make("span", { "data-tone": tone }, make("b", {}, number(count)), ` ${name}`);
        part.style.flexGrow = count;
        return part;
      }),
  );
}

export function showLetters({ dead, letters }) {
  say(
    byId("dead-note"),
    dead > letters.length ? `newest ${letters.length} of ${number(dead)}` : "",
  );
  isEmpty("dead", letters.length);
  fill(
    byId("dead"),
    letters,
    (one) => JSON.stringify(one),
    (one) => {
      const whose = one.account
        ? `${one.operation} of ${one.account}`
        : "a request that can't be read";
      const tries = one.deliveries > 1 ? `, delivered ${number(one.deliveries)} times` : "";
      return make(
        "li",
        { "data-tone": "bad" },
        moment(one.at_ms, "clock"),
        make(
          "p",
          {},
          make("b", {}, one.code || "given up"),
          ` ${whose}${tries}. ${one.message ?? ""}`,
        ),
      );
    },
  );
}
