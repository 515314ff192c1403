// From frames as they arrive to pictures at a steady rate, and what can be measured on the way. Frames say when they are due by the
// server's clock; they are shown as much later as the latest of them has lately needed to get here, and no more.
// The layout of a frame's header is in ../encode.py.

const HEADER = 40, FRAME = 1;
const BLOCKS_REMEMBERED = 12;
const SPARE = 6; // ms between a frame's arrival and its picture: decoding
const CATCH_UP = 0.5; // ms a picture by which the delay shrinks again
const SOON = 3; // ms: a picture that is due before the next one can be drawn is drawn now
const MOST_QUEUED = 48;
const GLOW_EVERY = 4; // pictures

export function parse(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength <= HEADER || view.getUint8(0) !== FRAME) return null;
  return {
    keys: view.getUint8(1),
    world: view.getUint16(2, true),
    number: view.getUint32(4, true),
    block: view.getUint32(8, true),
    pitch: view.getFloat32(12, true),
    yaw: view.getFloat32(16, true),
    madeIn: view.getFloat32(20, true),
    due: view.getFloat64(24, true),
    keyAt: view.getFloat64(32, true),
    jpeg: new Uint8Array(buffer, HEADER),
  };
}

export class Screen {
  constructor(canvas, glow, onFrame) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { alpha: false });
    this.glow = glow.getContext("2d", { alpha: false });
    this.onFrame = onFrame;
    this.shown = []; // when, over the last seconds
    this.latencies = []; // ms, of the latest keys
    this.frames = this.lost = 0;
    this.forget();
    const draw = (now) => { this.draw(now); requestAnimationFrame(draw); };
    requestAnimationFrame(draw);
  }

  // Another connection: its frames are no continuation of what is queued.
  forget() {
    this.queue = [];
    this.delays = new Map(); // block -> how late the latest of its frames was
    this.offset = null; // from the server's clock to when we show it, ms
    this.last = null;
  }

  async push(buffer) {
    const arrived = performance.now(), frame = parse(buffer);
    if (!frame) return;
    this.note(frame, arrived);
    frame.picture = await createImageBitmap(new Blob([frame.jpeg], { type: "image/jpeg" }));
    let at = this.queue.length;
    while (at && this.queue[at - 1].due > frame.due) at -= 1;
    this.queue.splice(at, 0, frame);
    if (this.queue.length > MOST_QUEUED) this.drop();
  }

  note(frame, arrived) {
    const { world, number } = frame, block = `${world}.${frame.block}`;
    if (this.last?.world === world) this.lost += Math.max(0, number - this.last.number - 1);
    this.last = { world, number };
    this.delays.set(block, Math.max(this.delays.get(block) ?? -Infinity, arrived - frame.due));
    if (this.delays.size > BLOCKS_REMEMBERED) this.delays.delete(this.delays.keys().next().value);
    const needed = Math.max(...this.delays.values()) + SPARE;
    this.offset = this.offset === null || needed > this.offset ? needed : Math.max(needed, this.offset - CATCH_UP);
  }

  drop() {
    this.queue.shift().picture.close();
    if (!document.hidden) this.lost += 1; // a page in the background draws nothing
  }

  draw(now) {
    const isDue = (frame) => frame && frame.due + this.offset <= now + SOON;
    while (isDue(this.queue[1])) this.drop();
    if (isDue(this.queue[0])) this.show(this.queue.shift());
  }

  show(frame) {
    const { picture } = frame, { canvas } = this, now = performance.now();
    if (canvas.width !== picture.width || canvas.height !== picture.height) Object.assign(canvas, { width: picture.width, height: picture.height });
    this.pen.drawImage(picture, 0, 0);
    if (this.frames % GLOW_EVERY === 0) this.light(picture);
    picture.close();
    this.frames += 1;
    this.shown = [...this.shown.filter((at) => now - at < 2000), now];
    if (frame.keyAt && frame.keyAt !== this.keyAt) this.latencies = [...this.latencies.slice(-500), now - frame.keyAt];
    this.keyAt = frame.keyAt || this.keyAt;
    this.onFrame(frame);
  }

  // The light around the picture changes slowly: a little of this one over what was there.
  light(picture) {
    const { glow } = this, { width, height } = glow.canvas;
    glow.globalAlpha = this.frames ? 0.3 : 1;
    glow.filter = "blur(3px)";
    glow.drawImage(picture, 0, 0, width, height);
  }

  get rate() {
    const { shown } = this;
    return shown.length > 1 && performance.now() - shown.at(-1) < 1500 ? (shown.length - 1) / ((shown.at(-1) - shown[0]) / 1000) : 0;
  }

  // Of the latest keys; undefined before the first.
  get latency() {
    return this.latencies.slice(-9).sort((a, b) => a - b)[Math.floor(Math.min(this.latencies.length, 9) / 2)];
  }
}
