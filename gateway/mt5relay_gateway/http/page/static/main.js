// Puts the parts together: news come in, what they change is drawn once a frame.

import { Charts } from "./charts.js";
import { learnServerTime, serverNow } from "./clock.js";
import { ageAll, byId, fill, make, say } from "./dom.js";
import { Feed } from "./feed.js";
import { getJson } from "./gateway.js";
import { showFreshness, showJournal, showLetters, showQueue } from "./list_views.js";
import { Search } from "./search_view.js";
import { showState, showTiles, showUnknown } from "./state_view.js";
import { Terminal } from "./terminal.js";
import { forgetToken, keepToken, keptToken } from "./token.js";

const OVERVIEW_MS = 4_000;
const ANNOUNCED_MS = 10_000; // older events are history, and not read out

const terminals = new Map();
let chosen = null;
let feed = null;
let retryAtMs = null;
let isDue = false;
let overviewAtMs = 0;
let isBlind = false; // nothing is told at the moment

const charts = new Charts();
const search = new Search();

function terminalOf(id) {
  if (!terminals.has(id)) {
    terminals.set(id, new Terminal(id));
    chosen ??= id;
    showPicker();
  }
  return terminals.get(id);
}

// ---- news

function told(kind, data) {
  if (kind === "problem") {
    loseSight(`The gateway can't see how things are: ${data.detail ?? data.title ?? data.code}`);
    return;
  }
  const terminal = terminalOf(data.terminal);
  if (kind === "health") {
    learnServerTime(data.now_ms);
    terminal.tellHealth(data.now_ms, data.health);
    isBlind = false;
    notice("");
    refreshOverview();
  } else if (kind === "queue") {
    terminal.line = data.line;
  } else if (kind === "gap") {
    terminal.tellGap(serverNow());
  } else {
    const said = terminal.tellEvent(kind, data);
    if (said && serverNow() - data.at_ms < ANNOUNCED_MS) announce(said, terminal);
  }
  draw();
}

function announce(text, terminal) {
  say(byId("announce"), terminals.size > 1 ? `${terminal.id}: ${text}` : text);
}

function linked() {
  retryAtMs = null;
  if (byId("link").dataset.tone === "bad") say(byId("announce"), "The link to the gateway is back");
  setLink("good", "live");
  byId("gate").hidden = true;
  byId("status").hidden = false;
  byId("search").hidden = false;
  byId("forget").hidden = keptToken() === null;
  loadHistory();
  refreshOverview(true);
}

function loseSight(why) {
  if (!isBlind) for (const one of terminals.values()) one.samples.lostSight(serverNow());
  isBlind = true;
  notice(why);
  draw();
}

function lost(atMs, why) {
  retryAtMs = atMs;
  loseSight(why);
  if (byId("link").dataset.tone !== "bad") say(byId("announce"), "The link to the gateway is lost");
  setLink("bad", "link lost");
}

function setLink(tone, text) {
  byId("link").dataset.tone = tone;
  say(byId("link"), text);
}

function refused(problem) {
  feed = null;
  askForToken(problem.status === 401 ? "This token is not known." : problem.message);
}

// ---- what is fetched

async function loadHistory() {
  const kept = await getJson("page/history").catch(() => ({}));
  for (const [id, samples] of Object.entries(kept)) terminalOf(id).samples.merge(samples);
  draw();
}

async function refreshOverview(isUrgent = false) {
  if (!isUrgent && Date.now() - overviewAtMs < OVERVIEW_MS) return;
  overviewAtMs = Date.now();
  const overview = await getJson("page/overview").catch(() => null);
  if (overview === null) return;
  for (const one of overview.terminals) terminalOf(one.terminal).overview = one;
  const masked = overview.sees_all ? "" : ", which does not see every login";
  say(byId("who"), keptToken() ? `Token ${overview.token}${masked}.` : "");
  draw();
}

// ---- what is shown

function draw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    drawNow();
  });
}

function drawNow() {
  byId("status").classList.toggle("stale", isBlind);
  const terminal = terminals.get(chosen);
  if (!terminal || terminal.health === undefined) return;
  if (isBlind) showUnknown(terminal.health);
  else showState(terminal.health, terminal.breakerSince);
  showTiles(terminal.health, terminal.samples);
  charts.show(terminal.samples, serverNow());
  showQueue(terminal.line);
  showJournal(terminal.journal);
  const canSearch = (account) => !account.startsWith("***");
  showFreshness(terminal.overview, canSearch, (account) => search.find(account));
  showLetters(terminal.overview);
  search.learn([...terminals.values()].flatMap((one) => one.overview.accounts));
}

function showPicker() {
  const picker = byId("terminals");
  picker.hidden = terminals.size < 2;
  const items = [...terminals.keys()].sort();
  const legend = picker.firstElementChild;
  const list = picker.querySelector("div") ?? picker.appendChild(make("div"));
  fill(
    list,
    items,
    (id) => id,
    (id) => {
      const input = make("input", { type: "radio", name: "terminal", value: id });
      input.checked = id === chosen;
      input.addEventListener("change", () => {
        chosen = id;
        draw();
      });
      return make("label", {}, input, make("span", {}, id));
    },
  );
  picker.prepend(legend);
}

function notice(text) {
  byId("notice").hidden = !text;
  say(byId("notice"), text);
}

function tick() {
  ageAll();
  if (retryAtMs !== null) {
    const seconds = Math.max(0, Math.ceil((retryAtMs - Date.now()) / 1000));
    say(byId("link"), seconds ? `link lost, again in ${seconds} s` : "link lost, trying …");
  }
  if (byId("link").dataset.tone === "good" && !document.hidden) draw();
}

// ---- the token

function askForToken(error = "") {
  setLink("idle", "not connected");
  byId("status").hidden = true;
  byId("search").hidden = true;
  byId("gate").hidden = false;
  byId("forget").hidden = true;
  say(byId("gate-error"), error);
  byId("token").focus();
}

function follow() {
  setLink("idle", "connecting …");
  feed = new Feed({ told, linked, lost, refused });
  feed.run();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(byId("token").value.trim());
  byId("token").value = "";
  follow();
});
byId("forget").addEventListener("click", () => {
  forgetToken();
  feed?.stop();
  location.reload();
});
window.addEventListener("online", () => feed?.hurry());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) feed?.hurry();
});

setInterval(tick, 1000);
const isTokenNeeded = document.documentElement.dataset.auth !== "off";
if (isTokenNeeded && keptToken() === null) askForToken();
else follow();
