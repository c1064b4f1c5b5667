/** The engines under the relay: what is demanded of one is demanded of each. */
import t, { type Test } from 'tap';
import type { Http2Engine } from '../../src/hbone/http2/engine.ts';
import { framing } from '../../src/hbone/http2/framing.ts';
import { nodeHttp2 } from '../../src/hbone/node-http2/engine.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import type { MakeRelay } from './relay-world.ts';

export type EngineName = 'framing' | 'node';

const engines: Readonly<Record<EngineName, Http2Engine>> = { framing, node: nodeHttp2 };

/** A test for each engine, with the relay on it and the engine's name. */
export async function onEachEngine(
  name: string,
  body: (t: Test, make: MakeRelay, engine: string) => Promise<void>,
): Promise<void> {
  for (const engine of Object.keys(engines) as EngineName[]) await onEngine(engine, name, body);
}

/** For what takes so long that each engine has a file of its own. */
export async function onEngine(
  engine: EngineName,
  name: string,
  body: (t: Test, make: MakeRelay, engine: string) => Promise<void>,
): Promise<void> {
  const http2 = engines[engine];
  await t.test(`${name} (engine ${engine})`, (t) =>
    body(t, (dependencies) => createRelay({ ...dependencies, http2 }), engine),
  );
}
