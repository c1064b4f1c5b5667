/** SOCKS5's first words: what is read of them, in pieces and with nonsense. */
import fc from 'fast-check';
import t from 'tap';
import { readSocksGreeting, readSocksRequest, socksReplies, writeSocksReply } from '../../../src/net/socks5.ts';

const bytes = (...values: number[]) => Uint8Array.from(values);
const named = (name: string, port: number) =>
  bytes(5, 1, 0, 3, name.length, ...Buffer.from(name), port >> 8, port & 255);

t.test('a greeting is accepted when it can do without authentication', async (t) => {
  t.same(readSocksGreeting(bytes(5, 2, 2, 0)), { kind: 'accepted', bytes: 4 });
  t.same(readSocksGreeting(bytes(5, 1, 2)), { kind: 'unacceptable' });
  t.same(readSocksGreeting(bytes(5, 0)), { kind: 'unacceptable' });
  t.match(readSocksGreeting(bytes(4, 1)), { kind: 'invalid', reason: 'version 4' });
  t.match(readSocksGreeting(bytes(0x47, 0x45, 0x54)), { kind: 'invalid' }, 'HTTP');
});

t.test('CONNECT by address of either family and by name; bytes after it are not its own', async (t) => {
  t.match(readSocksRequest(bytes(5, 1, 0, 1, 10, 0, 0, 7, 0x23, 0x78, 99)), {
    kind: 'connect',
    host: { ip: '10.0.0.7' },
    port: 9080,
    bytes: 10,
  });
  t.match(readSocksRequest(bytes(5, 1, 0, 4, 0xfd, ...Array<number>(14).fill(0), 5, 0, 80)), {
    host: { ip: 'fd00::5' },
    port: 80,
    bytes: 22,
  });
  t.match(readSocksRequest(bytes(5, 1, 0, 4, ...Array<number>(10).fill(0), 255, 255, 10, 0, 0, 7, 0, 80)), {
    host: { ip: '10.0.0.7' },
  });
  t.match(readSocksRequest(named('Web.shop', 80)), { host: { hostname: 'Web.shop' }, port: 80, bytes: 15 });
});

t.test('what is not offered is refused by its code, what is no request is invalid', async (t) => {
  t.match(readSocksRequest(bytes(5, 2, 0, 1)), { kind: 'refused', reply: 7 }, 'BIND');
  t.match(readSocksRequest(bytes(5, 3, 0, 1)), { kind: 'refused', reply: 7 }, 'UDP');
  t.match(readSocksRequest(bytes(5, 1, 0, 2)), { kind: 'refused', reply: 8 });
  t.match(readSocksRequest(named('web', 0)), { kind: 'refused', reply: 1 });
  for (const name of ['', 'a b', 'a\nb', 'a\0b', 'ä'])
    t.match(readSocksRequest(named(name, 80)), { kind: 'refused' }, name);
  t.match(readSocksRequest(bytes(5, 1, 1, 1)), { kind: 'invalid' });
  t.match(readSocksRequest(bytes(4, 1, 0, 1)), { kind: 'invalid' });
  t.same([...writeSocksReply(socksReplies.connectionRefused)], [5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
});

t.test('property: a part of a request asks for more, and no bytes make it throw', async (t) => {
  const requests = [
    named('web.shop', 80),
    bytes(5, 1, 0, 1, 1, 2, 3, 4, 0, 80),
    bytes(5, 1, 0, 4, ...Array<number>(16).fill(1), 0, 80),
  ];
  for (const request of requests) {
    for (let end = 0; end < request.length; end++) t.equal(readSocksRequest(request.subarray(0, end)).kind, 'more');
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (any) => {
      readSocksGreeting(any);
      readSocksRequest(any);
    }),
  );
});
