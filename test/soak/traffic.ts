/**
 * The soak's load: lanes of echo exchanges over every kind of path, on fresh connections, kept ones, and with more bytes than
 * any window holds. Every byte must come back, and every connection end by FIN: all else is a failure, by kind.
 */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { within } from '../support/eventually.ts';

export interface LaneSpec {
  readonly name: string;
  readonly connect: () => Promise<Socket>;
  readonly count: number;
  readonly bytes: number;
  /** Between two exchanges. */
  readonly pauseMs: number;
  /** One connection for all of them. */
  readonly kept?: boolean;
}

export interface LaneResult {
  exchanges: number;
  readonly failures: Map<string, number>;
}

const exchangeDeadlineMs = 15_000;

export class Traffic {
  readonly results = new Map<string, LaneResult>();
  readonly #lanes: readonly Promise<void>[];
  #stopping = false;

  constructor(specs: readonly LaneSpec[]) {
    this.#lanes = specs.flatMap((spec) => {
      const result: LaneResult = { exchanges: 0, failures: new Map() };
      this.results.set(spec.name, result);
      return Array.from({ length: spec.count }, () => this.#run(spec, result));
    });
  }

  get exchanges(): number {
    return [...this.results.values()].reduce((sum, { exchanges }) => sum + exchanges, 0);
  }

  get failures(): number {
    return [...this.results.values()].reduce((sum, { failures }) => sum + total(failures), 0);
  }

  /** Lets each lane finish its exchange. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#lanes);
  }

  async #run(spec: LaneSpec, result: LaneResult): Promise<void> {
    const payload = randomBytes(spec.bytes);
    let kept: Socket | undefined;
    while (!this.#stopping) {
      try {
        const socket = kept ?? (await spec.connect());
        if (spec.kept === true) kept = socket;
        await within('the echo', echo(socket, payload), exchangeDeadlineMs);
        if (kept === undefined) await within('its end', finish(socket), exchangeDeadlineMs);
        result.exchanges++;
      } catch (error) {
        const kind = error instanceof Error ? error.message : String(error);
        result.failures.set(kind, (result.failures.get(kind) ?? 0) + 1);
        kept?.destroy();
        kept = undefined;
      }
      await delay(spec.pauseMs);
    }
    if (kept !== undefined) await finish(kept).catch(() => {});
  }
}

export function total(failures: ReadonlyMap<string, number>): number {
  return [...failures.values()].reduce((sum, each) => sum + each, 0);
}

/** Sends the payload and reads as much; rejects unless it is the same. */
function echo(socket: Socket, payload: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (problem: string | undefined) => {
      socket.off('data', onData).off('close', onClose).off('end', onEnd);
      if (problem === undefined) return resolve();
      socket.destroy();
      reject(new Error(problem));
    };
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= payload.length) settle(Buffer.concat(chunks).equals(payload) ? undefined : 'other bytes came back');
    };
    const onEnd = () => settle('ended before its echo');
    const onClose = () => settle('reset before its echo');
    socket.on('data', onData).on('close', onClose).on('end', onEnd);
    socket.write(payload);
  });
}

function finish(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('end', resolve);
    socket.once('close', () => reject(new Error('reset instead of its end')));
    socket.resume().end();
  }).then(() => void socket.destroy());
}
