// The strip between picture and buttons: the latest recording, or what went wrong. It takes its own room and covers nothing.

import { $, element } from "./element.js";

let shown = 0; // the number of the latest recording that was told of

export function forgetTapes(recordings) {
  shown = recordings.at(-1)?.number ?? 0;
}

// Downloads a recording that is new, and says what it is; the name of it, if there is one.
export function showTapes(recordings, own) {
  const newest = recordings.at(-1);
  if (!newest || newest.number === shown) return "";
  shown = newest.number;
  if (!own) return "";
  for (const part of ["video", "script"]) anchor(newest, part).click();
  const { name, frames, replay, replay_frames: whole } = newest;
  const copy = element("button", { title: replay }, "Copy");
  copy.onclick = () => copyText(replay, copy);
  const from = whole === frames ? "" : ` from the start of the world, ${whole} frames`;
  strip(element("p", {}, element("b", {}, name), ` ${frames} frames. Replay${from}:`), element("code", { tabIndex: 0 }, replay), copy, anchor(newest, "video", "Video"), anchor(newest, "script", "Actions"));
  return `${name}, ${frames} frames`;
}

export function complain(words) {
  strip(element("p", {}, words));
}

function strip(...parts) {
  const close = element("button", { className: "close", "aria-label": "Close" }, "×");
  close.onclick = () => { $("tape").hidden = true; };
  $("tape").replaceChildren(...parts, close);
  $("tape").hidden = false;
}

function anchor({ number }, part, words = "") {
  return element("a", { href: `/recording/${number}/${part}`, download: "" }, words);
}

// The newer way to the clipboard is closed to pages that come without https.
export function copyText(text, button) {
  const give = (event) => { event.preventDefault(); event.clipboardData.setData("text/plain", text); };
  document.addEventListener("copy", give, { once: true });
  document.execCommand("copy");
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}
