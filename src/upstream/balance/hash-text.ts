/**
 * The hash of consistent hashing: MurmurHash3 (x86, 32 bits) of the text's UTF-8 bytes. Not for tables that an attacker must not
 * fill: whoever chooses the text chooses the endpoint, and that is what hashing by a header means.
 */

export function hashText(text: string, seed = 0): number {
  let hash = seed | 0;
  const { length } = text;
  let block = 0;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return hashBytes(Buffer.from(text), seed);
    block |= code << ((i & 3) << 3);
    if ((i & 3) === 3) {
      hash = mixBlock(hash, block);
      block = 0;
    }
  }
  return finish(hash, block, length);
}

export function hashBytes(bytes: Uint8Array, seed = 0): number {
  let hash = seed | 0;
  let block = 0;
  for (let i = 0; i < bytes.length; i++) {
    block |= (bytes[i] as number) << ((i & 3) << 3);
    if ((i & 3) === 3) {
      hash = mixBlock(hash, block);
      block = 0;
    }
  }
  return finish(hash, block, bytes.length);
}

function mixBlock(hash: number, block: number): number {
  const mixed = hash ^ scramble(block);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function scramble(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

function finish(hash: number, block: number, length: number): number {
  return mixWord((length & 3) === 0 ? hash ^ length : hash ^ scramble(block) ^ length);
}

/** The last step of MurmurHash3: every bit of the word counts for every bit of the answer. */
export function mixWord(word: number): number {
  let hash = word;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
