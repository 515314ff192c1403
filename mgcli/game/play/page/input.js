// Fingers: keys, mouse, touch and gamepad become the letters that are held, in the order they were pressed, and how far to look.

const ARROWS = { ArrowUp: "up", ArrowDown: "down", ArrowLeft: "left", ArrowRight: "right" };
const CAMERA = { up: "I", down: "K", left: "J", right: "L" }, MOVES = { up: "W", down: "S", left: "A", right: "D" };
const DEAD = 0.28, DIAGONAL = 0.38; // of the stick's radius; how far off an axis counts as two keys
const TOUCH_LOOK = 2.5; // a thumb has less room than a mouse

export class Input {
  constructor({ canvas, stick, look, onKeys, onLook, onHold }) {
    Object.assign(this, { canvas, stick, onKeys, onLook, onHold });
    this.held = [];
    this.sources = {}; // what each of keys, stick and gamepad holds
    this.moved = [0, 0];
    this.letters = "";
    this.mouse = this.single = false;
    addEventListener("keydown", (event) => this.key(event, true));
    addEventListener("keyup", (event) => this.key(event, false));
    addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => document.hidden && this.release());
    this.watchMouse();
    this.watchStick();
    this.watchLook(look);
  }

  // What this world answers to.
  know({ keys, mouse, opposed }) {
    this.letters = keys.map((key) => key.letter).join("");
    this.mouse = mouse;
    this.single = opposed.some((group) => group.length > 4); // one action at a time
    this.arrows = this.letters.includes("I") ? CAMERA : MOVES;
  }

  key(event, down) {
    // what is let go is let go anywhere
    if (down && (event.target.closest("input, select, dialog") || event.ctrlKey || event.metaKey || event.altKey)) return;
    // where a key is and not what is on it, so that WASD is in the same place on every keyboard
    const letter = event.code in ARROWS ? this.arrows?.[ARROWS[event.code]] : event.code.replace(/^Key/, "");
    if (letter?.length !== 1 || !this.letters.includes(letter)) return;
    event.preventDefault();
    if (!event.repeat) this.press(letter, down, event.timeStamp);
  }

  press(letter, down, at) {
    const keys = this.sources.keys ?? [];
    if (keys.includes(letter) !== down) this.hold("keys", down ? [...keys, letter] : keys.filter((other) => other !== letter), at);
  }

  hold(source, letters, at = performance.now()) {
    this.sources[source] = letters;
    const all = new Set(Object.values(this.sources).flat());
    const held = [...new Set([...this.held.filter((letter) => all.has(letter)), ...all])];
    if (held.join() === this.held.join()) return;
    this.held = held;
    this.onKeys(held.join(""), at);
  }

  release() {
    this.sources = {};
    this.hold("keys", []);
  }

  watchMouse() {
    const locked = () => document.pointerLockElement === this.canvas;
    this.canvas.addEventListener("click", () => {
      this.canvas.focus();
      // where there is none (a phone) or the browser says no, nothing happens
      if (this.mouse) this.canvas.requestPointerLock?.()?.catch?.(() => {});
    });
    document.addEventListener("mousemove", (event) => locked() && this.move(event.movementX, event.movementY));
    document.addEventListener("pointerlockchange", () => this.onHold(locked()));
  }

  // Many small movements become one message a picture.
  move(right, down) {
    if (!this.moved[0] && !this.moved[1]) requestAnimationFrame(() => this.tellLook());
    this.moved = [this.moved[0] + right, this.moved[1] + down];
  }

  tellLook() {
    const [right, down] = this.moved;
    this.moved = [0, 0];
    if (right || down) this.onLook(right, down);
  }

  watchStick() {
    const { stick } = this, knob = stick.querySelector("i");
    const place = (x, y) => { knob.style.transform = `translate(${x * 100}%, ${y * 100}%)`; };
    const end = (event) => { place(0, 0); this.hold("stick", [], event.timeStamp); };
    const lean = (event) => {
      if (!stick.hasPointerCapture(event.pointerId)) return;
      const box = stick.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 2 - 1, y = ((event.clientY - box.top) / box.height) * 2 - 1;
      const reach = Math.max(1, Math.hypot(x, y));
      place(x / reach, y / reach);
      this.hold("stick", this.lettersOf(x, y), event.timeStamp);
    };
    stick.addEventListener("pointerdown", (event) => {
      if (event.target.closest("button")) return; // a key of its own, at the rim
      stick.setPointerCapture(event.pointerId);
      lean(event);
    });
    stick.addEventListener("pointermove", lean);
    stick.addEventListener("pointerup", end);
    stick.addEventListener("pointercancel", end);
  }

  // Of a stick that leans that way.
  lettersOf(x, y) {
    const length = Math.hypot(x, y);
    if (length < DEAD) return [];
    const threshold = this.single ? Math.max(Math.abs(x), Math.abs(y)) / length : DIAGONAL;
    const names = [];
    if (Math.abs(y) / length >= threshold) names.push(y < 0 ? "up" : "down");
    if (Math.abs(x) / length >= threshold) names.push(x < 0 ? "left" : "right");
    return this.known(names.map((name) => MOVES[name]));
  }

  known(letters) {
    return letters.filter((letter) => this.letters.includes(letter));
  }

  watchLook(area) {
    let last = null;
    area.addEventListener("pointerdown", (event) => { area.setPointerCapture(event.pointerId); last = event; });
    area.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.move((event.clientX - last.clientX) * TOUCH_LOOK, (event.clientY - last.clientY) * TOUCH_LOOK);
      last = event;
    });
    for (const name of ["pointerup", "pointercancel"]) area.addEventListener(name, () => { last = null; });
  }
}
