/**
 * Queries that come over TCP (RFC 7766): several may be under way on a connection, answers come as they are ready.
 *
 * I1: a connection on which no whole query comes in time is closed, once what it has asked is answered.
 * I2: a client that does not read its answers, or asks more than may be under way, is not read from.
 */
import type { Socket } from 'node:net';
import type { SocketAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { listen } from '../net/listener.ts';
import type { ListenSpec } from '../net/socket-spec.ts';
import type { DnsLimits } from './budget.ts';
import { framed, MessageFrames } from './frames.ts';
import { longestQuery, type Reply, type Responder } from './responder.ts';

/** From the last query to the next, and as long for the client to take its answers. */
const readTimeoutMs = 5000;
const mostUnsentBytes = 256 * 1024;
/** Queries begun in one turn of the loop: a chunk may hold thousands. */
const perTurn = 64;

export interface RunningTcpServer {
  readonly address: SocketAddress;
  /** Stops accepting; connections end once what was asked is answered. */
  close(): void;
  destroy(): void;
}

/** Rejects with an AmbitError when it cannot listen. */
export async function startTcpServer(
  spec: ListenSpec,
  responder: Responder,
  limits: DnsLimits,
  clock: Clock,
): Promise<RunningTcpServer> {
  const connections = new Set<Connection>();
  const listening = await listen(spec, {
    clock,
    onSocket(socket) {
      if (connections.size >= limits.connections) {
        socket.destroy();
        return;
      }
      const connection = new Connection(socket, responder, limits, clock);
      connections.add(connection);
      socket.once('close', () => connections.delete(connection));
    },
  });
  return {
    address: listening.address,
    close() {
      // What the kernel has accepted still comes, and may ask once.
      void listening.close();
      for (const connection of connections) connection.finish();
    },
    destroy() {
      listening.destroy();
      for (const connection of connections) connection.destroy();
    },
  };
}

class Connection {
  readonly #socket: Socket;
  readonly #responder: Responder;
  readonly #limits: DnsLimits;
  readonly #clock: Clock;
  readonly #frames = new MessageFrames(longestQuery);
  /** Read, but not begun: the rest of a chunk when enough is under way. */
  readonly #queue: Buffer[] = [];
  #underWay = 0;
  #finishing = false;
  #goesOn = false;
  #timer: Timer;

  constructor(socket: Socket, responder: Responder, limits: DnsLimits, clock: Clock) {
    this.#socket = socket;
    this.#responder = responder;
    this.#limits = limits;
    this.#clock = clock;
    this.#timer = this.#arm();
    socket.on('close', () => this.#timer.cancel());
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('end', () => this.finish());
    socket.on('drain', () => this.#flow());
  }

  /** No further query is begun. */
  finish(): void {
    this.#finishing = true;
    this.#flow();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#finishing) return;
    const whole = this.#frames.push(chunk, (message) => {
      this.#queue.push(message);
      this.#rearm();
    });
    if (!whole) {
      this.destroy();
      return;
    }
    this.#flow();
  }

  /** Begins what may be begun, reads on when there is room, ends when all is done. */
  #flow(): void {
    const socket = this.#socket;
    socket.cork();
    for (let begun = 0; begun < perTurn && this.#mayBegin(); begun++) {
      const message = this.#queue.shift();
      if (message === undefined) break;
      this.#begin(message);
    }
    socket.uncork();
    if (socket.destroyed) return;
    if (this.#queue.length > 0 && this.#mayBegin()) this.#goOn();
    if (this.#finishing && this.#underWay === 0 && this.#queue.length === 0) socket.end();
    else if (this.#queue.length > 0 || !this.#mayBegin()) socket.pause();
    else socket.resume();
  }

  #goOn(): void {
    if (this.#goesOn) return;
    this.#goesOn = true;
    setImmediate(() => {
      this.#goesOn = false;
      this.#flow();
    });
  }

  #mayBegin(): boolean {
    return (
      !this.#socket.destroyed &&
      this.#underWay < this.#limits.pipelined &&
      this.#socket.writableLength < mostUnsentBytes
    );
  }

  #begin(message: Buffer): void {
    this.#underWay++;
    const reply = this.#responder.handle(message, 'tcp');
    if (reply instanceof Promise) void reply.then((late) => this.#reply(late, true));
    else this.#reply(reply, false);
  }

  #reply(reply: Reply, late: boolean): void {
    this.#underWay--;
    if (this.#socket.destroyed) return;
    // Nothing to say to what is no query: whoever sends such things is not waited for.
    if (reply === undefined) this.destroy();
    else this.#socket.write(framed(reply));
    if (late) this.#flow();
  }

  #arm(): Timer {
    return this.#clock.after(readTimeoutMs, () => this.#late());
  }

  #rearm(): void {
    this.#timer.cancel();
    this.#timer = this.#arm();
  }

  /** Nothing whole came. What is under way is bounded by itself; a client that does not take its answers is not. */
  #late(): void {
    if (this.#underWay === 0 && (this.#finishing || this.#socket.writableLength > 0)) {
      this.destroy();
      return;
    }
    this.#rearm();
    this.finish();
  }
}
