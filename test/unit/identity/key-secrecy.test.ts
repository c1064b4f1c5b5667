import { getHeapSnapshot } from 'node:v8';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { createKeyAndRequest } from '../../../src/identity/csr.ts';
import { issueSecret } from '../../../src/identity/issue.ts';
import { testIdentity } from '../../support/test-ca.ts';
import { ScriptedCa, temporaryAuthority } from './scripted-ca.ts';

/** The middle of the key's base64, without ever making a string of it. */
function needleOf(keyPem: Buffer): Buffer {
  const start = keyPem.indexOf('\n') + 20;
  return keyPem.subarray(start, start + 40);
}

async function heapHolds(needle: Buffer): Promise<boolean> {
  let tail = Buffer.alloc(0);
  for await (const chunk of getHeapSnapshot()) {
    const text = Buffer.concat([tail, chunk as Buffer]);
    if (text.includes(needle)) return true;
    tail = text.subarray(-needle.length);
  }
  return false;
}

t.test('a heap snapshot of a process that holds a secret does not hold its key', async (t) => {
  const { authority } = await temporaryAuthority(t, systemClock);
  const outcome = await issueSecret(testIdentity('spiffe://cluster.local/ns/a/sa/b'), {
    ca: new ScriptedCa(authority),
    clock: systemClock,
    ttlSeconds: 3600,
    timeoutMs: 5000,
    signal: new AbortController().signal,
    nextGeneration: () => 1,
  });
  if (outcome.kind !== 'issued') throw new Error(outcome.reason);
  const key = outcome.secret.serverMaterial.key;
  if (typeof key === 'string') throw new Error('the key is a string');
  t.equal(await heapHolds(needleOf(key)), false);
  t.equal(outcome.secret.generation, 1, 'the secret lives on until here');
});

t.test('the search finds what is there', async (t) => {
  const { keyPem } = await createKeyAndRequest('spiffe://cluster.local/ns/a/sa/b');
  const kept = { text: keyPem.toString() };
  t.equal(await heapHolds(needleOf(keyPem)), true);
  t.ok(kept.text);
});
