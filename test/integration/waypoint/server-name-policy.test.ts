/** `connection.sni` in policies: asked of the hello of a TLS client inside a tunnel, which passes on untouched. */
import { createServer, type Socket } from 'node:net';
import { connect } from 'node:tls';
import t from 'tap';
import { readClientHello } from '../../../src/net/client-hello.ts';
import { emptyL7Model, type L7Policy } from '../../../src/route/model.ts';
import { eventually } from '../../support/eventually.ts';
import { createHarness, serviceKey } from './harness.ts';

const policy = (action: 'allow' | 'deny', value: string): L7Policy => ({
  source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'sni' },
  action,
  dryRun: false,
  rules: [{ clauses: [[[{ kind: 'server-name', values: [{ kind: 'suffix', value }], notValues: [] }]]] }],
});

t.test('a TLS client is judged by the name it asks for, and its hello arrives whole', async (t) => {
  const heard: (string | undefined)[] = [];
  const serve = (socket: Socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes: Buffer) => {
      const hello = readClientHello(bytes);
      heard.push(hello?.kind === 'hello' ? hello.serverName : bytes.toString());
      socket.end();
    });
  };
  const harness = await createHarness(t, { pods: [serve], servers: [createServer(serve)], appProtocol: 'tcp' });
  const set = (of: L7Policy) => {
    harness.model = { ...emptyL7Model, servicePolicies: new Map([[serviceKey, [of]]]) };
  };
  const dial = async (servername: string | undefined) => {
    const stream = await harness.tunnel();
    stream.on('error', () => {});
    if (servername === undefined) stream.resume().write('no TLS');
    else connect({ socket: stream, servername }).on('error', () => {});
    await eventually('the end', () => stream.destroyed || stream.readableEnded);
  };
  set(policy('allow', '.shop.example'));
  await dial('a.shop.example');
  await dial('a.other.example');
  await dial(undefined);
  t.same(heard.splice(0), ['a.shop.example']);
  set(policy('deny', '.shop.example'));
  await dial('a.shop.example');
  await dial('a.other.example');
  await dial(undefined);
  t.same(heard.splice(0), ['a.other.example', 'no TLS']);
  // By the pod's own policy alone, which is asked once the pod is chosen.
  harness.model = {
    ...emptyL7Model,
    workloadPolicies: new Map([['Kubernetes//Pod/default/productpage-0', [policy('deny', '.shop.example')]]]),
  };
  await dial('a.shop.example');
  await dial('a.other.example');
  t.same(heard, ['a.other.example']);
});
