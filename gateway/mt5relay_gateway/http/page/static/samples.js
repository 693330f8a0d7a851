// The figures of one terminal over the last 15 minutes. Pure.

export const WINDOW_MS = 900_000;
const SPACING_MS = 1_000;

/** Samples in the order of their time, and the transitions between states. */
export class Samples {
  #samples = [];
  #transitions = [];

  /** Add what the gateway remembers of the time in which this page did not look. */
  merge(others) {
    const all = [...others, ...this.#samples].sort((a, b) => a.at_ms - b.at_ms);
    this.#samples = all.filter((one, i) => one.at_ms !== all[i - 1]?.at_ms);
  }

  /** From this moment on nobody here knows the state, until something is told again. */
  lostSight(atMs) {
    this.changed(atMs, null, null);
  }

  add(sample) {
    const last = this.#samples.at(-1);
    const isSame = last && last.state === sample.state && last.breaker === sample.breaker;
    if (isSame && sample.at_ms - last.at_ms < SPACING_MS) return;
    if (last && sample.at_ms <= last.at_ms) return;
    this.#samples.push(sample);
    const oldest = sample.at_ms - WINDOW_MS - 30_000;
    while (this.#samples[0].at_ms < oldest) this.#samples.shift();
  }

  changed(atMs, from, to) {
    this.#transitions.push({ at: atMs, from, to });
    this.#transitions.sort((a, b) => a.at - b.at);
    if (this.#transitions.length > 500) this.#transitions.shift();
  }

  /** A figure as it was: points [at, value]; null where nobody knows. */
  levels(field) {
    return this.#samples.map((one) => [one.at_ms, one[field] ?? null]);
  }

  /** The last sample at or before a moment. */
  at(atMs) {
    return this.#samples.findLast((one) => one.at_ms <= atMs) ?? null;
  }

  /** How much a counter grew in each of `count` equal parts of the window, a second. */
  rates(field, nowMs, count) {
    const width = WINDOW_MS / count;
    // Parts of fixed places in time: bars would change their heights as they move, otherwise.
    const end = Math.ceil(nowMs / width) * width;
    const grown = Array.from({ length: count }, () => ({ sum: 0, ms: 0 }));
    for (let i = 1; i < this.#samples.length; i += 1) {
      const [a, b] = [this.#samples[i - 1], this.#samples[i]];
      if (!a.started_at_ms || a.started_at_ms !== b.started_at_ms) continue;
      spread(grown, a.at_ms - end + WINDOW_MS, b.at_ms - end + WINDOW_MS, b[field] - a[field]);
    }
    return grown.map(({ sum, ms }, i) => ({
      from: end - WINDOW_MS + i * width,
      to: end - WINDOW_MS + (i + 1) * width,
      value: ms > 0 ? sum / (Math.max(ms, Math.min(width, 5_000)) / 1000) : null,
    }));
  }

  /** What the state was: [{from, to, state}], "NO_WORKER" where none lived, null unknown. */
  states(nowMs) {
    const start = nowMs - WINDOW_MS;
    const points = this.#transitions.map(({ at, to }) => [at, to]);
    // Of its health, a state is as old as its heartbeat; sampled later, it could undo a change.
    for (const one of this.#samples) {
      points.push([one.state ? (one.heartbeat_at_ms ?? one.at_ms) : one.at_ms, stateOf(one)]);
    }
    points.sort((a, b) => a[0] - b[0]);
    const first = this.#transitions[0];
    // What a worker that has just begun was before is nobody's state.
    const isKnown = first && first.from !== "DISCONNECTED" && first.at <= points[0][0];
    const begin = (isKnown && first.from) || null;
    const found = [{ from: start, to: nowMs, state: begin }];
    for (const [at, state] of points) {
      const last = found.at(-1);
      if (state === last.state) continue;
      if (at <= start) {
        last.state = state;
        continue;
      }
      last.to = at;
      found.push({ from: at, to: nowMs, state });
    }
    return found.filter((one) => one.to > one.from);
  }
}

const stateOf = (sample) => sample.state ?? "NO_WORKER";

function spread(grown, from, to, amount) {
  const width = WINDOW_MS / grown.length;
  for (let i = Math.max(0, Math.floor(from / width)); i < grown.length && i * width < to; i += 1) {
    const ms = Math.min(to, (i + 1) * width) - Math.max(from, i * width);
    grown[i].sum += (amount * ms) / (to - from);
    grown[i].ms += ms;
  }
}

/** The sample that a health event carries. */
export function sampleOf(nowMs, health) {
  return { at_ms: nowMs, ...(health ?? {}) };
}
