// One chart over the last 15 minutes, as SVG: bars of rates, or lines of levels.

import { WINDOW_MS } from "./samples.js";
import { make, say } from "./dom.js";

const HEIGHT = 132;
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 8, 10, 20];
const STEP_MS = 15_000;
const GRID_MINUTES = [15, 10, 5];
const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Where all charts point to; null: nowhere. */
export class Cursor {
  at = null;
  #watchers = [];

  watch(watcher) {
    this.#watchers.push(watcher);
  }

  move(at) {
    this.at = at;
    for (const watcher of this.#watchers) watcher();
  }
}

/**
 * `series`: [{name, tone}], drawn in this order; bars are stacked. `scale`: "linear" or "log".
 * `format` spells a value, `least` is the least that the axis reaches up to.
 */
export class Chart {
  constructor(parent, cursor, { title, kind, series, format, least, scale = "linear" }) {
    Object.assign(this, { cursor, kind, series, format, least, scale });
    this.now = Date.now();
    this.title = make("span", { class: "chart-title" }, title);
    this.summary = make("span", { class: "unseen" });
    this.legend = make("span", { class: "legend" });
    this.values = series.map(({ name, tone }) => {
      const value = make("b");
      this.legend.append(make("span", { "data-tone": tone }, make("i"), `${name} `, value));
      return value;
    });
    this.svg = shape("svg", { height: HEIGHT, "aria-hidden": "true" });
    const caption = make("figcaption", {}, this.title, this.summary, this.legend);
    this.figure = make("figure", { tabindex: "0", "aria-describedby": "chart-help" });
    this.figure.append(caption, this.svg);
    parent.append(this.figure);
    this.#listen();
    new ResizeObserver(() => this.#redraw()).observe(this.figure);
  }

  #listen() {
    const point = (event) => {
      const box = this.svg.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      const isIn = share >= 0 && share <= 1;
      this.cursor.move(isIn ? this.now - WINDOW_MS * (1 - share) : null);
    };
    this.svg.addEventListener("pointermove", point);
    this.svg.addEventListener("pointerdown", point);
    this.svg.addEventListener("pointerleave", () => this.cursor.move(null));
    this.figure.addEventListener("blur", () => this.cursor.move(null));
    this.figure.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -STEP_MS, ArrowRight: STEP_MS }[event.key];
      if (event.key === "Escape") this.cursor.move(null);
      if (step === undefined) return;
      event.preventDefault();
      const moved = (this.cursor.at ?? this.now) + step;
      this.cursor.move(Math.min(this.now, Math.max(this.now - WINDOW_MS, moved)));
    });
    this.cursor.watch(() => this.#drawCursor());
  }

  /** `data`: for each series the result of `Samples.rates` or `.levels`. */
  show(now, data, bands, summary) {
    Object.assign(this, { now, data, bands });
    say(this.summary, `: ${summary}.`);
    this.#redraw();
  }

  #redraw() {
    const width = this.figure.clientWidth;
    if (!width || !this.data) return;
    this.width = width;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.top = niceAbove(Math.max(this.least, this.#highest()), this.scale);
    this.line = shape("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
    const drawn = this.kind === "bars" ? this.#bars() : this.#lines();
    this.svg.replaceChildren(...this.#bands(), ...this.#grid(), ...drawn, this.line);
    this.#drawCursor();
  }

  #highest() {
    if (this.kind === "bars") {
      const sums = this.data[0].map((_, i) =>
        this.data.reduce((n, one) => n + (one[i].value ?? 0), 0),
      );
      return Math.max(...sums);
    }
    const start = this.now - WINDOW_MS;
    return Math.max(0, ...this.data.flat().map(([at, value]) => (at >= start ? (value ?? 0) : 0)));
  }

  x(at) {
    const inner = this.width - LEFT - RIGHT;
    const share = 1 - (this.now - at) / WINDOW_MS;
    return LEFT + inner * Math.min(1, Math.max(0, share));
  }

  y(value) {
    const share =
      this.scale === "log"
        ? Math.log10(Math.max(1, value)) / Math.log10(this.top)
        : value / this.top;
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * Math.min(1, share);
  }

  #bands() {
    return this.bands.map(({ from, to, state }) =>
      shape("rect", {
        class: `band ${state}`,
        x: this.x(from),
        y: TOP,
        width: Math.max(1, this.x(to) - this.x(from)),
        height: HEIGHT - TOP - BOTTOM,
      }),
    );
  }

  #grid() {
    const found = [];
    for (const value of ticks(this.top, this.scale)) {
      const y = this.y(value);
      found.push(shape("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }));
      found.push(shape("text", { x: LEFT - 6, y: y + 4, class: "end" }, this.format(value)));
    }
    for (const minutes of GRID_MINUTES) {
      const anchor = minutes === 15 ? "start" : "middle";
      const x = this.x(this.now - minutes * 60_000);
      found.push(shape("text", { x, y: HEIGHT - 4, class: anchor }, `−${minutes} min`));
    }
    found.push(shape("text", { x: this.width - RIGHT, y: HEIGHT - 4, class: "end" }, "now"));
    return found;
  }

  #bars() {
    const below = this.data[0].map(() => 0);
    return this.series.flatMap(({ tone }, s) =>
      this.data[s].flatMap(({ from, to, value }, i) => {
        if (!value || to < this.now - WINDOW_MS) return [];
        const [left, right] = [this.x(from), this.x(to)];
        const bottom = this.y(below[i]);
        const top = this.y((below[i] += value));
        const width = Math.max(0.5, right - left - 1);
        const height = Math.max(0, bottom - top);
        return [shape("rect", { "data-tone": tone, class: "bar", x: left, y: top, width, height })];
      }),
    );
  }

  #lines() {
    return this.series.map(({ tone }, s) =>
      shape("path", { "data-tone": tone, class: "line", d: this.#path(this.data[s]) }),
    );
  }

  /** Steps: a level holds until another is known. */
  #path(points) {
    const start = this.now - WINDOW_MS;
    const parts = [];
    let isDown = false;
    for (const [i, [at, value]] of points.entries()) {
      const end = Math.min(points[i + 1]?.[0] ?? this.now, at + 20_000);
      if (value === null || end < start) {
        isDown = false;
        continue;
      }
      const y = this.y(value).toFixed(1);
      const isGap = i > 0 && at - points[i - 1][0] > 20_000;
      parts.push(`${isDown && !isGap ? "L" : "M"}${this.x(at).toFixed(1)} ${y}`);
      parts.push(`L${this.x(end).toFixed(1)} ${y}`);
      isDown = true;
    }
    return parts.join("");
  }

  #drawCursor() {
    if (!this.data || !this.line) return;
    const { at } = this.cursor;
    this.line.toggleAttribute("hidden", at === null);
    if (at !== null) {
      this.line.setAttribute("x1", this.x(at));
      this.line.setAttribute("x2", this.x(at));
    }
    this.series.forEach((_, s) =>
      say(this.values[s], this.format(this.valueAt(s, at ?? this.now))),
    );
  }

  valueAt(s, at) {
    const data = this.data[s];
    if (this.kind === "bars")
      return data.find(({ from, to }) => at > from && at <= to)?.value ?? null;
    const point = data.findLast(([time]) => time <= at);
    return point && at - point[0] <= 20_000 ? point[1] : null;
  }
}

function niceAbove(value, scale) {
  const power = 10 ** Math.floor(Math.log10(value));
  if (scale === "log") return power * (value > power ? 10 : 1);
  return (
    [1, 2, 4, 5, 10].map((one) => one * power).find((one) => one >= value * 1.0001) ?? 10 * power
  );
}

function ticks(top, scale) {
  if (scale === "linear") return [0, top / 2, top];
  const found = [];
  for (let value = 1; value <= top; value *= 10) found.push(value);
  return found.filter((_, i) => (found.length - 1 - i) % 2 === 0);
}

/** The strip of states above the charts. */
export class Strip {
  constructor(parent) {
    this.parent = parent;
    this.svg = shape("svg", { height: 14, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.svg.setAttribute("viewBox", `0 0 ${WINDOW_MS} 14`);
    this.text = make("p", { class: "unseen" });
    parent.append(this.svg, this.text);
  }

  show(now, states, describe) {
    const start = now - WINDOW_MS;
    const rects = states
      .filter(({ state }) => state)
      .map(({ from, to, state }) => {
        const rect = shape("rect", {
          class: `span ${state}`,
          x: from - start,
          y: 0,
          width: to - from,
          height: 14,
        });
        rect.append(shape("title", {}, describe({ from, to, state })));
        return rect;
      });
    this.svg.replaceChildren(...rects);
    say(
      this.text,
      states
        .filter(({ state }) => state)
        .map(describe)
        .join("; "),
    );
  }
}
