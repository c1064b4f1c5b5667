/**
 * What each peer address holds of a listener, so that no single one, with a certificate or without, can hold all of it.
 *
 * I1: an address is known only while it holds something, so the map is bounded by the listener's own limit.
 */
import type { SessionShare } from './seam.ts';

interface Held {
  connections: number;
  handshakes: number;
}

export class PeerShares {
  readonly #held = new Map<string, Held>();
  readonly #maxConnections: number;
  readonly #maxHandshakes: number;

  constructor(maxConnections: number, maxHandshakes: number) {
    this.#maxConnections = maxConnections;
    this.#maxHandshakes = maxHandshakes;
  }

  /** A connection whose handshake is ahead; undefined: its address has its share already. */
  enter(ip: string): SessionShare | undefined {
    const held = this.#held.get(ip) ?? { connections: 0, handshakes: 0 };
    if (held.connections >= this.#maxConnections || held.handshakes >= this.#maxHandshakes) return undefined;
    this.#held.set(ip, held);
    held.connections++;
    held.handshakes++;
    let shaking = true;
    const secured = () => {
      if (shaking) held.handshakes--;
      shaking = false;
    };
    const left = () => {
      secured();
      if (--held.connections === 0) this.#held.delete(ip);
    };
    return { secured, left };
  }
}
