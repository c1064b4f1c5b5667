/** A waypoint with extensions before its one service: modules are texts in a folder of the test's. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { modernPreset } from '../../../src/config/preset.ts';
import type { ExtensionRecord } from '../../../src/route/extension.ts';
import { emptyL7Model } from '../../../src/route/model.ts';
import { eventually } from '../../support/eventually.ts';
import { extensionRecord } from '../../support/extension-record.ts';
import { createHarness, type Harness, type HarnessOptions, serviceKey } from './harness.ts';

const gatewayKey = 'default/productpage';

export interface World extends Harness {
  readonly folder: string;
  /** Puts extensions before the service and waits until each has been loaded, or refused. */
  attach(...records: readonly ExtensionRecord[]): Promise<void>;
}

export async function world(
  t: Test,
  modules: Readonly<Record<string, string>>,
  pod: RequestListener = echo,
  options: Partial<HarnessOptions> = {},
): Promise<World> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-extensions-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, source] of Object.entries(modules)) writeFileSync(path.join(folder, name), source);
  const harness = await createHarness(t, {
    preset: modernPreset,
    pods: [pod],
    extensionsDirectory: folder,
    ...options,
  });
  const attach = async (...records: readonly ExtensionRecord[]) => {
    const extensions = {
      services: new Map([[serviceKey, records]]),
      gateways: new Map(),
      routes: new Map(),
      byGateway: new Map([[gatewayKey, records]]),
    };
    harness.model = { ...emptyL7Model, extensions };
    harness.waypoint.modelChanged();
    await eventually('the extensions to be loaded', () => harness.waypoint.services.extensions.pending().length === 0);
  };
  return Object.assign(harness, { folder, attach });
}

let names = 0;
export function record(module: string, fields: Partial<ExtensionRecord> = {}): ExtensionRecord {
  return extensionRecord({
    source: { kind: 'Extension', namespace: 'default', name: `e${++names}` },
    module,
    deadlineMs: 2000,
    memoryBytes: 64 * 1024 * 1024,
    maxHeldBytes: 100_000,
    ...fields,
  });
}

/** Tells what it got. */
export const echo: RequestListener = (request: IncomingMessage, response) => {
  void text(request).then((body) => {
    response.setHeader('x-app', 'yes');
    response.end(JSON.stringify({ url: request.url, headers: request.headers, body }));
  });
};
