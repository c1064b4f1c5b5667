/** The server name in a TLS client's first flight, against what OpenSSL sends, in pieces, and spoilt. */
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import fc from 'fast-check';
import t from 'tap';
import { longestClientHello, readClientHello } from '../../../src/net/client-hello.ts';

/** What Node's client writes first. */
function helloOf(servername: string | undefined): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        resolve(chunk);
        done();
      },
    });
    const client = connect({ socket, ...(servername === undefined ? {} : { servername }) });
    client.on('error', () => {});
  });
}

t.test('the name is found as soon as all of the hello is there, and not before', async (t) => {
  const bytes = await helloOf('Web.Example.COM');
  for (let length = 1; length < bytes.length; length += 7) {
    t.equal(readClientHello(bytes.subarray(0, length)), undefined, `${length} bytes`);
  }
  t.same(readClientHello(bytes), { kind: 'hello', serverName: 'web.example.com' });
  t.same(readClientHello(Buffer.concat([bytes, Buffer.from('more')])), {
    kind: 'hello',
    serverName: 'web.example.com',
  });
});

t.test('a client that names nobody has no name', async (t) => {
  t.same(readClientHello(await helloOf(undefined)), { kind: 'hello', serverName: undefined });
});

t.test('a hello in several records is one; in very many it is not believed', async (t) => {
  const bytes = await helloOf('web.example.com');
  const message = bytes.subarray(5);
  const inRecords = (size: number) => {
    const records: Buffer[] = [];
    for (let at = 0; at < message.length; at += size) {
      const part = message.subarray(at, at + size);
      records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
    }
    return Buffer.concat(records);
  };
  t.same(readClientHello(inRecords(Math.ceil(message.length / 3))), { kind: 'hello', serverName: 'web.example.com' });
  t.same(readClientHello(inRecords(2)), { kind: 'other' });
});

t.test('what is no TLS, too long, or names no host is told at once', async (t) => {
  const first = (text: string | readonly number[]) => readClientHello(Buffer.from(text as string));
  t.same(first('GET / HTTP/1.1\r\n'), { kind: 'other' });
  t.same(first('\x16\x02'), { kind: 'other' }, 'SSL 2');
  t.same(first([22, 3, 1, 0, 5, 2]), { kind: 'other' }, 'a server hello');
  t.same(first([22, 3, 1, 0, 4, 1, 1, 0, 0]), { kind: 'other' }, `a message above ${longestClientHello}`);
  const bytes = await helloOf('web.example.com');
  const spoilt = Buffer.from(bytes);
  spoilt.write('we b', bytes.indexOf('web.example.com'));
  t.same(readClientHello(spoilt), { kind: 'other' });
});

t.test('nothing a client sends throws, and a name is a host name', async (t) => {
  const bytes = await helloOf('web.example.com');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 8 }),
      fc.nat(bytes.length),
      (changes, cut) => {
        const spoilt = Buffer.from(bytes);
        for (const [at, value] of changes) spoilt[at] = value;
        const read = readClientHello(spoilt.subarray(0, cut));
        if (read?.kind === 'hello' && read.serverName !== undefined && !/^[a-z0-9._-]{1,255}$/.test(read.serverName)) {
          throw new Error(read.serverName);
        }
      },
    ),
    { numRuns: 3000 },
  );
  t.pass();
});
