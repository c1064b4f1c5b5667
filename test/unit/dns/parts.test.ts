/** The small parts: resolv.conf, where to listen, budgets, and whose servers are asked. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { type LogFields, type Logger, silentLogger } from '../../../src/base/logger.ts';
import { parseDnsListen } from '../../../src/dns/addresses.ts';
import { DnsBudget, defaultDnsLimits } from '../../../src/dns/budget.ts';
import { typeName } from '../../../src/dns/metrics.ts';
import { parseResolvConf, ResolvConf } from '../../../src/dns/resolv-conf.ts';
import { isAnswerable } from '../../../src/dns/udp-server.ts';
import { FakeClock } from '../../support/fake-clock.ts';

t.test('resolv.conf: three servers, the last search list, comments and nonsense passed over', async (t) => {
  const text = `# comment
nameserver 10.96.0.10
nameserver fd00::a ; another
nameserver not-an-address
nameserver
nameserver 192.0.2.1
nameserver 192.0.2.2
domain one.example
search Default.svc.cluster.local. svc.cluster.local cluster.local # and so on
options ndots:5 timeout:1
`;
  t.same(parseResolvConf(text), {
    servers: ['10.96.0.10', 'fd00::a', '192.0.2.1'].map((ip) => ({ ip, port: 53 })),
    searchDomains: ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
  });
  t.same(parseResolvConf('search a.example\ndomain b.example c.example').searchDomains, ['b.example']);
  t.same(parseResolvConf(''), { servers: [], searchDomains: [] });
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (any) => parseResolvConf(any).servers.length <= 3));
});

t.test('resolv.conf is read again when it has changed, and kept when it cannot be read', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-dns-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'resolv.conf');
  const warnings: (LogFields | undefined)[] = [];
  const logger: Logger = { ...silentLogger, warn: (_message, fields) => void warnings.push(fields) };
  const clock = new FakeClock();
  writeFileSync(path, 'nameserver 192.0.2.1');
  const file = new ResolvConf(path, clock, logger);
  const servers = () => file.current.servers.map(({ ip }) => ip);
  t.same(servers(), ['192.0.2.1']);
  writeFileSync(path, 'nameserver 192.0.2.200');
  t.same(servers(), ['192.0.2.1'], 'not looked at each time');
  clock.advance(10_000);
  t.same(servers(), ['192.0.2.200']);
  rmSync(path);
  clock.advance(10_000);
  t.same(servers(), ['192.0.2.200']);
  clock.advance(10_000);
  servers();
  t.equal(warnings.length, 1, 'one warning');
  writeFileSync(path, 'search example');
  clock.advance(10_000);
  t.same(servers(), []);
  t.equal(warnings.length, 2, 'and one for a file without servers');
});

t.test('a place to listen is localhost, or an address, with a port, and nothing else', async (t) => {
  t.same(parseDnsListen('localhost:15053', true), { ips: ['127.0.0.1', '::1'], port: 15053 });
  t.same(parseDnsListen('localhost:15053', false), { ips: ['127.0.0.1'], port: 15053 });
  t.same(parseDnsListen('127.0.0.53:53', true), { ips: ['127.0.0.53'], port: 53 });
  t.same(parseDnsListen('[::1]:15053', true), { ips: ['::1'], port: 15053 });
  for (const bad of ['', '15053', 'localhost', 'localhost:', 'dns.example:53', '[::1:53', 'localhost:99999', ':::53']) {
    t.equal(parseDnsListen(bad, true), undefined, bad);
  }
});

t.test('a place has its share whatever the others hold, and gets more only while there is room', async (t) => {
  const clock = new FakeClock();
  const all = new DnsBudget({ ...defaultDnsLimits, waitingPerPlace: 5, waitingInAll: 8, ownShare: 2 });
  const [one, two, three] = [all.place(clock), all.place(clock), all.place(clock)];
  const fill = (place: typeof one) => {
    let entered = 0;
    while (place.enter()) entered++;
    return entered;
  };
  t.equal(fill(one), 5);
  t.equal(fill(two), 3, 'until all have eight');
  t.equal(fill(three), 2, 'its own share');
  one.leave();
  t.equal(one.enter(), false, 'nine of eight still');
  for (let left = 0; left < 4; left++) one.leave();
  t.equal(fill(three), 3);
  t.equal(three.waiting, 5);
});

t.test('queries a second: a burst of one second’s, then as time goes by', async (t) => {
  const clock = new FakeClock();
  const place = new DnsBudget({ ...defaultDnsLimits, queriesPerSecond: 10 }).place(clock);
  const taken = () => {
    let count = 0;
    while (place.takeQuery()) count++;
    return count;
  };
  t.equal(taken(), 10);
  clock.advance(300);
  t.equal(taken(), 3);
  clock.advance(60_000);
  t.equal(taken(), 10);
});

t.test('a datagram that claims to come from ourselves, or from port 0, is not answered', async (t) => {
  const own = { ip: '::1', port: 15053 };
  t.equal(isAnswerable({ address: '::1', port: 15053 }, own), false);
  t.equal(isAnswerable({ address: '0:0:0:0:0:0:0:1', port: 15053 }, own), false);
  t.equal(isAnswerable({ address: 'fd00::1', port: 0 }, own), false);
  t.equal(isAnswerable({ address: 'fd00::1', port: 15053 }, own), true);
  t.equal(isAnswerable({ address: '::1', port: 40_000 }, own), true);
});

t.test('labels of types are bounded', async (t) => {
  const names = new Set(Array.from({ length: 0x1_0000 }, (_, type) => typeName(type)));
  t.equal(names.size, 17);
  t.equal(typeName(28), 'aaaa');
});
