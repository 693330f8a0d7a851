// Follows /v1/events. EventSource can't send an Authorization header, so fetch reads the stream.

import { Problem, request } from "./gateway.js";

const SILENCE_MS = 25_000; // the gateway speaks every 15 s
const SHORTEST_MS = 1_000;
const LONGEST_MS = 15_000;
const REPLAYED = 300;

/** Splits a stream of text into server-sent events. */
export class EventParser {
  #rest = "";

  push(text) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop();
    return blocks.map(parsed).filter((one) => one.data !== undefined);
  }
}

function parsed(block) {
  const found = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) found[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return found;
}

/** Reads until `stop` is called; comes again by itself and goes on where it was. */
export class Feed {
  #handlers;
  #lastId = "";
  #stopping = new AbortController();
  #hurry = () => {};

  /** Handlers: `told(kind, data)`, `linked()`, `lost(retryAtMs, why)`, `refused(problem)`. */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  async run() {
    let pause = SHORTEST_MS;
    while (!this.#stopping.signal.aborted) {
      const began = Date.now();
      let why = "";
      try {
        await this.#readOnce();
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        if (error instanceof Problem && (error.status === 401 || error.status === 403)) {
          this.#handlers.refused(error);
          return;
        }
        if (error instanceof Problem) why = error.message;
      }
      if (this.#stopping.signal.aborted) return;
      if (Date.now() - began > LONGEST_MS) pause = SHORTEST_MS;
      const wait = pause * (0.75 + Math.random() / 2);
      this.#handlers.lost(Date.now() + wait, why);
      await this.#sleep(wait);
      pause = Math.min(LONGEST_MS, pause * 1.7);
    }
  }

  stop() {
    this.#stopping.abort();
    this.#hurry();
  }

  /** Try again now. */
  hurry() {
    this.#hurry();
  }

  #sleep(ms) {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.#hurry = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  async #readOnce() {
    const silence = new AbortController();
    const signal = AbortSignal.any([this.#stopping.signal, silence.signal]);
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const headers = this.#lastId ? { "last-event-id": this.#lastId } : {};
      const path = this.#lastId ? "v1/events" : `v1/events?last=${REPLAYED}`;
      const response = await request(path, { headers, signal });
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      this.#handlers.linked();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        for (const one of parser.push(value)) this.#tell(one);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #tell(one) {
    if (one.id) this.#lastId = one.id;
    this.#handlers.told(one.event, JSON.parse(one.data));
  }
}
