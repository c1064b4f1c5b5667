import { BlockList, isIP } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import {
  canonicalIp,
  cidrContains,
  formatSocketAddress,
  ipFromBytes,
  ipToBytes,
  parseCidr,
  parseSocketAddress,
  splitHostPort,
} from '../../../src/base/address.ts';

const ipv6Text = fc.ipV6().filter((text) => isIP(text) === 6);

t.test('an address has one canonical text', async (t) => {
  t.equal(canonicalIp('10.0.0.1'), '10.0.0.1');
  t.equal(canonicalIp('2001:DB8:0:0:1:0:0:1'), '2001:db8::1:0:0:1');
  t.equal(canonicalIp('0:0:0:0:0:0:0:0'), '::');
  t.equal(canonicalIp('::ffff:10.1.2.3'), '10.1.2.3');
  t.equal(canonicalIp('::FFFF:0a01:0203'), '10.1.2.3');
  t.equal(canonicalIp('1:0:2:3:4:5:6:7'), '1:0:2:3:4:5:6:7');
  for (const bad of ['', 'localhost', '1.2.3', '01.2.3.4', '1.2.3.4.5', 'fe80::1%eth0', ':::', '1::2::3', ' 1.2.3.4']) {
    t.equal(canonicalIp(bad), undefined, bad);
  }
});

t.test('canonical text and bytes are one-to-one', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), ipv6Text), (text) => {
      const ip = canonicalIp(text) ?? '';
      return canonicalIp(ip) === ip && ipFromBytes(ipToBytes(ip)) === ip;
    }),
  );
});

t.test('socket addresses are read and written alike', async (t) => {
  t.same(parseSocketAddress('10.0.0.1:80'), { ip: '10.0.0.1', port: 80 });
  t.same(parseSocketAddress('[::1]:65535'), { ip: '::1', port: 65535 });
  for (const bad of [
    '10.0.0.1',
    '10.0.0.1:',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    '10.0.0.1:080',
    '::1:80',
    'a:80',
    '[a]:80',
  ]) {
    t.equal(parseSocketAddress(bad), undefined, bad);
  }
  t.same(splitHostPort('shop.example:80'), { host: 'shop.example', port: 80 });
  t.equal(formatSocketAddress({ ip: '::1', port: 80 }), '[::1]:80');
});

t.test('a block holds exactly what the kernel-style oracle says it holds', async () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.integer({ min: 0, max: 32 }), fc.ipV4(), (net, prefix, ip) => {
      const oracle = new BlockList();
      oracle.addSubnet(net, prefix);
      const cidr = parseCidr(`${net}/${prefix}`);
      return cidr !== undefined && cidrContains(cidr, ipToBytes(ip)) === oracle.check(ip);
    }),
  );
  fc.assert(
    fc.property(ipv6Text, fc.integer({ min: 0, max: 128 }), ipv6Text, (net, prefix, ip) => {
      const oracle = new BlockList();
      oracle.addSubnet(net, prefix, 'ipv6');
      const cidr = parseCidr(`${net}/${prefix}`);
      if (cidr === undefined || cidr.family === 4) return true;
      const bytes = ipToBytes(canonicalIp(ip) ?? '');
      return bytes.length === 4 || cidrContains(cidr, bytes) === oracle.check(ip, 'ipv6');
    }),
  );
});

t.test('blocks are canonical and nonsense is none', async (t) => {
  t.equal(parseCidr('10.1.2.3/8')?.text, '10.0.0.0/8');
  t.equal(parseCidr('10.1.2.3')?.text, '10.1.2.3/32');
  t.equal(parseCidr('fd00::1/8')?.text, 'fd00::/8');
  for (const bad of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/-1', 'fd00::/129', 'x/8', '10.0.0.0/8/8']) {
    t.equal(parseCidr(bad), undefined, bad);
  }
});
