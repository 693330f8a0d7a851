// What is known of one terminal.

import { Samples, sampleOf } from "./samples.js";
import { errorEntry, journalEntry } from "./list_views.js";

const MOST_ENTRIES = 200;

export class Terminal {
  samples = new Samples();
  health = undefined; // undefined: not told yet; null: no worker
  line = [];
  journal = []; // newest first
  overview = { accounts: [], enrolled: 0, dead: 0, letters: [] };
  breakerSince = null;

  constructor(id) {
    this.id = id;
  }

  tellHealth(nowMs, health) {
    const before = this.health;
    this.health = health;
    this.samples.add(sampleOf(nowMs, health));
    if (health?.last_error_at_ms && health.last_error_at_ms !== before?.last_error_at_ms) {
      this.#note(errorEntry(health));
    }
  }

  /** The gateway can no longer tell all that happened since this page last listened. */
  tellGap(atMs) {
    const text = "more happened meanwhile than is still kept";
    this.#note({ at: atMs, key: `gap|${atMs}`, title: "Gap", text, tone: "idle" });
  }

  /** A transition or a command; returns what a screen reader is told, if anything. */
  tellEvent(kind, event) {
    const entry = journalEntry(kind, event);
    if (kind === "state") this.samples.changed(event.at_ms, event.from, event.to);
    if (kind === "breaker") this.breakerSince = Math.max(this.breakerSince ?? 0, event.at_ms);
    return this.#note(entry) ? entry.said : undefined;
  }

  #note(entry) {
    if (this.journal.some((one) => one.key === entry.key)) return false;
    this.journal.unshift(entry); // of the same moment, what was told last stays first
    this.journal.sort((a, b) => b.at - a.at);
    this.journal.length = Math.min(this.journal.length, MOST_ENTRIES);
    return true;
  }
}
