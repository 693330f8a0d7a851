// Numbers and times as people read them. Pure.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const cents = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const UNKNOWN = "–";

/** 1234 -> "1,234", 3.14 -> "3.1"; what is not known is a dash. */
export function number(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return Math.abs(value) < 100 ? fine.format(value) : whole.format(value);
}

export function money(value, currency) {
  return value === null || value === undefined ? UNKNOWN : `${cents.format(value)} ${currency}`;
}

/** A short time in ms: "85 ms", "1.2 s", "3 min 4 s". */
export function latency(ms) {
  if (ms === null || ms === undefined) return UNKNOWN;
  if (ms < 1000) return `${whole.format(ms)} ms`;
  return ms < 60000 ? `${fine.format(ms / 1000)} s` : duration(ms);
}

/** A longer one in whole seconds: "4 s", "3 min 4 s", "2 h 5 min", "3 d 1 h". */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (days) return `${days} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

/** Of a moment as seen from now: "12 s ago", "for 12 s", "in 12 s". */
export function relative(atMs, nowMs, form) {
  if (form === "for") return `for ${duration(nowMs - atMs)}`;
  if (form === "by") return atMs > nowMs ? `in ${duration(atMs - nowMs + 999)}` : "any moment";
  return nowMs - atMs < 1000 ? "just now" : `${duration(nowMs - atMs)} ago`;
}

export function clockTime(atMs) {
  return new Date(atMs).toLocaleTimeString("en-GB");
}

export function counted(count, one, many) {
  return `${number(count)} ${count === 1 ? one : many}`;
}
