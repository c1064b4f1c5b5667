/**
 * What really crossed an interface: an AF_PACKET socket in a namespace, decoded and kept within bounds. tcpdump is not used
 * because it does not run in a user namespace of one uid.
 *
 * I1: a packet sent before `startCapture` returned is never shown, one sent after is, unless `dropped` says otherwise.
 */
import { type Clock, systemClock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import { closeFd, interfaceName, openNamespace, packetSocket, receivePacket, type Watcher, watchFd } from './kernel.ts';
import type { LabNamespace } from './namespace.ts';
import { type DecodedPacket, decodePacket } from './packet.ts';

export interface CapturedPacket extends DecodedPacket {
  readonly interface: string;
  /** Seen from the namespace: `out` is what it sends. Loopback shows each packet both ways. */
  readonly direction: 'in' | 'out';
}

export interface CaptureOptions {
  /** `any` unless told. */
  readonly interface?: string;
  /** Keeps only packets it is true of. */
  readonly filter?: (packet: CapturedPacket) => boolean;
  /** 20 000 unless told; later ones are counted in `dropped`. */
  readonly maxPackets?: number;
  /** Bytes of each packet that are kept; 4096 unless told. */
  readonly maxBytes?: number;
  readonly clock?: Clock;
}

/** Packets read in one turn of the loop, so that a flood cannot hold it. */
const batchSize = 256;

export function startCapture(namespace: LabNamespace, options: CaptureOptions = {}): PacketCapture {
  return new PacketCapture(namespace, options);
}

interface Waiter {
  readonly matches: (packet: CapturedPacket) => boolean;
  readonly found: (packet: CapturedPacket) => void;
}

export class PacketCapture implements Disposable {
  /** Packets that came after the limit. The kernel may drop more, unseen, when nobody reads in time. */
  dropped = 0;
  readonly #packets: CapturedPacket[] = [];
  readonly #options: Required<Omit<CaptureOptions, 'interface'>>;
  readonly #names = new Map<number, string>();
  readonly #waiters = new Set<Waiter>();
  readonly #netnsFd: number;
  readonly #fd: number;
  readonly #watcher: Watcher;
  #closed = false;

  /** Use `startCapture`. */
  constructor(namespace: LabNamespace, options: CaptureOptions) {
    const { filter = () => true, maxPackets = 20_000, maxBytes = 4096, clock = systemClock } = options;
    this.#options = { filter, maxPackets, maxBytes, clock };
    this.#netnsFd = openNamespace(namespace.path);
    try {
      this.#fd = packetSocket(options.interface ?? 'any', this.#netnsFd);
    } catch (error) {
      closeFd(this.#netnsFd);
      throw error;
    }
    this.#watcher = watchFd(this.#fd, 'r', () => this.#read());
    this.#watcher.unref();
  }

  /** Oldest first. */
  get packets(): readonly CapturedPacket[] {
    return this.#packets;
  }

  /** The first packet, past or to come, that matches; rejects with `LAB_NO_PACKET` at the deadline. */
  waitFor(matches: (packet: CapturedPacket) => boolean, deadlineMs = 5000): Promise<CapturedPacket> {
    const past = this.#packets.find(matches);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        this.#waiters.delete(waiter);
        timer.cancel();
        this.#watcher.unref();
        finish();
      };
      const waiter: Waiter = { matches, found: (packet) => settle(() => resolve(packet)) };
      const timer = this.#options.clock.after(deadlineMs, () => {
        const message = `no such packet within ${deadlineMs} ms among ${this.#packets.length}`;
        settle(() => reject(new AmbitError(message, { code: 'LAB_NO_PACKET', origin: 'local' })));
      });
      this.#waiters.add(waiter);
      this.#watcher.ref();
    });
  }

  /** Whether any kept payload holds the text: for proofs that nothing crossed in clear. Only within one packet. */
  holds(text: string): boolean {
    return this.#packets.some((packet) => packet.payload.includes(text));
  }

  /** Reads what the kernel still has and ends the capture; the packets stay. Idempotent. */
  close(): void {
    if (this.#closed) return;
    while (!this.#closed && this.#read() > 0);
    this.#closed = true;
    this.#watcher.close();
    closeFd(this.#fd);
    closeFd(this.#netnsFd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #read(): number {
    for (let count = 0; count < batchSize; count++) {
      const raw = receivePacket(this.#fd, this.#options.maxBytes);
      if (raw === undefined) return count;
      const decoded = decodePacket(raw.protocol, raw.data);
      if (decoded === undefined) continue;
      const direction = raw.packetType === 'outgoing' ? 'out' : 'in';
      this.#keep({ ...decoded, interface: this.#nameOf(raw.interfaceIndex), direction });
    }
    return batchSize;
  }

  #keep(packet: CapturedPacket): void {
    if (!this.#options.filter(packet)) return;
    if (this.#packets.length >= this.#options.maxPackets) {
      this.dropped++;
      return;
    }
    this.#packets.push(packet);
    for (const waiter of this.#waiters) if (waiter.matches(packet)) waiter.found(packet);
  }

  #nameOf(index: number): string {
    const known = this.#names.get(index);
    if (known !== undefined) return known;
    let name = `#${index}`;
    try {
      name = interfaceName(index, this.#netnsFd);
    } catch {
      // ENODEV: the interface went away after the packet.
    }
    this.#names.set(index, name);
    return name;
  }
}
