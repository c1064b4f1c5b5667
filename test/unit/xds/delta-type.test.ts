/** The bookkeeping of one type: answers, what is held between streams, and what must go. */
import { fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { DeltaDiscoveryRequestSchema } from '../../../src/proto/gen/discovery_pb.js';
import { encodeAnswer, encodeFirstRequest, encodeSubscription } from '../../../src/xds/delta-request.ts';
import { DeltaType } from '../../../src/xds/delta-type.ts';
import { nodeIdentity } from '../../../src/xds/node-identity.ts';
import { decideReconnect } from '../../../src/xds/reconnect-decision.ts';
import { addressType } from '../../../src/xds/resource-types.ts';
import { FakeClock } from '../../support/fake-clock.ts';

t.test('a response without a fault is acknowledged, and only then is the type', async (t) => {
  const type = new DeltaType();
  t.ok(type.sent('a', '1'));
  type.refuse({ name: 'a', reason: 'a: uid: it is empty' });
  t.same(type.finish('n1'), { kind: 'nack', nonce: 'n1', reason: 'a: uid: it is empty' });
  t.notOk(type.acknowledged);
  t.same(type.finish('n2'), { kind: 'ack', nonce: 'n2' });
  t.ok(type.acknowledged);
});

t.test('a version that is held is not looked at again, an empty one always', async (t) => {
  const type = new DeltaType();
  type.accept('a', '1');
  type.accept('p', '');
  t.notOk(type.sent('a', '1'));
  t.ok(type.sent('a', '2'));
  t.ok(type.sent('p', ''));
  t.ok(type.sent('new', '1'));
});

t.test('many faults make an answer of bounded length', async (t) => {
  const type = new DeltaType();
  for (let i = 0; i < 100; i++) type.refuse({ name: `r${i}`, reason: 'x'.repeat(10_000) });
  const answer = type.finish('n');
  t.equal(answer.kind, 'nack');
  if (answer.kind !== 'nack') return;
  t.ok(answer.reason.length < 8000);
  t.match(answer.reason, /and 84 more$/);
  t.equal(type.finish('n2').kind, 'ack', 'and is told once');
});

t.test('what was refused stays as it was, and is asked for again at its old version', async (t) => {
  const type = new DeltaType();
  type.accept('a', '1');
  type.refuse({ name: 'a', reason: 'a: bad' });
  type.refuse({ name: 'b', reason: 'b: bad' });
  type.finish('n');
  t.same([...type.versions()], [['a', '1']]);
});

t.test('without versions only being sent again tells that something exists', async (t) => {
  const type = new DeltaType();
  type.accept('address', '1');
  for (const name of ['kept', 'gone', 'told']) type.accept(name, '');
  type.refuse({ name: 'unread', reason: 'unread: bad' });
  type.finish('n');
  type.begin();
  t.equal(type.unconfirmed, 4);
  type.sent('kept', '');
  type.remove('told');
  t.same([...type.dropUnconfirmed()].sort(), ['gone', 'unread']);
  t.same([...type.versions()].map(([name]) => name).sort(), ['address', 'kept']);
  t.equal(type.unconfirmed, 0);
});

/** Against a plain model: what a server holds, through any changes, faults and reconnects. */
t.test('after any history the client holds what the server has', async () => {
  const resource = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), bad: fc.boolean(), version: fc.nat(3) });
  const event = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), resource }),
    fc.record({ kind: fc.constant('delete' as const), name: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ kind: fc.constant('offline' as const), event: fc.record({ gone: fc.constantFrom('a', 'b', 'c') }) }),
    fc.record({ kind: fc.constant('reconnect' as const) }),
  );
  fc.assert(
    fc.property(fc.boolean(), fc.array(event, { maxLength: 40 }), (versioned, events) => {
      const server = new Map<string, { version: string; bad: boolean; content: number }>();
      const mesh = new Map<string, number>();
      const type = new DeltaType();
      let content = 0;
      const receive = (names: readonly string[], removed: readonly string[]) => {
        for (const name of names) {
          const sent = server.get(name);
          if (sent === undefined || !type.sent(name, sent.version)) continue;
          if (sent.bad) type.refuse({ name, reason: `${name}: bad` });
          else {
            type.accept(name, sent.version);
            mesh.set(name, sent.content);
          }
        }
        for (const name of removed) {
          type.remove(name);
          mesh.delete(name);
        }
        type.finish('n');
      };
      const reconnect = (listsRemoved: boolean) => {
        type.begin();
        const held = new Map(type.versions());
        const names = [...server].filter(([name, { version }]) => version === '' || held.get(name) !== version);
        const removed = listsRemoved ? [...held.keys()].filter((name) => !server.has(name)) : [];
        receive(
          names.map(([name]) => name),
          removed,
        );
        for (const name of type.dropUnconfirmed()) mesh.delete(name);
      };
      for (const each of events) {
        if (each.kind === 'set') {
          const { name, bad } = each.resource;
          content++;
          server.set(name, { version: versioned ? String(content) : '', bad, content });
          receive([name], []);
        } else if (each.kind === 'delete') {
          server.delete(each.name);
          receive([], [each.name]);
        } else if (each.kind === 'offline') {
          server.delete(each.event.gone);
          // A server without versions may not tell what is gone; one with versions does.
          reconnect(versioned);
        } else reconnect(versioned);
      }
      reconnect(versioned);
      for (const [name, { bad, content }] of server) if (!bad && mesh.get(name) !== content) return false;
      for (const name of mesh.keys()) if (!server.has(name)) return false;
      return [...type.versions()].every(([name]) => mesh.has(name)) && type.size === mesh.size;
    }),
    { numRuns: 500 },
  );
});

t.test('requests say what they should on the wire', async (t) => {
  const node = nodeIdentity({
    instanceIp: '1.2.3.4',
    podName: 'zt',
    podNamespace: 'istio-system',
    nodeName: 'n1',
    clusterId: 'c1',
    metadata: {},
  });
  const versions = new Map<string, string>();
  for (let i = 0; i < 200; i++) versions.set(`name-${i}`, i % 2 === 0 ? '' : String(i));
  versions.set('__proto__', 'x');
  const first = await encodeFirstRequest({ typeUrl: addressType, node, versions }, { clock: new FakeClock() });
  const request = fromBinary(DeltaDiscoveryRequestSchema, first);
  t.match(request, {
    typeUrl: addressType,
    responseNonce: '',
    resourceNamesSubscribe: [],
    node: { id: 'ztunnel~1.2.3.4~zt.istio-system~istio-system.svc.cluster.local', cluster: '' },
  });
  t.equal(Object.keys(request.initialResourceVersions).length >= 200, true);
  t.equal(request.initialResourceVersions['name-199'], '199');
  t.equal(request.initialResourceVersions['name-0'], '');
  const ack = fromBinary(DeltaDiscoveryRequestSchema, encodeAnswer(addressType, { kind: 'ack', nonce: 'n' }));
  t.match(ack, { typeUrl: addressType, responseNonce: 'n', node: undefined, errorDetail: undefined });
  const nack = encodeAnswer(addressType, { kind: 'nack', nonce: 'n', reason: 'a: uid: bad' });
  t.match(fromBinary(DeltaDiscoveryRequestSchema, nack), {
    responseNonce: 'n',
    errorDetail: { code: 3, message: 'a: uid: bad' },
  });
  t.match(fromBinary(DeltaDiscoveryRequestSchema, encodeSubscription(addressType, ['a'], ['b'])), {
    resourceNamesSubscribe: ['a'],
    resourceNamesUnsubscribe: ['b'],
    responseNonce: '',
  });
});

t.test('how a stream ended decides when to ask again, and its name in metrics', async (t) => {
  const failure = { kind: 'error', code: 'UNKNOWN', message: 'server is not ready', retryable: true } as const;
  const ended = { kind: 'ended', answered: true, livedMs: 60_000 } as const;
  t.match(decideReconnect({ kind: 'not-connected', failure }), { reason: 'ConnectionError', wait: 'backoff' });
  t.match(decideReconnect({ kind: 'breach', reason: 'x' }), { reason: 'Error', wait: 'backoff', level: 'warn' });
  t.match(decideReconnect({ ...ended, event: { kind: 'end' } }), { reason: 'Complete', wait: 'none', level: 'debug' });
  t.match(decideReconnect({ ...ended, event: failure }), { reason: 'Reconnect', wait: 'soon', level: 'debug' });
  const hasty = { ...ended, answered: false, livedMs: 5 };
  t.match(decideReconnect({ ...hasty, event: failure }), { reason: 'Reconnect', wait: 'backoff', level: 'warn' });
  t.match(decideReconnect({ ...hasty, event: { kind: 'end' } }), { reason: 'Complete', wait: 'backoff' });
  const denied = { ...failure, code: 'PERMISSION_DENIED' } as const;
  t.match(decideReconnect({ ...ended, event: denied }), { reason: 'Error', wait: 'backoff', level: 'warn' });
});
