// The socket: says what is in ../messages.py, hears states (JSON) and frames (the bytes of ../encode.py), and comes back
// after a lost connection. The name of this tab lets it take its own place again; it is gone with the page.

const SHORTEST_WAIT = 250, LONGEST_WAIT = 4000; // ms between two attempts
const REPLACED = 4001, FULL = 4002, SERVER_ENDED = 1012;

export const tab = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export class Link {
  constructor({ onOpen, onState, onFrame, onLost }) {
    Object.assign(this, { onOpen, onState, onFrame, onLost });
    this.wait = SHORTEST_WAIT;
    this.connect();
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/socket?tab=${tab}`);
    this.socket.binaryType = "arraybuffer";
    this.got = 0;
    this.socket.onopen = () => this.onOpen();
    this.socket.onmessage = ({ data }) => this.hear(data);
    this.socket.onclose = ({ code }) => this.lost(code);
  }

  hear(data) {
    this.wait = SHORTEST_WAIT;
    if (typeof data === "string") return this.onState(JSON.parse(data));
    this.got += 1;
    this.say({ type: "got", frames: this.got });
    this.onFrame(data);
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  lost(code) {
    const why = { [REPLACED]: "replaced", [FULL]: "full", [SERVER_ENDED]: "ended" }[code] ?? "lost";
    this.onLost(why);
    if (why === "ended" || why === "replaced") return;
    setTimeout(() => this.connect(), why === "full" ? LONGEST_WAIT : this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }
}
