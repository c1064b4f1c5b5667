/** A session whose far side is a raw peer, with a relay of ours as its server or as its client: tunnels seen from both ends. */
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import { within } from './eventually.ts';
import { answer, connectTo, frameType, greeting, settings } from './http2-frames.ts';
import { greeted, type RawHttp2, type RawOptions, rawServer } from './raw-http2.ts';
import type { WireWorld } from './wire-world.ts';

export type Role = 'server' | 'client';
export const roles: readonly Role[] = ['server', 'client'];

export interface WireTunnel {
  /** Number of the stream. */
  readonly id: number;
  /** Our relay's end; nobody reads it yet. */
  readonly stream: Duplex;
}

export interface WireTunnels {
  /** Its SETTINGS and ours are in force once there is a tunnel. */
  readonly peer: RawHttp2;
  open(): Promise<WireTunnel>;
}

export interface WireTunnelsOptions extends RawOptions {
  /** Of the raw peer, sent with its greeting. */
  readonly settings?: readonly (readonly [id: number, value: number])[];
}

/** `role`: what our relay is. */
export async function wireTunnels(
  t: Test,
  world: WireWorld,
  role: Role,
  { settings: own = [], ...options }: WireTunnelsOptions = {},
): Promise<WireTunnels> {
  return role === 'server' ? await servedTunnels(world, own, options) : await clientTunnels(t, world, own, options);
}

async function servedTunnels(
  world: WireWorld,
  own: NonNullable<WireTunnelsOptions['settings']>,
  options: RawOptions,
): Promise<WireTunnels> {
  const peer = await greeted(world.dial, options, Buffer.concat([greeting, settings(...own)]));
  await peer.until('SETTINGS', () => peer.counts.has(frameType.settings));
  let next = 1;
  return {
    peer,
    open: async () => {
      const id = next;
      next += 2;
      peer.send(connectTo(id, 'take:1'));
      const stream = await world.taken();
      return { id, stream };
    },
  };
}

async function clientTunnels(
  t: Test,
  world: WireWorld,
  own: NonNullable<WireTunnelsOptions['settings']>,
  options: RawOptions,
): Promise<WireTunnels> {
  const server = await rawServer(t, world);
  const request = world.request({ peer: server.address });
  const first = world.client.open(request);
  const peer = await server.accepted({ ...options, greet: settings(...own) });
  let next = 1;
  return {
    peer,
    open: async () => {
      const id = next;
      next += 2;
      const opening = id === 1 ? first : world.client.open(request);
      await peer.until('CONNECT', () => (peer.counts.get(frameType.headers) ?? 0) * 2 > id);
      peer.send(answer(id, 200));
      const outcome = await within('the answer', opening);
      if (outcome.kind !== 'open') throw new Error(`not open but ${outcome.kind}`);
      outcome.stream.on('error', () => {});
      return { id, stream: outcome.stream };
    },
  };
}
