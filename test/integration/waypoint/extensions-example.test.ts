/** The example of docs/extensions.md: its own unit test, and the whole of it before an application. */
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import t from 'tap';
import { parseExtension } from '../../../src/compile/extension.ts';
import { objectsOf } from '../../support/compile-text.ts';
import { http1 } from './client.ts';
import { world } from './extensions-world.ts';
import { notSleepId } from './harness.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const example = path.join(root, 'docs/extensions');

t.test('the page shows the files as they are', async (t) => {
  const page = readFileSync(path.join(root, 'docs/extensions.md'), 'utf8');
  for (const file of ['redact.ts', 'redact.test.ts', 'redact.yaml']) {
    t.ok(page.includes(readFileSync(path.join(example, file), 'utf8').trim()), file);
  }
});

t.test('its unit test passes as a user would run it', async (t) => {
  // `ambit-source`: the package's exports are its sources here. Nothing else of ours.
  const words = ['--conditions=ambit-source', '--test', path.join(example, 'redact.test.ts')];
  const { status, stdout } = spawnSync(process.execPath, words, { encoding: 'utf8', env: { PATH: process.env.PATH } });
  t.equal(status, 0, stdout);
  t.match(stdout, /pass 4\n/);
});

t.test('it does before an application what the page says', async (t) => {
  const { attach, tunnel, folder } = await world(t, {}, (request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ tenant: request.headers['x-tenant'], password: 'secret' }));
  });
  cpSync(path.join(example, 'redact.ts'), path.join(folder, 'redact.ts'));
  const text = readFileSync(path.join(example, 'redact.yaml'), 'utf8').replace('productpage: acme', 'sleep: acme');
  const { value, diagnostics } = parseExtension(objectsOf(text)[0] ?? (t.fail('no object') as never));
  t.same(diagnostics, []);
  await attach(value?.record as never);
  t.match(await http1(await tunnel()), { status: 200, body: '{"tenant":"acme","password":"…"}' });
  t.match(await http1(await tunnel(undefined, notSleepId)), { status: 403, body: 'notsleep has no tenant' });
});
