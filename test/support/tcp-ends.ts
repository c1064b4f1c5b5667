/** TCP connections of which one side is a ByteEnd of either kind and the other a net.Socket, and a handler that writes down what it hears. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { type AmbitError, errorCode } from '../../src/base/errors.ts';
import type { ByteEnd, ByteEndHandler, TcpByteEnd } from '../../src/net/byte-end.ts';
import { DuplexEnd } from '../../src/net/duplex-end.ts';
import { adoptConnection, listen } from '../../src/net/listener.ts';
import { TcpEnd } from '../../src/net/tcp-end.ts';
import { within } from './eventually.ts';
import { onLoopback } from './relay-world.ts';

export interface Connected<E extends TcpByteEnd> {
  readonly end: E;
  readonly peer: Socket;
}

export type Adopt<E extends TcpByteEnd> = (fd: number) => E;

export const byHand =
  (clock: Clock = systemClock): Adopt<TcpEnd> =>
  (fd) =>
    new TcpEnd(fd, 'upstream', clock);

export const byNode =
  (clock: Clock = systemClock): Adopt<DuplexEnd> =>
  (fd) => {
    let end: DuplexEnd | undefined;
    adoptConnection(
      fd,
      (socket) => {
        end = new DuplexEnd(socket, 'upstream', clock);
      },
      (error) => {
        throw error;
      },
    );
    return end as DuplexEnd;
  };

/** A listener whose connections become ends; everything is cut with the test. */
export async function endsOf<E extends TcpByteEnd>(t: Test, adopt: Adopt<E>, ip = '127.0.0.1') {
  const waiting: ((end: E) => void)[] = [];
  const ends: E[] = [];
  const listening = await listen(
    { ...onLoopback, ip },
    {
      clock: systemClock,
      onSocket: () => {},
      onDescriptor: (fd) => {
        const end = adopt(fd);
        ends.push(end);
        waiting.shift()?.(end);
      },
    },
  );
  t.teardown(() => {
    listening.destroy();
    for (const end of ends) end.reset();
  });
  const accepted = () => new Promise<E>((resolve) => waiting.push(resolve));
  return {
    port: listening.address.port,
    accepted,
    /** One at a time, so that the two sides belong together. */
    async connected(): Promise<Connected<E>> {
      const next = accepted();
      const peer = connect({ host: ip, port: listening.address.port, allowHalfOpen: true });
      peer.on('error', () => {});
      t.teardown(() => peer.destroy());
      await within('connect', once(peer, 'connect'));
      return { end: await within('accept', next), peer };
    },
  };
}

/** What an end tells, in order. Bytes are copied, as they are lent. */
export class Heard implements ByteEndHandler {
  readonly calls: string[] = [];
  readonly chunks: Buffer[] = [];
  readonly errors: AmbitError[] = [];
  bytes = 0;
  /** What else is done in the call. */
  onData: (chunk: Uint8Array, lent: boolean) => void = () => {};
  onCall: (call: string) => void = () => {};

  /** Has the end told that there is nothing more? */
  get isOver(): boolean {
    return this.calls.some((call) => call === 'closed' || call.startsWith('broken'));
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  data(chunk: Uint8Array, lent: boolean): void {
    this.bytes += chunk.length;
    this.chunks.push(Buffer.from(chunk));
    this.onData(chunk, lent);
  }

  end(): void {
    this.#heard('end');
  }

  drain(): void {
    this.#heard('drain');
  }

  closed(): void {
    this.#heard('closed');
  }

  broken(error: AmbitError, whole: boolean): void {
    this.errors.push(error);
    this.#heard(`broken ${errorCode(error.cause)}${whole ? ', whole' : ''}`);
  }

  #heard(call: string): void {
    this.calls.push(call);
    this.onCall(call);
  }
}

export function hear(end: ByteEnd): Heard {
  const heard = new Heard();
  end.start(heard);
  return heard;
}

/** So many turns of the event loop: what the kernel has is told by then. */
export async function turns(count = 3): Promise<void> {
  for (let left = count; left > 0; left--) await new Promise((resolve) => setImmediate(resolve));
}
