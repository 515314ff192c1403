// Whether the view has stopped changing although the player does something: a small copy of it now and then, compared with
// those of the last seconds. A generated picture never stands quite still, so a little change is none.

const WIDTH = 16, HEIGHT = 9;
const EVERY = 500, SECONDS = 4; // ms between two copies; how long without a change
// Of 255, the mean difference of two copies: the embedded world drifts by 7 to 9 where nobody moves, and walking makes 30 and more.
const LITTLE = 10;

export class Stillness {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = new OffscreenCanvas(WIDTH, HEIGHT).getContext("2d", { willReadFrequently: true });
    this.copies = [];
    this.at = 0;
  }

  // With every picture shown; `acts` says whether anything is done in it.
  see(acts, now = performance.now()) {
    if (!acts) this.copies = [];
    else if (now - this.at >= EVERY) {
      this.at = now;
      this.copies = [...this.copies, this.copy()].slice((-SECONDS * 1000) / EVERY - 1);
    }
  }

  get lasts() {
    const [first, ...later] = this.copies;
    return later.length >= (SECONDS * 1000) / EVERY && later.every((copy) => difference(first, copy) < LITTLE);
  }

  copy() {
    this.pen.drawImage(this.canvas, 0, 0, WIDTH, HEIGHT);
    return this.pen.getImageData(0, 0, WIDTH, HEIGHT).data;
  }
}

export function difference(one, other) {
  return one.reduce((sum, value, i) => sum + Math.abs(value - other[i]), 0) / (WIDTH * HEIGHT * 3);
}
