// The page: what the session says becomes what is on it, and buttons become what is said to the session.

import { fillGallery, fillKeys, fillShare, openCard } from "./cards.js";
import { $, element } from "./element.js";
import { Gamepad } from "./gamepad.js";
import { Input } from "./input.js";
import { Link, tab } from "./link.js";
import { Screen } from "./screen.js";
import { Stillness } from "./still.js";
import { complain, copyText, forgetTapes, showTapes } from "./tapes.js";

// Where the caps are, as on the keyboard: column, row
const PLACES = { W: [2, 1], A: [1, 2], S: [2, 2], D: [3, 2], Z: [1, 1], C: [3, 1] };
const FULL_TURN = 0.1, REACH = 28; // camera turn a frame, and how far the dot then leans
const HIGHEST_DICE = 10000;

let state = null, caps = {}, trouble = "connecting", still = false;

const screen = new Screen($("screen"), $("glow"), showReceived);
const stillness = new Stillness($("screen"));
const link = new Link({ onOpen: opened, onState: learn, onFrame: (data) => screen.push(data), onLost: lost });
const input = new Input({
  canvas: $("screen"), stick: $("stick"), look: $("look"),
  onKeys: (keys, at) => { showPressed(keys); link.say({ type: "keys", keys, at }); },
  onLook: (right, down) => link.say({ type: "look", right: Math.round(right), down: Math.round(down) }),
  onHold: (held) => { document.body.classList.toggle("held", held); showHint(); },
});
const gamepad = new Gamepad({ input, onPause: pause, onFound: () => say("Gamepad found") });

// The session ---------------------------------------------------------------------------------------------------------

function opened() {
  trouble = "";
  screen.forget();
  link.say({ type: "keys", keys: input.held.join(""), at: performance.now() }); // what was held all the while
  link.say({ type: "quality", best: Number($("quality").value) });
}

function lost(why) {
  trouble = why;
  showVeil();
}

function learn(news) {
  const before = state;
  state = news;
  if (!before) {
    learnWorld();
    forgetTapes(state.recordings); // another page's
  }
  $("seed").placeholder = state.seed;
  if (document.activeElement !== $("seed")) $("seed").value = state.seed;
  const paused = state.phase === "paused", recording = state.recording !== null;
  for (const [name, is] of Object.entries({ watching: !state.leads, paused, recording })) document.body.classList.toggle(name, is);
  $("pause").querySelector("span").textContent = $("pause").ariaLabel = paused ? "Play" : "Pause";
  $("record").querySelector("span").textContent = recording ? time(state.recording / state.frames_per_second) : "Record";
  $("record").ariaLabel = recording ? "Stop recording" : "Record";
  fillGallery(state.gallery, (number) => link.say({ type: "image", number }));
  for (const button of document.querySelectorAll("nav :is(button:not(.plain), input), #images button")) button.disabled = !state.leads;
  $("invite").hidden = document.querySelector("[data-for=invite]").hidden = !state.link;
  fillShare(state.link);
  const saved = showTapes(state.recordings, state.leads);
  tellOf(before, saved);
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
  fillKeys(state);
  for (const key of state.keys.filter((key) => key.letter in PLACES)) caps[key.letter] = cap(key);
  $("caps").replaceChildren(...Object.values(caps));
}

// For those who do not see it: what has changed since the state before.
function tellOf(before, saved) {
  const { phase, seed, image, leads, note } = state, is = { playing: "Playing", paused: "Paused", ended: "Ended" };
  if (saved) say(`Recorded ${saved}`);
  else if (note && note !== before?.note) say(note);
  else if (state.recording !== null && (before?.recording ?? null) === null) say("Recording");
  else if (before && leads !== before.leads) say(leads ? "You play" : "You watch");
  else if (phase !== before?.phase) say(phase === "starting" ? `A world begins: ${image}, seed ${seed}` : is[phase]);
}

function say(words) {
  $("said").textContent = words;
}

// What the model receives, and how it goes ----------------------------------------------------------------------------

function cap({ letter, does }) {
  const button = element("button", { className: `cap-${letter}`, title: does, tabIndex: -1, "aria-label": `${letter}, ${does}` }, letter);
  [button.style.gridColumn, button.style.gridRow] = PLACES[letter];
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
  stillness.see(Boolean(frame.keys || frame.pitch || frame.yaw));
  if (still !== stillness.lasts) { still = !still; showHint(); }
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
  if (trouble && $("message").textContent !== words) say(words);
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
  const [words, button, act] = hint(), said = $("hint");
  if (said.dataset.words === words) return;
  if (still && words) say(words);
  said.dataset.words = words;
  said.hidden = !words;
  said.replaceChildren(words, ...(button ? [element("button", { onclick: act }, button)] : []));
}

function hint() {
  const touch = document.body.classList.contains("touch"), held = document.body.classList.contains("held");
  if (state && !state.leads) return [state.taken ? "You are watching" : "Nobody plays", "Take over", () => link.say({ type: "lead" })];
  if (state?.note) return [state.note];
  if (still) return ["The view stands still: turn, or", "Restart", restart];
  if (state?.mouse && !held && !touch) return [`Click the picture to ${input.arrows.up === "I" ? "look around" : "steer"} with the mouse`];
  return [""];
}

// Buttons -------------------------------------------------------------------------------------------------------------

function pause() {
  if (state?.leads) link.say({ type: "pause", on: state.phase !== "paused" });
}

function restart() {
  link.say({ type: "restart", seed: null });
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.()?.catch?.(() => {}); // the browser may say no
}

$("pause").onclick = pause;
$("restart").onclick = restart;
$("full").onclick = fullScreen;
$("full").hidden = document.querySelector("[data-for=full]").hidden = !document.fullscreenEnabled;
$("help").onclick = () => openCard("keys");
$("image").onclick = () => openCard("gallery");
$("invite").onclick = () => openCard("share");
$("copy-link").onclick = () => copyText($("link").textContent, $("copy-link"));
$("quality").onchange = () => link.say({ type: "quality", best: Number($("quality").value) });
$("record").onclick = () => link.say({ type: "record", on: state.recording === null });
$("dice").onclick = () => link.say({ type: "restart", seed: Math.floor(Math.random() * HIGHEST_DICE) });
$("seeds").onsubmit = (event) => {
  event.preventDefault();
  if ($("seed").value) link.say({ type: "restart", seed: Number($("seed").value) });
  $("screen").focus();
};
$("whole").onclick = () => $("whole").setAttribute("aria-pressed", document.body.classList.toggle("whole"));
$("file-tile").onclick = () => $("file").click();
$("file").onchange = () => begin($("file").files[0]);

const SHORTCUTS = { " ": pause, f: fullScreen, "?": () => openCard("keys") };
addEventListener("keydown", (event) => {
  const act = SHORTCUTS[event.key.toLowerCase()];
  if (!act || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, dialog")) return;
  if (event.key === " " && event.target.closest("button, a")) return; // that is pressed instead
  event.preventDefault();
  act();
});
for (const button of document.querySelectorAll("nav button:not(.plain, #image)")) button.addEventListener("click", () => $("screen").focus());

addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  begin(event.dataTransfer.files[0]);
});

async function begin(image) {
  $("gallery").close();
  if (!image) return;
  const answer = await fetch(`/image?tab=${tab}`, { method: "POST", body: image });
  if (!answer.ok) complain((await answer.text()).trim());
  $("file").value = "";
}

function time(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

// Caps and camera become the pads of two thumbs.
function touchIsHere() {
  document.body.classList.add("touch");
  $("thumbs").hidden = false;
  $("stick").append($("caps"));
  $("look").append($("pad"));
}
if (matchMedia("(pointer: coarse)").matches) touchIsHere();
else addEventListener("touchstart", touchIsHere, { once: true, passive: true });

window.mgPlay = { screen, link, input, gamepad, stillness, state: () => state }; // for the console, and for tests
