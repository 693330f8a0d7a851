// Finds an account and shows its last full read, however old. The terminal is not troubled.

import { getJson } from "./gateway.js";
import { byId, make, moment, say } from "./dom.js";
import { counted, money, number } from "./format.js";

const SIDES = ["buy", "sell"];
const ORDER_TYPES = [
  "buy",
  "sell",
  "buy limit",
  "sell limit",
  "buy stop",
  "sell stop",
  "buy stop limit",
  "sell stop limit",
  "close by",
];

export class Search {
  #shown = null;
  #asOfMs = 0;
  #known = [];

  constructor() {
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.find(byId("account").value.trim());
    });
    byId("found-close").addEventListener("click", () => this.close());
    byId("found").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  /** Offer these accounts; read the one that is shown anew where there is a newer read of it. */
  learn(accounts) {
    this.#known = accounts.map((one) => one.account).filter((one) => !one.startsWith("***"));
    const options = byId("known");
    const names = this.#known.join("\n");
    if (options.dataset.names !== names) {
      options.dataset.names = names;
      options.replaceChildren(...this.#known.map((value) => make("option", { value })));
    }
    const own = accounts.find((one) => one.account === this.#shown);
    if (own?.as_of_ms > this.#asOfMs) this.#show(own.account);
  }

  /** An account, or a login that only one known account has. */
  async find(text) {
    if (!text) return;
    const likely = this.#known.filter((one) => one.startsWith(`${text}@`));
    const account = likely.length === 1 ? likely[0] : text;
    byId("account").value = account;
    byId("found").hidden = false;
    say(byId("found-title"), account);
    await this.#show(account);
    byId("found-title").focus();
    byId("found").scrollIntoView({ block: "nearest" });
  }

  close() {
    this.#shown = null;
    byId("found").hidden = true;
    byId("account").focus();
  }

  async #show(account) {
    if (this.#shown !== account) this.#asOfMs = 0;
    this.#shown = account;
    const body = byId("found-body");
    try {
      const found = await getJson(`v1/accounts/${encodeURIComponent(account)}/snapshot`);
      if (this.#shown !== account) return;
      this.#asOfMs = Date.parse(found.as_of);
      body.replaceChildren(...snapshotView(found, this.#asOfMs));
    } catch (error) {
      if (this.#shown !== account) return;
      body.replaceChildren(make("p", { class: "empty", role: "alert" }, error.message));
    }
  }
}

function snapshotView({ account_info: info, positions, orders, synchronized }, asOfMs) {
  const coin = info.currency;
  const facts = {
    Balance: money(info.balance, coin),
    Equity: money(info.equity, coin),
    Profit: money(info.profit, coin),
    Margin: money(info.margin, coin),
    "Free margin": money(info.margin_free, coin),
    "Margin level": info.margin ? `${number(info.margin_level)} %` : "–",
  };
  const pairs = Object.entries(facts).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, make("b", {}, value))),
  );
  const held =
    synchronized === "confirmed" ? "confirmed by the terminal's journal" : "figures agree";
  return [
    make(
      "p",
      { class: "sub" },
      `${info.company}, 1:${info.leverage}. Read `,
      moment(asOfMs),
      `; ${held}.`,
    ),
    make("dl", { class: "tiles" }, ...pairs),
    make("h3", {}, counted(positions.length, "open position", "open positions")),
    ...(positions.length
      ? [
          table(
            ["symbol", "side", "lots", "opened at", "price", "profit"],
            positions.map(positionRow),
          ),
        ]
      : []),
    make("h3", {}, counted(orders.length, "pending order", "pending orders")),
    ...(orders.length ? [table(["symbol", "type", "lots", "price"], orders.map(orderRow))] : []),
  ];
}

const positionRow = (one) => [
  one.symbol,
  SIDES[one.type] ?? one.type,
  one.volume,
  one.price_open,
  one.price_current,
  one.profit.toFixed(2),
];
const orderRow = (one) => [
  one.symbol,
  ORDER_TYPES[one.type] ?? one.type,
  one.volume_current,
  one.price_open,
];

function table(names, rows) {
  const numeric = (i) => (i > 1 ? { class: "n" } : {});
  const head = names.map((name, i) => make("th", { scope: "col", ...numeric(i) }, name));
  const body = rows.map((cells) =>
    make("tr", {}, ...cells.map((cell, i) => make("td", numeric(i), `${cell}`))),
  );
  const whole = make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...body),
  );
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": names.join(", ") },
    whole,
  );
}
