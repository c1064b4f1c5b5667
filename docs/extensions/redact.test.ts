import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testExtension } from 'ambit/extension/testing';
import { createExtension } from './redact.ts';

const config = { tenants: { client: 'acme' }, secretFields: ['password'] };

test('the application is told the tenant', async () => {
  const extension = await testExtension(createExtension, config);
  const { request } = await extension.exchange({ path: '/orders' });
  assert.equal(request?.headers['x-tenant'], 'acme');
});

test('a client without a tenant gets no further', async () => {
  const extension = await testExtension(createExtension, { tenants: {} });
  const { request, response } = await extension.exchange();
  assert.equal(request, undefined);
  assert.equal(response.status, 403);
});

test('secrets do not leave in JSON, and nothing else is touched', async () => {
  const extension = await testExtension(createExtension, config);
  const answer = (type: string) => () => ({ headers: { 'content-type': type }, body: '{"user":"a","password":"b"}' });
  const json = await extension.exchange({}, answer('application/json'));
  assert.deepEqual(JSON.parse(json.response.body), { user: 'a', password: '…' });
  const text = await extension.exchange({}, answer('text/plain'));
  assert.equal(text.response.body, '{"user":"a","password":"b"}');
});

test('a configuration without tenants is refused', async () => {
  await assert.rejects(testExtension(createExtension, {}), /config\.tenants/);
});
