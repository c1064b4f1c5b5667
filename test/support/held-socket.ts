/** What a session takes for its TLS socket: the test says what comes, and when what was written is taken. */
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { FrameReader, type ReadFrame } from './http2-frames.ts';

export class HeldSocket extends Duplex {
  /** Views of what is held, copies of what was taken at once. */
  readonly writes: Uint8Array[] = [];
  readonly #taken: ((error?: Error | null) => void)[] = [];
  /** False: whatever is written is taken at once. */
  holds = true;

  constructor() {
    super({ allowHalfOpen: false });
    this.on('error', () => {});
  }

  get asTls(): TLSSocket {
    return this as unknown as TLSSocket;
  }

  /** Bytes of the peer, in one read. */
  comes(...bytes: readonly Uint8Array[]): void {
    this.push(Buffer.concat(bytes));
  }

  /** What was written until now; `heldBytes`: of a frame that is not whole. */
  frames(): { readonly frames: readonly ReadFrame[]; readonly heldBytes: number } {
    const reader = new FrameReader();
    const frames = this.writes.flatMap((bytes) => reader.read(Buffer.from(bytes)));
    return { frames, heldBytes: reader.held };
  }

  /** The write under way has ended. */
  letGo(error?: Error): void {
    this.#taken.shift()?.(error);
  }

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, taken: (error?: Error | null) => void): void {
    this.writes.push(this.holds ? chunk : Buffer.from(chunk));
    if (this.holds) this.#taken.push(taken);
    else taken();
  }
}
