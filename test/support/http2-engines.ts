/** The engines under the relay: what is demanded of one is demanded of each. */
import t, { type Test } from 'tap';
import type { Http2Engine } from '../../src/hbone/http2/engine.ts';
import { framing } from '../../src/hbone/http2/framing.ts';
import { nodeHttp2 } from '../../src/hbone/node-http2/engine.ts';
import { createRelay } from '../../src/hbone/relay.ts';
import type { MakeRelay } from './relay-world.ts';

const engines: Readonly<Record<string, Http2Engine>> = { framing, node: nodeHttp2 };

/** A test for each engine, with the relay on it and the engine's name. */
export async function onEachEngine(
  name: string,
  body: (t: Test, make: MakeRelay, engine: string) => Promise<void>,
): Promise<void> {
  for (const [engine, http2] of Object.entries(engines)) {
    await t.test(`${name} (engine ${engine})`, (t) =>
      body(t, (dependencies) => createRelay({ ...dependencies, http2 }), engine),
    );
  }
}
