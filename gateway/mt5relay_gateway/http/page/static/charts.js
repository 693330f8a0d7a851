// The charts of one terminal: what they show, and what is said of a moment in them.

import { Chart, Cursor, Strip } from "./chart.js";
import { clockTime, latency, number } from "./format.js";
import { byId, make } from "./dom.js";
import { titleOf } from "./words.js";

const PARTS = 60; // of 15 s

export class Charts {
  constructor() {
    this.cursor = new Cursor();
    this.strip = new Strip(byId("strip"));
    const add = (options) => new Chart(byId("charts"), this.cursor, options);
    this.throughput = add({
      title: "Answers a second",
      kind: "bars",
      series: [
        { name: "answered", tone: "good" },
        { name: "errors", tone: "bad" },
      ],
      format: number,
      least: 1,
    });
    this.latency = add({
      title: "Latency",
      kind: "lines",
      scale: "log",
      series: [
        { name: "switch p95", tone: "second" },
        { name: "switch p50", tone: "first" },
        { name: "read p95", tone: "third" },
      ],
      format: latency,
      least: 1000,
    });
    this.queue = add({
      title: "Waiting",
      kind: "lines",
      series: [{ name: "requests", tone: "first" }],
      format: number,
      least: 4,
    });
    this.logins = add({
      title: "Logins a minute",
      kind: "bars",
      series: [
        { name: "made", tone: "first" },
        { name: "saved", tone: "good" },
      ],
      format: number,
      least: 1,
    });
    this.cursor.watch(() => this.#read());
  }

  show(samples, now) {
    this.states = samples.states(now);
    this.strip.show(now, this.states, describe);
    const bands = this.states.filter(({ state }) => state && state !== "CONNECTED");
    const answered = samples.rates("requests_total", now, PARTS);
    const errors = samples.rates("errors_total", now, PARTS);
    const good = answered.map((one, i) => ({ ...one, value: less(one.value, errors[i].value) }));
    this.#draw(this.throughput, now, [good, errors], bands);
    const levels = ["switch_p95_ms", "switch_p50_ms", "read_p95_ms"];
    this.#draw(
      this.latency,
      now,
      levels.map((field) => samples.levels(field)),
      bands,
    );
    this.#draw(this.queue, now, [samples.levels("queue_depth")], bands);
    const logins = ["logins", "logins_saved"].map((field) => samples.rates(field, now, PARTS));
    this.#draw(this.logins, now, logins.map(perMinute), bands);
  }

  #draw(chart, now, data, bands) {
    chart.data = data;
    chart.now = now;
    const said = chart.series.map(
      ({ name }, s) => `${name} ${chart.format(chart.valueAt(s, now))}`,
    );
    chart.show(now, data, bands, said.join(", "));
  }

  #read() {
    const { at } = this.cursor;
    if (at === null || !this.states) {
      byId("readout").replaceChildren();
      return;
    }
    const state = this.states.find(({ from, to }) => at >= from && at <= to)?.state;
    const values = [this.throughput, this.latency, this.queue, this.logins].flatMap((chart) =>
      chart.series.map(({ name }, s) => `${name} ${chart.format(chart.valueAt(s, at))}`),
    );
    // The legends show the values; who can't see them is told them.
    const spoken = make("span", { class: "unseen" }, `: ${values.join(", ")}`);
    byId("readout").replaceChildren(
      `${clockTime(at)} ${state ? titleOf(state) : "unknown"}`,
      spoken,
    );
  }
}

const less = (all, part) => (all === null ? null : Math.max(0, all - (part ?? 0)));
const perMinute = (parts) =>
  parts.map((one) => ({ ...one, value: one.value === null ? null : one.value * 60 }));
const describe = ({ from, to, state }) =>
  `${titleOf(state)} ${clockTime(from)} to ${clockTime(to)}`;
