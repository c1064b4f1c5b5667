/** Which workload a certificate names: exactly one URI SAN of the mesh's form, whatever else is written around it. */
import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { workloadOf, workloadOfNames } from '../../../src/hbone/peer-certificate.ts';
import { TestCa } from '../../support/test-ca.ts';

const id = 'spiffe://cluster.local/ns/shop/sa/client';
const other = 'spiffe://cluster.local/ns/shop/sa/other';

t.test('names that say one workload, and names that do not', async (t) => {
  t.equal(workloadOfNames(`URI:${id}`), id);
  t.equal(workloadOfNames(`DNS:client.example, URI:${id}, IP Address:10.0.0.1`), id);
  for (const names of [
    undefined,
    '',
    'DNS:client.example',
    `DNS:${id}`,
    `URI:${id}, URI:${other}`,
    `URI:${id}, URI:https://example.com`,
    'URI:spiffe://cluster.local/ns/shop',
    `URI:${id}/more`,
    `DNS:"a, URI:${id}"`,
    `URI:${id}, DNS:"quoted"`,
    `uri:${id}`,
    ` URI:${id}`,
  ]) {
    t.equal(workloadOfNames(names), undefined, String(names));
  }
});

t.test('a name that holds another name does not count, in real certificates', async (t) => {
  const ca = await TestCa.create();
  const namesWhom = async (uris: string[], dnsNames: string[] = []) =>
    workloadOf(new X509Certificate((await ca.issuePem(uris, { dnsNames })).certPem));
  t.equal(await namesWhom([id]), id);
  t.equal(await namesWhom([id], ['client.example']), id);
  t.equal(await namesWhom([], [`x, URI:${id}`]), undefined);
  t.equal(await namesWhom([`https://example.com/, URI:${id}`]), undefined);
  t.equal(await namesWhom([id, other]), undefined);
  t.equal(await namesWhom([]), undefined);
});

t.test('total on any text', async () => {
  fc.assert(
    fc.property(fc.string(), (names) => {
      workloadOfNames(names);
    }),
  );
});
