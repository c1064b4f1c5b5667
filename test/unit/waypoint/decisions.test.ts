/** Pure decisions of the waypoint: sniffing, authority, names, header sanitising. */
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { legacyPreset, modernPreset } from '../../../src/config/preset.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { decideAuthority } from '../../../src/waypoint/authority.ts';
import { stageNames } from '../../../src/waypoint/names.ts';
import { sanitised } from '../../../src/waypoint/request-headers.ts';
import { sniff, sniffBytes } from '../../../src/waypoint/sniff.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeChange, makeService, makeWorkload } from '../../support/mesh-records.ts';

t.test('first bytes are told apart', async (t) => {
  const tell = (text: string) => sniffBytes(Buffer.from(text, 'latin1'));
  t.equal(tell('GET / HTTP/1.1\r\n'), 'http1');
  t.equal(tell('M-SEARCH * HTTP/1.1\r\nHost: a\r\n'), 'http1');
  t.equal(tell('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 'http2');
  for (const text of [
    '',
    'P',
    'PRI',
    'PRI * HTTP/2.0\r\n\r\nS',
    'GET',
    'GET /a',
    'GET /a HTTP/1',
    'GET /a HTTP/1.1\r',
  ]) {
    t.equal(tell(text), undefined, JSON.stringify(text));
  }
  for (const text of [
    'EHLO a\r\n',
    'PING\r\n',
    'SSH-2.0-x\r\n',
    '\x16\x03\x01',
    'get / HTTP/1.1\r\n',
    '*1\r\n',
    'GET / SPDY/3\r\n',
    '\n',
  ]) {
    t.equal(tell(text), 'other', JSON.stringify(text));
  }
  t.equal(tell(`GET /${'a'.repeat(20_000)}`), 'other', 'an endless request line');
});

t.test('a prefix of a request never tells otherwise than the whole', async () => {
  const whole = fc.constantFrom(
    'GET /path?q HTTP/1.1\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'POST http://a/ HTTP/1.0\r\n',
  );
  fc.assert(
    fc.property(whole, fc.nat(40), (text, cut) => {
      const part = sniffBytes(Buffer.from(text.slice(0, cut)));
      return part === undefined || part === sniffBytes(Buffer.from(text));
    }),
  );
});

t.test('an authority must be served by this very gateway', async (t) => {
  const gateway = (name: string) => ({ kind: 'hostname', service: `default/${name}`, hbonePort: 15008 }) as const;
  const own = { key: 'default/mine', namespace: 'default', address: gateway('mine'), service: 'default/mine' };
  const mesh = new MeshStore();
  const vip = (ip: string) => [{ network: '', ip }];
  mesh.apply(
    makeChange({
      services: [
        makeService({ name: 'a', addresses: vip('10.0.0.1'), waypoint: gateway('mine') }),
        makeService({ name: 'b', addresses: vip('10.0.0.2'), waypoint: gateway('theirs') }),
        makeService({ name: 'c', addresses: vip('fd00::1'), waypoint: gateway('mine') }),
      ],
      workloads: [
        makeWorkload({ name: 'p', addresses: ['10.1.0.1'], waypoint: gateway('mine') }),
        makeWorkload({ name: 'q', addresses: ['10.1.0.2'] }),
      ],
    }),
  );
  t.match(decideAuthority(mesh, own, '', '10.0.0.1:80'), { status: 503, reason: 'no-configuration' });
  mesh.markComplete();
  t.match(decideAuthority(mesh, undefined, '', '10.0.0.1:80'), { status: 503 });
  t.match(decideAuthority(mesh, own, '', '10.0.0.1:80'), { kind: 'service', service: { name: 'a' } });
  t.match(decideAuthority(mesh, own, '', '[fd00::1]:80'), { kind: 'service', service: { name: 'c' } });
  t.match(decideAuthority(mesh, own, '', '10.1.0.1:9999'), { kind: 'workload', workload: { name: 'p' } });
  t.match(decideAuthority(mesh, own, '', 'a.default.svc.cluster.local:80'), {
    kind: 'service',
    service: { name: 'a' },
    address: { ip: '10.0.0.1', port: 80 },
  });
  const refused = {
    '10.0.0.1:81': 'unknown-port',
    '10.0.0.2:80': 'not-served-here',
    '10.1.0.2:80': 'not-served-here',
    '10.9.9.9:80': 'unknown-address',
    'a.default.svc.cluster.local:81': 'unknown-port',
    'b.default.svc.cluster.local:80': 'not-served-here',
    'nobody.default.svc.cluster.local:80': 'not-served-here',
    '10.0.0.1': 'no-address',
  };
  for (const [authority, reason] of Object.entries(refused)) {
    t.same(decideAuthority(mesh, own, '', authority), { kind: 'refused', status: 404, reason }, authority);
  }
});

t.test('stages carry the names of their world', async (t) => {
  const article = stageNames(legacyPreset);
  t.equal(article.terminate, 'inbound_CONNECT_terminate');
  t.same(article.serviceEntry(9080, 'h'), { cluster: 'inbound-vip|9080|internal|h', listener: 'inbound-vip|9080||h' });
  t.equal(article.serviceCluster(9080, 'h', 'http'), 'inbound-vip|9080|http|h');
  t.same(article.pod(9080, 'ip'), {
    entry: 'inbound-pod|9080|internal|ip',
    listener: 'inbound-pod|9080||ip',
    cluster: 'inbound-pod|9080||ip',
  });
  t.equal(article.originate, 'inbound_CONNECT_originate');
  const today = stageNames(modernPreset);
  t.same(
    [today.terminate, today.serviceEntry(1, 'h').listener, today.originate],
    ['connect_terminate', 'main_internal', 'connect_originate'],
  );
});

t.test('what only proxies may say is removed', async (t) => {
  const headers = ['X-Forwarded-Client-Cert', 'a', 'X-Envoy-Original-Path', 'b', 'x-istio-source', 'c', 'X-App', 'd'];
  t.same(sanitised(headers), ['X-App', 'd']);
});

t.test('on a port declared HTTP silence has no deadline, a first line that has begun has one', async (t) => {
  const clock = new FakeClock();
  const [client, server] = duplexPair();
  const found = sniff(server, clock, undefined);
  t.equal(clock.pending, 0);
  client.write('GE');
  await eventually('the deadline', () => clock.pending === 1);
  clock.advance(60_000);
  t.equal(await within('the verdict', found), 'other');
  t.equal(String(server.read()), 'GE', 'nothing is consumed');
});
