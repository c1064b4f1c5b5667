/** The record on disk. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { defaultRedirectConstants as constants } from '../../../src/redirect/constants.ts';
import { createFileStateStore, networkNamespaceId, type RedirectState } from '../../../src/redirect/state-store.ts';

const state: RedirectState = {
  version: 1,
  program: 'inpod',
  parameters: { program: 'inpod', constants, dns: false, ipv6: false },
  backend: 'nft',
  steps: [],
  members: [],
  leftover: [],
  saved: { 'net/ipv4/ip_forward': '0' },
};

test('a record is kept per program and namespace, and clearing leaves no file', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'ambit-redirect-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const store = createFileStateStore(join(directory, 'deep', 'er'), '1');
  t.equal(await store.load('inpod'), undefined);
  await store.save(state);
  t.same(await store.load('inpod'), state);
  t.equal(await store.load('node'), undefined);
  t.equal(await createFileStateStore(join(directory, 'deep', 'er'), '2').load('inpod'), undefined);
  await store.clear('inpod');
  await store.clear('inpod');
  t.same(await readdir(join(directory, 'deep', 'er')), []);
});

test('a broken record is an error that names the file', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'ambit-redirect-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const store = createFileStateStore(directory, '1');
  for (const text of ['{', 'null', '{"version":2}', '{"version":1,"program":"node","steps":[],"members":[]}']) {
    await writeFile(store.location('inpod'), text);
    await t.rejects(store.load('inpod'), { code: 'REDIRECT_STATE', message: /inpod-1\.json/ });
  }
});

test('a namespace is known by its inode', async (t) => {
  t.match(await networkNamespaceId(), /^\d+$/);
  await t.rejects(networkNamespaceId('/nowhere'), { code: 'REDIRECT_STATE' });
});
