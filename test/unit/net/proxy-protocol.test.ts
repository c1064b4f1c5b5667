/** The PROXY protocol's two headers, as haproxy's specification prints them. */
import t from 'tap';
import { proxyHeader } from '../../../src/net/proxy-protocol.ts';

const [client, vip] = [
  { ip: '192.0.2.1', port: 56324 },
  { ip: '198.51.100.7', port: 443 },
];
const [client6, vip6] = [
  { ip: '2001:db8::1', port: 1 },
  { ip: '2001:db8::2', port: 65535 },
];

t.test('version 1 is a line', async (t) => {
  t.equal(Buffer.from(proxyHeader('v1', client, vip)).toString(), 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n');
  t.equal(Buffer.from(proxyHeader('v1', client6, vip6)).toString(), 'PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n');
  t.equal(
    Buffer.from(proxyHeader('v1', client, vip6)).toString(),
    'PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56324 65535\r\n',
  );
});

t.test('version 2 is binary', async (t) => {
  const signature = '0d0a0d0a000d0a515549540a';
  t.equal(Buffer.from(proxyHeader('v2', client, vip)).toString('hex'), `${signature}2111000cc0000201c6336407dc0401bb`);
  t.match(
    Buffer.from(proxyHeader('v2', client6, vip6)).toString('hex'),
    new RegExp(`^${signature}21210024.{64}0001ffff$`),
  );
});
