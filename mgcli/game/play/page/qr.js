// A QR code of a short text: its bytes, error correction M, versions 1 to 10 (213 bytes). Rows of booleans, true is dark.

const WORDS = [26, 44, 70, 100, 134, 172, 196, 242, 292, 346]; // of a version, data and correction
const CORRECTION = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26]; // words of that in each block
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5];
const ALIGNED = [[], [18], [22], [26], [30], [34], [22, 38], [24, 42], [26, 46], [28, 50]]; // beside 6
const FORMAT = 0b101010000010010; // level M, mask 0: any mask may be used, and a link is random enough for the first
const isMasked = (row, column) => (row + column) % 2 === 0;

export function qr(text) {
  const bytes = new TextEncoder().encode(text);
  const version = WORDS.findIndex((_, version) => bytes.length + (version < 9 ? 2 : 3) <= room(version)) + 1;
  if (!version) throw new RangeError(`${bytes.length} bytes are too long for this QR code`);
  const grid = new Grid(version);
  grid.fill(interleaved(dataWords(bytes, version), version));
  return grid.rows;
}

const room = (version) => WORDS[version] - BLOCKS[version] * CORRECTION[version];

// Mode "bytes", how many, the bytes, and padding to the end.
function dataWords(bytes, version) {
  const bits = [];
  const push = (value, count) => { while (count) bits.push((value >> --count) & 1); };
  push(4, 4);
  push(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) push(byte, 8);
  push(0, 4);
  const words = [];
  for (let at = 0; at < bits.length; at += 8) words.push(parseInt(bits.slice(at, at + 8).join("").padEnd(8, "0"), 2));
  for (let pad = 0xec; words.length < room(version - 1); pad ^= 0xec ^ 0x11) words.push(pad);
  return words.slice(0, room(version - 1));
}

// The first word of every block, the second of every block, ...; then the correction in the same way. Later blocks are longer by one.
function interleaved(words, version) {
  const count = BLOCKS[version - 1], short = Math.floor(words.length / count), blocks = [];
  for (let block = 0, at = 0; block < count; block += 1) {
    const length = short + (block >= count - (words.length % count));
    blocks.push(words.slice(at, (at += length)));
  }
  const corrections = blocks.map((block) => correction(block, CORRECTION[version - 1]));
  return [...across(blocks), ...across(corrections)];
}

function across(blocks) {
  const longest = Math.max(...blocks.map((block) => block.length));
  return Array.from({ length: longest }, (_, i) => blocks.map((block) => block[i])).flat().filter((word) => word !== undefined);
}

// Reed-Solomon over GF(256): the remainder of the block's polynomial by the product of (x - 2^i).
const POWERS = [1], LOGS = [];
for (let i = 0; i < 255; i += 1) {
  LOGS[POWERS[i]] = i;
  POWERS.push((POWERS[i] << 1) ^ (POWERS[i] & 0x80 ? 0x11d : 0));
}
const times = (a, b) => (a && b ? POWERS[(LOGS[a] + LOGS[b]) % 255] : 0);

function correction(block, count) {
  let divisor = [1];
  for (let i = 0; i < count; i += 1) divisor = [...divisor, 0].map((word, at) => word ^ times(divisor[at - 1] ?? 0, POWERS[i]));
  const rest = [...block, ...Array(count).fill(0)];
  block.forEach((_, at) => {
    const factor = rest[at];
    divisor.forEach((word, i) => { rest[at + i] ^= times(word, factor); });
  });
  return rest.slice(block.length);
}

class Grid {
  constructor(version) {
    this.size = 17 + 4 * version;
    this.rows = Array.from({ length: this.size }, () => Array(this.size).fill(null));
    const end = this.size - 7;
    for (const [row, column] of [[0, 0], [0, end], [end, 0]]) this.finder(row, column);
    const centres = version > 1 ? [6, ...ALIGNED[version - 1]] : [];
    for (const row of centres) for (const column of centres) this.alignment(row, column);
    for (let i = 8; i < end - 1; i += 1) this.rows[6][i] = this.rows[i][6] = i % 2 === 0;
    this.format();
    if (version > 6) this.version(version);
  }

  finder(top, left) {
    for (let row = -1; row < 8; row += 1) for (let column = -1; column < 8; column += 1) {
      const ring = Math.max(Math.abs(row - 3), Math.abs(column - 3));
      if (this.rows[top + row]?.[left + column] === null) this.rows[top + row][left + column] = ring !== 2 && ring !== 4;
    }
  }

  alignment(row, column) {
    if (this.rows[row][column] !== null) return; // a finder is there
    for (let y = -2; y < 3; y += 1) for (let x = -2; x < 3; x += 1) this.rows[row + y][column + x] = Math.max(Math.abs(x), Math.abs(y)) !== 1;
  }

  // Twice: around the first finder, and divided between the other two. The highest bit first.
  format() {
    const { rows, size } = this;
    for (let i = 0; i < 15; i += 1) {
      const dark = Boolean((FORMAT >> (14 - i)) & 1), near = i + (i > 5);
      if (i < 8) rows[8][i < 7 ? near : 8] = dark;
      else rows[i === 8 ? 7 : 14 - i][8] = dark;
      if (i < 7) rows[size - 1 - i][8] = dark;
      else rows[8][size - 15 + i] = dark;
    }
    rows[size - 8][8] = true;
  }

  version(version) {
    let rest = version << 12;
    for (let bit = 17; bit > 11; bit -= 1) if ((rest >> bit) & 1) rest ^= 0x1f25 << (bit - 12);
    const bits = (version << 12) | rest;
    for (let i = 0; i < 18; i += 1) {
      const row = Math.floor(i / 3), column = this.size - 11 + (i % 3);
      this.rows[row][column] = this.rows[column][row] = Boolean((bits >> i) & 1);
    }
  }

  // Two columns at a time from the right, up and down in turn; column 6 is not one of them.
  fill(words) {
    let at = 0;
    for (let right = this.size - 1, up = true; right > 0; right -= right === 8 ? 3 : 2, up = !up) {
      for (let i = 0; i < this.size; i += 1) for (const column of [right, right - 1]) {
        const row = up ? this.size - 1 - i : i;
        if (this.rows[row][column] !== null) continue;
        this.rows[row][column] = Boolean((words[at >> 3] >> (7 - (at & 7))) & 1) !== isMasked(row, column);
        at += 1;
      }
    }
  }
}
