// The page: what the session says becomes what is on it, and buttons become what is said to the session.

import { Input } from "./input.js";
import { Link, tab } from "./link.js";
import { Screen } from "./screen.js";

const $ = (id) => document.getElementById(id);
// Where the caps are, as on the keyboard: column, row
const PLACES = { W: [2, 1], A: [1, 2], S: [2, 2], D: [3, 2], Z: [1, 1], C: [3, 1] };
const FULL_TURN = 0.1, REACH = 28; // camera turn a frame, and how far the dot then leans
const HIGHEST_DICE = 10000;

let state = null, caps = {}, trouble = "connecting", downloaded = 0;

const screen = new Screen($("screen"), $("glow"), showReceived);
const link = new Link({ onOpen: opened, onState: learn, onFrame: (data) => screen.push(data), onLost: lost });
const input = new Input({
  canvas: $("screen"), stick: $("stick"), look: $("look"),
  onKeys: (keys, at) => { showPressed(keys); link.say({ type: "keys", keys, at }); },
  onLook: (right, down) => link.say({ type: "look", right: Math.round(right), down: Math.round(down) }),
  onHold: (held) => { document.body.classList.toggle("held", held); showHint(); },
});

// The session ---------------------------------------------------------------------------------------------------------

function opened() {
  trouble = "";
  screen.forget();
  link.say({ type: "keys", keys: input.held.join(""), at: performance.now() }); // what was held all the while
}

function lost(why) {
  trouble = why;
  showVeil();
}

function learn(news) {
  const first = !state;
  state = news;
  if (first) {
    learnWorld();
    downloaded = state.recordings.at(-1)?.number ?? 0; // what another page has recorded
  }
  $("seed").placeholder = state.seed;
  if (document.activeElement !== $("seed")) $("seed").value = state.seed;
  document.body.classList.toggle("watching", !state.leads);
  document.body.classList.toggle("paused", state.phase === "paused");
  document.body.classList.toggle("recording", state.recording !== null);
  $("pause").lastElementChild.textContent = state.phase === "paused" ? "Play" : "Pause";
  $("record").lastElementChild.textContent = state.recording === null ? "Record" : time(state.recording / state.frames_per_second);
  $("original").hidden = state.image !== "your image";
  for (const button of document.querySelectorAll("nav button, nav input")) button.disabled = !state.leads;
  showTapes();
  showVeil();
  showHint();
}

function learnWorld() {
  $("model").textContent = state.model;
  $("mode").textContent = state.mode;
  document.title = `${state.model} · mg play`;
  Object.assign($("screen"), { width: state.width, height: state.height });
  document.documentElement.style.setProperty("--shape", state.width / state.height);
  document.body.classList.toggle("mouse", state.mouse);
  input.know(state);
  for (const key of state.keys.filter((key) => key.letter in PLACES)) caps[key.letter] = cap(key);
  $("caps").replaceChildren(...Object.values(caps));
}

// What the model receives, and how it goes ----------------------------------------------------------------------------

function cap({ letter, does }) {
  const button = document.createElement("button");
  [button.style.gridColumn, button.style.gridRow] = PLACES[letter];
  button.textContent = letter;
  button.title = does;
  button.tabIndex = -1;
  const press = (down) => (event) => { event.preventDefault(); input.press(letter, down, event.timeStamp); };
  button.addEventListener("pointerdown", press(true));
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) button.addEventListener(name, press(false));
  return button;
}

function showPressed(keys) {
  for (const [letter, button] of Object.entries(caps)) button.classList.toggle("pressed", keys.includes(letter));
}

// With the frame on screen: keys that the model was given in it light up, and the camera leans.
function showReceived(frame) {
  const lit = (key, bit) => (frame.keys >> bit) & 1 || (key.turn && key.turn[0] * frame.pitch + key.turn[1] * frame.yaw > 0);
  state?.keys.forEach((key, bit) => caps[key.letter]?.classList.toggle("lit", Boolean(lit(key, bit))));
  const x = (frame.yaw / FULL_TURN) * REACH, y = (-frame.pitch / FULL_TURN) * REACH;
  $("lean").setAttribute("x2", x);
  $("lean").setAttribute("y2", y);
  $("dot").setAttribute("cx", x);
  $("dot").setAttribute("cy", y);
  $("pad").classList.toggle("lit", Boolean(frame.pitch || frame.yaw));
  if (screen.frames === 1 || frame.world !== showReceived.world) { showReceived.world = frame.world; showVeil(); }
}

setInterval(() => {
  $("rate").textContent = screen.rate ? screen.rate.toFixed(screen.rate < 9.95 ? 1 : 0) : "–";
  $("latency").textContent = screen.latency === undefined ? "–" : Math.round(screen.latency);
  $("lost").hidden = !screen.lost;
  $("lost").textContent = `${screen.lost} dropped`;
}, 500);

// Words over the picture ----------------------------------------------------------------------------------------------

const TROUBLES = {
  connecting: ["Connecting"],
  lost: ["Connection lost. Trying again; the world waits."],
  full: ["Too many pages watch this world."],
  replaced: ["This world is played in another tab now.", "Play here", () => location.reload()],
  ended: ["mg play has ended."],
};

function showVeil() {
  const [words, button, act] = TROUBLES[trouble] ?? situation();
  $("veil").hidden = !words;
  $("message").textContent = words ?? "";
  $("answer").hidden = !button;
  $("answer").textContent = button ?? "";
  $("answer").onclick = act ?? null;
}

function situation() {
  const waiting = state?.phase === "starting" || !screen.frames;
  if (!state || waiting) return ["A world begins"];
  if (state.phase === "ended") return ["mg play has ended."];
  if (state.phase === "paused" && state.leads) return ["Paused", "Play", pause];
  return [state.phase === "paused" ? "Paused" : null];
}

function showHint() {
  const watching = state && !state.leads, said = $("hint");
  said.replaceChildren();
  if (watching) {
    const button = document.createElement("button");
    button.textContent = "Take over";
    button.onclick = () => link.say({ type: "lead" });
    said.append(state.taken ? "You are watching" : "Nobody plays", button);
    button.title = state.taken ? "Another page plays this world" : "";
  } else if (state?.note) said.textContent = state.note;
  else if (state?.mouse && !document.body.classList.contains("held"))
    said.textContent = `Click the picture to ${state.keys.some((key) => key.letter === "I") ? "look around" : "steer"} with the mouse`;
  said.hidden = !said.hasChildNodes();
}

// Buttons -------------------------------------------------------------------------------------------------------------

function pause() {
  link.say({ type: "pause", on: state.phase !== "paused" });
}

$("pause").onclick = pause;
$("record").onclick = () => link.say({ type: "record", on: state.recording === null });
$("restart").onclick = () => link.say({ type: "restart", seed: null });
$("dice").onclick = () => link.say({ type: "restart", seed: Math.floor(Math.random() * HIGHEST_DICE) });
$("original").onclick = () => link.say({ type: "first_image" });
$("seeds").onsubmit = (event) => {
  event.preventDefault();
  if ($("seed").value) link.say({ type: "restart", seed: Number($("seed").value) });
  $("screen").focus();
};
$("image").onclick = () => $("file").click();
$("file").onchange = () => begin($("file").files[0]);
addEventListener("keydown", (event) => {
  if (event.code !== "Space" || event.repeat || event.target.matches("input, button") || !state?.leads) return;
  event.preventDefault();
  pause();
});
for (const button of document.querySelectorAll("nav button")) button.addEventListener("click", () => $("screen").focus());

addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  begin(event.dataTransfer.files[0]);
});

async function begin(image) {
  if (!image) return;
  const answer = await fetch(`/image?tab=${tab}`, { method: "POST", body: image });
  if (!answer.ok) say((await answer.text()).trim());
  $("file").value = "";
}

// Recordings ----------------------------------------------------------------------------------------------------------

function showTapes() {
  const newest = state.recordings.at(-1);
  if (!newest || newest.number === downloaded) return;
  downloaded = newest.number;
  if (!state.leads) return;
  for (const part of ["video", "script"]) anchor(newest, part).click();
  const close = element("button", "×"), title = element("b", newest.name);
  close.onclick = () => $("tapes").replaceChildren();
  close.setAttribute("aria-label", "Close");
  const how = element("p", `${newest.frames} frames. Make them again:`), command = element("code", newest.replay);
  $("tapes").replaceChildren(title, close, how, command, anchor(newest, "video", "Video"), anchor(newest, "script", "Actions"));
}

function anchor({ number }, part, words = "") {
  const made = element("a", words);
  made.href = `/recording/${number}/${part}`;
  made.download = "";
  return made;
}

// Small things --------------------------------------------------------------------------------------------------------

function say(words) {
  const close = element("button", "×");
  close.onclick = () => $("tapes").replaceChildren();
  $("tapes").replaceChildren(element("p", words), close);
}

function element(name, words) {
  const made = document.createElement(name);
  made.textContent = words;
  return made;
}

function time(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function touchIsHere() {
  $("thumbs").hidden = false;
  document.body.classList.add("touch");
}
if (matchMedia("(pointer: coarse)").matches) touchIsHere();
else addEventListener("touchstart", touchIsHere, { once: true, passive: true });

window.mgPlay = { screen, link, input, state: () => state }; // for the console, and for tests
