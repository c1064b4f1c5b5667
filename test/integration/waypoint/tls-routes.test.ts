/** TLS connections through a waypoint by the server name of the client's hello, which passes on untouched. */

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { connect } from 'node:tls';
import t from 'tap';
import { emptyL7Model, type StreamRoute } from '../../../src/route/model.ts';
import { eventually, within } from '../../support/eventually.ts';
import { createHarness, serviceKey } from './harness.ts';

const echo = (socket: Socket) => void socket.pipe(socket);

function helloOf(servername: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk);
        done();
      },
    });
    connect({ socket, servername }).on('error', () => {});
  });
}

function modelWith(routes: readonly Pick<StreamRoute, 'serverNames'>[]) {
  const backend = { service: serviceKey, port: 9080, weight: 1, requestHeaders: undefined, responseHeaders: undefined };
  const streams = routes.map((route, i) => ({
    name: `default/r/${i}/0`,
    source: undefined,
    sourceNamespace: undefined,
    sourceLabels: [],
    destinations: undefined,
    backends: [backend],
    ...route,
  }));
  const ports = { service: serviceKey, port: 9080, appProtocol: 'tls', routes: [], streams } as const;
  return { ...emptyL7Model, ports: new Map([[`${serviceKey}:9080`, ports]]) };
}

t.test('a connection goes where its server name leads, byte for byte, and another is reset', async (t) => {
  for (const appProtocol of ['tls', 'unknown'] as const) {
    const harness = await createHarness(t, { pods: [echo], podKind: 'tcp', appProtocol, sniffTimeoutMs: 10_000 });
    harness.model = modelWith([{ serverNames: ['*.example.com'] }]);
    const hello = await helloOf('api.example.com');
    const stream = await harness.tunnel();
    stream.write(hello.subarray(0, 100));
    stream.end(hello.subarray(100));
    t.same(await within('the echo', buffer(stream)), hello, appProtocol);
    const other = await harness.tunnel();
    other.end(await helloOf('example.org'));
    await within('the reset', t.rejects(buffer(other), appProtocol));
    t.equal(harness.arrived.length, 1);
  }
});

t.test('a client that stays silent, or speaks no TLS, has no name: it gets a route that asks for none', async (t) => {
  const harness = await createHarness(t, { pods: [echo], podKind: 'tcp', appProtocol: 'tcp', sniffTimeoutMs: 30 });
  harness.model = modelWith([{ serverNames: ['a.example.com'] }, { serverNames: undefined }]);
  const silent = await harness.tunnel();
  await eventually('the tunnel to the pod', () => harness.arrived.length === 1);
  silent.end('x');
  t.equal(String(await within('the echo', buffer(silent))), 'x');
  const plain = await harness.tunnel();
  plain.end('EHLO');
  t.equal(String(await within('the echo', buffer(plain))), 'EHLO');
  harness.model = modelWith([{ serverNames: ['a.example.com'] }]);
  const refused = await harness.tunnel();
  refused.end('EHLO');
  await within('the reset', t.rejects(buffer(refused)));
});
