// Small tools for the document; text is only ever set as text.

import { serverNow } from "./clock.js";
import { clockTime, relative } from "./format.js";

export const byId = (id) => document.getElementById(id);

/** make("td", {class: "n"}, "text", node) */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((one) => one !== null && one !== undefined));
  return node;
}

/** Set a text only where it differs, so that nothing is read out or drawn for nothing. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** An account, which may break after its @ and nowhere else. */
export function sayAccount(node, account) {
  if (node.textContent === account) return node;
  const at = account.indexOf("@") + 1;
  const parts = at ? [account.slice(0, at), make("wbr"), account.slice(at)] : [account];
  node.replaceChildren(...parts);
  return node;
}

/** A moment that goes on ageing; `form` as in `relative`. */
export function moment(atMs, form = "ago") {
  const node = make("time");
  setMoment(node, atMs, form);
  return node;
}

export function setMoment(node, atMs, form = node.dataset.form) {
  if (atMs === null || atMs === undefined) {
    delete node.dataset.at;
    say(node, "");
    return;
  }
  Object.assign(node.dataset, { at: atMs, form });
  node.dateTime = new Date(atMs).toISOString();
  node.title = new Date(atMs).toLocaleString("en-GB");
  age(node);
}

function age(node) {
  const { at, form } = node.dataset;
  say(node, form === "clock" ? clockTime(Number(at)) : relative(Number(at), serverNow(), form));
}

export function ageAll() {
  for (const node of document.querySelectorAll("time[data-at]")) age(node);
}

/** Show a list. Of each item: `key` tells it from others, what `makeNode` made of it is reused. */
export function fill(parent, items, key, makeNode) {
  const before = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  const focused = parent.contains(document.activeElement)
    ? document.activeElement.closest("[data-key]")?.dataset.key
    : undefined;
  const nodes = items.map((item, i) => {
    const name = `${key(item)}`;
    const node = before.get(name) ?? makeNode(item, i);
    before.delete(name);
    node.dataset.key = name;
    return node;
  });
  const isSame =
    nodes.length === parent.children.length && nodes.every((one, i) => parent.children[i] === one);
  if (isSame) return;
  parent.replaceChildren(...nodes);
  if (focused !== undefined) {
    nodes
      .find((one) => one.dataset.key === focused)
      ?.querySelector("button")
      ?.focus();
  }
}
