// Cards over the page: which keys there are, images to start from, a link for another device.

import { $, element } from "./element.js";
import { qr } from "./qr.js";

const QUIET = 4; // modules of white around a QR code

export function openCard(id) {
  if (!$(id).open) $(id).showModal();
}

for (const card of document.querySelectorAll("dialog")) {
  card.querySelector(".close").onclick = () => card.close();
  card.addEventListener("click", (event) => event.target === card && card.close()); // beside it
}

// What a narrow page has no room for among its buttons.
for (const button of document.querySelectorAll("[data-for]")) button.onclick = () => { $("keys").close(); $(button.dataset.for).click(); };

// Keys ----------------------------------------------------------------------------------------------------------------

const ARROWS = { I: "↑", K: "↓", J: "←", L: "→" }, SAME_ARROWS = { W: "↑", S: "↓", A: "←", D: "→" };

// What the keys of this world do, and those of the page.
export function fillKeys({ keys, mouse }) {
  const camera = keys.some((key) => key.letter === "I"), arrows = camera ? ARROWS : SAME_ARROWS;
  const rows = keys.map(({ letter, does }) => [letter in arrows ? [letter, arrows[letter]] : [letter], does]);
  if (mouse) rows.push([["mouse"], `${camera ? "look" : "steer"}, after a click on the picture; Esc lets go`]);
  rows.push([["space"], "pause"], [["F"], "full screen"], [["?"], "this card"]);
  $("key-rows").replaceChildren(...rows.flatMap(([caps, does]) => [element("dt", {}, ...caps.map(cap)), element("dd", {}, does)]));
}

function cap(words) {
  return element("kbd", {}, words);
}

// Images --------------------------------------------------------------------------------------------------------------

// `gallery` is the session's; `choose` is told the number of one.
export function fillGallery(gallery, choose) {
  const news = JSON.stringify(gallery);
  if (news === fillGallery.shown) return;
  fillGallery.shown = news;
  $("images").replaceChildren($("file-tile"), ...gallery.map(({ number, name, own, current }) => {
    const picture = element("img", { src: `/image/${number}`, alt: "", loading: "lazy", draggable: false });
    const tile = element("button", { className: "tile", type: "button" }, picture, element("span", {}, own ? "yours" : name.replace(/\.\w+$/, "")));
    if (current) tile.setAttribute("aria-current", "true");
    tile.onclick = () => { choose(number); $("gallery").close(); };
    return tile;
  }));
}

// A link --------------------------------------------------------------------------------------------------------------

export function fillShare(link) {
  if (!link || $("link").textContent === link) return;
  const rows = qr(link), size = rows.length + 2 * QUIET;
  const dark = rows.flatMap((row, y) => row.map((is, x) => (is ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : "")));
  $("code").setAttribute("viewBox", `0 0 ${size} ${size}`);
  $("code").firstElementChild.setAttribute("d", dark.join(""));
  $("link").textContent = link;
}
