// A gamepad: the left stick or the cross walks, the right stick looks, the shoulders turn where the mode has keys for that, and
// Start pauses. Browsers tell of one once a button has been pressed, and then it has to be asked with every picture.

const STILL = 0.15; // of a stick's way: nobody touches it
const FASTEST = 500; // pixels of mouse movement a second: what the models were trained to turn
const UP = 12, DOWN = 13, LEFT = 14, RIGHT = 15, START = 9;
const SHOULDERS = { 4: "Z", 5: "C" };

export class Gamepad {
  constructor({ input, onPause, onFound }) {
    Object.assign(this, { input, onPause, onFound, asking: false, started: false, at: 0 });
    addEventListener("gamepadconnected", () => {
      this.onFound();
      if (!this.asking) this.ask(performance.now());
    });
  }

  ask(now) {
    const pad = [...navigator.getGamepads()].find((pad) => pad?.mapping === "standard");
    this.asking = Boolean(pad);
    if (!pad) return this.input.hold("gamepad", []);
    this.read(pad, Math.min(now - this.at, 100) / 1000);
    this.at = now;
    requestAnimationFrame((now) => this.ask(now));
  }

  read({ axes, buttons }, seconds) {
    const pressed = (button) => Number(buttons[button]?.pressed ?? false);
    const x = pressed(RIGHT) - pressed(LEFT) || axes[0], y = pressed(DOWN) - pressed(UP) || axes[1];
    const turns = Object.entries(SHOULDERS).filter(([button]) => pressed(button)).map(([, letter]) => letter);
    this.input.hold("gamepad", [...this.input.lettersOf(x, y), ...this.input.known(turns)]);
    const look = (way) => (Math.abs(way) < STILL ? 0 : way * FASTEST * seconds);
    if (look(axes[2]) || look(axes[3])) this.input.move(look(axes[2]), look(axes[3]));
    if (pressed(START) && !this.started) this.onPause();
    this.started = Boolean(pressed(START));
  }
}
