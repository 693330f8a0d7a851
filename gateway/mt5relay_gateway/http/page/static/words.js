// What states are called, what they mean, and how they look.

const STATES = {
  CONNECTED: ["good", "Connected"],
  RECONNECTING: ["warn", "Reconnecting"],
  DISCONNECTED: ["warn", "Disconnected"],
  ERROR: ["bad", "Error"],
  NO_WORKER: ["bad", "No worker"],
};
const DETAILS = {
  idle: "idle",
  switching: "changing the account",
  syncing: "waiting for the account's data",
  reading: "reading",
  wedged: "the terminal does not answer",
  algo_off: "Algo Trading is off",
};
const BREAKERS = { CLOSED: "good", HALF_OPEN: "warn", OPEN: "bad" };

export const titleOf = (state) => STATES[state]?.[1] ?? state;
export const toneOf = (state) => STATES[state]?.[0] ?? "idle";
export const detailOf = (detail) => DETAILS[detail] ?? detail.replaceAll("_", " ");
export const breakerTone = (breaker) => BREAKERS[breaker] ?? "idle";
export const breakerTitle = (breaker) =>
  ({ CLOSED: "closed", OPEN: "open", HALF_OPEN: "half-open" })[breaker] ?? breaker;
