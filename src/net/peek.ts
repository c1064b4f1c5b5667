/**
 * Waits for the first bytes of a stream until they tell what has to be known. Nothing is consumed: what was read is put back.
 *
 * I1: a stream that has begun is waited for no longer than `silenceMs`, or a minute where that is not said.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';

export interface PeekOptions<T> {
  readonly clock: Clock;
  /** How long to wait in all; undefined: as long as the stream stays silent. */
  readonly silenceMs: number | undefined;
  /** Undefined: more bytes are needed. Must not throw. */
  readonly read: (bytes: Buffer) => T | undefined;
  /** Of a stream that stayed silent, took too long, or ended before anything could be told. */
  readonly otherwise: T;
}

const beginningTimeoutMs = 60_000;

/** Undefined: the stream broke. */
export function peek<T>(stream: Duplex, { clock, silenceMs, read, otherwise }: PeekOptions<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    let seen: Buffer = Buffer.alloc(0);
    const settle = (result: T | undefined) => {
      timer?.cancel();
      stream.off('readable', onReadable);
      stream.off('end', onEnd);
      stream.off('close', onClose);
      if (seen.length > 0 && !stream.destroyed) stream.unshift(seen);
      resolve(result);
    };
    const onReadable = () => {
      const chunk = stream.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const result = read(seen);
      if (result !== undefined) settle(result);
      else timer ??= deadline(beginningTimeoutMs);
    };
    // What ended before it could be told apart is passed on as it is.
    const onEnd = () => settle(stream.destroyed ? undefined : otherwise);
    const onClose = () => settle(undefined);
    const deadline = (afterMs: number) => clock.after(afterMs, () => settle(otherwise));
    let timer = silenceMs === undefined ? undefined : deadline(silenceMs);
    stream.on('readable', onReadable).on('end', onEnd).on('close', onClose);
  });
}
