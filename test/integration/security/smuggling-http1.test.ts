/**
 * Tricks with HTTP/1.1 requests, one row each, through real tunnels to a byte-exact application. One request in is one
 * request out; or a clear refusal, the connection closed and nothing behind the trick read as a request.
 */
import type { Duplex } from 'node:stream';
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { fieldValues, rawBackend } from '../../support/raw-backend.ts';
import { createHarness } from '../waypoint/harness.ts';

const backend = rawBackend();
const harness = await createHarness(t, { podKind: 'tcp', pods: [backend.pod] });

/** Sends the bytes and reads until the connection has closed. */
async function exchange(bytes: string, name = 'the connection'): Promise<string> {
  const stream = await harness.tunnel();
  stream.on('error', () => {});
  stream.write(Buffer.from(bytes, 'latin1'));
  return await within(`${name} to close`, readAll(stream));
}

function readAll(stream: Duplex): Promise<string> {
  let got = '';
  stream.on('data', (chunk: Buffer) => {
    got += chunk.toString('latin1');
  });
  return new Promise((resolve) => stream.once('close', () => resolve(got)).once('end', () => resolve(got)));
}

const statuses = (answer: string) => [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

const get = (target: string, ...fields: string[]) =>
  `GET ${target} HTTP/1.1\r\n${['Host: a', ...fields].map((field) => `${field}\r\n`).join('')}\r\n`;
const post = (fields: readonly string[], body: string) =>
  `POST /post HTTP/1.1\r\nHost: a\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n${body}`;
const chunked = (body: string) => post(['Transfer-Encoding: chunked'], body);
/** What an attacker wants to be taken for a request of its own. */
const smuggled = get('/smuggled');

const refused: Readonly<Record<string, string>> = {
  'two content-lengths': post(['Content-Length: 5', 'Content-Length: 6'], 'abcdef'),
  'two equal content-lengths': post(['Content-Length: 5', 'Content-Length: 5'], 'abcde'),
  'a list of content-lengths': post(['Content-Length: 5, 5'], 'abcde'),
  'a signed content-length': post(['Content-Length: +5'], 'abcde'),
  'a negative content-length': post(['Content-Length: -1'], ''),
  'a hexadecimal content-length': post(['Content-Length: 0x5'], 'abcde'),
  'a content-length with a fraction': post(['Content-Length: 5.0'], 'abcde'),
  'a content-length with digits and more': post(['Content-Length: 5abc'], 'abcde'),
  'an empty content-length': post(['Content-Length:'], 'abcde'),
  'a content-length beyond 64 bits': post(['Content-Length: 99999999999999999999'], 'abcde'),
  'a content-length that wraps 64 bits to 5': post(['Content-Length: 18446744073709551621'], 'abcde'),
  'length, then coding': post(['Content-Length: 5', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
  'coding, then length': post(['Transfer-Encoding: chunked', 'Content-Length: 5'], '0\r\n\r\n'),
  'length zero beside a coding': post(['Content-Length: 0', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
  'length beside a coding that is none': post(['Content-Length: 5', 'Transfer-Encoding: xchunked'], 'abcde'),
  'coding xchunked': post(['Transfer-Encoding: xchunked'], '0\r\n\r\n'),
  'coding identity': post(['Transfer-Encoding: identity'], ''),
  'coding chunked, identity': post(['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'),
  'coding identity, chunked': post(['Transfer-Encoding: identity, chunked'], '0\r\n\r\n'),
  'coding gzip, chunked': post(['Transfer-Encoding: gzip, chunked'], '0\r\n\r\n'),
  'coding chunked, chunked': post(['Transfer-Encoding: chunked, chunked'], '0\r\n\r\n'),
  'coding chunked twice': post(['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
  'coding chunked and identity': post(['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], '0\r\n\r\n'),
  'coding with a parameter': post(['Transfer-Encoding: chunked;q=1'], '0\r\n\r\n'),
  'coding in quotes': post(['Transfer-Encoding: "chunked"'], '0\r\n\r\n'),
  'coding behind a vertical tab': post(['Transfer-Encoding: \x0bchunked'], '0\r\n\r\n'),
  'coding before a NUL': post(['Transfer-Encoding: chunked\0'], '0\r\n\r\n'),
  'an empty coding': post(['Transfer-Encoding:'], '0\r\n\r\n'),
  'coding with a space before the colon': post(['Transfer-Encoding : chunked'], '0\r\n\r\n'),
  'length with a space before the colon': post(['Content-Length : 5'], 'abcde'),
  'length with a tab before the colon': post(['Content-Length\t: 5'], 'abcde'),
  'coding behind a space': post([' Transfer-Encoding: chunked'], '0\r\n\r\n'),
  'coding on a folded line': post(['X-A: b', ' Transfer-Encoding: chunked'], '0\r\n\r\n'),
  'a folded coding': post(['Transfer-Encoding:', ' chunked'], '0\r\n\r\n'),
  'a folded line': get('/', 'X-A: b', '\tc'),
  'a first field line that is folded': 'GET / HTTP/1.1\r\n Host: a\r\n\r\n',
  'line feeds alone': 'GET / HTTP/1.1\nHost: a\n\n',
  'one line feed alone': 'GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n',
  'a line feed alone at the end of the head': 'GET / HTTP/1.1\r\nHost: a\r\n\n',
  'a line feed inside a value': get('/', 'X-A: b\nTransfer-Encoding: chunked'),
  'carriage returns alone': 'GET / HTTP/1.1\rHost: a\r\r',
  'a carriage return inside a value': get('/', 'X-A: b\rTransfer-Encoding: chunked'),
  'a carriage return before the end of a line': get('/', 'X-A: b\r'),
  'NUL in a value': get('/', 'X-A: b\0c'),
  'NUL in a name': get('/', 'X\0A: b'),
  'a control character in a value': get('/', 'X-A: b\x01c'),
  'DEL in a value': get('/', 'X-A: b\x7fc'),
  'a name with a space': get('/', 'X A: b'),
  'a name with a colon before it': get('/', ': b'),
  'a line without a colon': get('/', 'GET /smuggled HTTP/1.1'),
  'a name of octets': get('/', 'X\xe9: b'),
  'a name in parentheses': get('/', '(X): b'),
  'no Host': 'GET / HTTP/1.1\r\n\r\n',
  'an empty Host': 'GET / HTTP/1.1\r\nHost:\r\n\r\n',
  'two Hosts': get('/', 'Host: b'),
  'two equal Hosts': get('/', 'Host: a'),
  'a list of Hosts': 'GET / HTTP/1.1\r\nHost: a, b\r\n\r\n',
  'Host with a user': 'GET / HTTP/1.1\r\nHost: user@a\r\n\r\n',
  'Host with a path': 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
  'Host with a bad port': 'GET / HTTP/1.1\r\nHost: a:b\r\n\r\n',
  'an authority with a user': get('http://user@a/'),
  'an authority with a user that looks like a host': get('http://a:80@b/'),
  'an empty authority': get('http:///'),
  'a target of another scheme': get('ftp://a/'),
  'a target that is an authority': get('a:80'),
  'a target that is nothing': 'GET  HTTP/1.1\r\nHost: a\r\n\r\n',
  'a target with a space': get('/a b'),
  'a target with a tab': get('/a\tb'),
  'a target with a NUL': get('/a\0b'),
  'a target with octets': get('/\xe9'),
  'a target with a fragment': get('/a#b'),
  'a target with an escaped NUL': get('/a%00'),
  'a target with a broken escape': get('/a%zz'),
  'a target with escaped line ends is a path, a raw one is none': 'GET /a\r\n HTTP/1.1\r\nHost: a\r\n\r\n',
  'an asterisk': get('*'),
  'a tab before the version': 'GET /\tHTTP/1.1\r\nHost: a\r\n\r\n',
  'a version with more digits': 'GET / HTTP/1.10\r\nHost: a\r\n\r\n',
  'a version of tomorrow': 'GET / HTTP/1.2\r\nHost: a\r\n\r\n',
  'version 2.0 in words': 'GET / HTTP/2.0\r\nHost: a\r\n\r\n',
  'version 0.9 in words': 'GET / HTTP/0.9\r\nHost: a\r\n\r\n',
  'a version in lower case': 'GET / http/1.1\r\nHost: a\r\n\r\n',
  'a simple request of 0.9': 'GET /\r\n',
  'text behind the version': 'GET / HTTP/1.1 x\r\nHost: a\r\n\r\n',
  'a method of octets': 'G\xcbT / HTTP/1.1\r\nHost: a\r\n\r\n',
  'a method with a NUL': 'G\0T / HTTP/1.1\r\nHost: a\r\n\r\n',
  'a method that nobody knows': 'SMUGGLE / HTTP/1.1\r\nHost: a\r\n\r\n',
  'CONNECT inside the tunnel': 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n',
  'an expectation that nobody knows': post(['Expect: 200-ok', 'Content-Length: 0'], ''),
  'the preface of HTTP/2 behind a request': `${get('/%zz')}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
};

/** Their head is good, so they are forwarded until the fault is found. */
const broken: Readonly<Record<string, string>> = {
  'a chunk size with 0x': chunked('0x3\r\nabc\r\n0\r\n\r\n'),
  'a signed chunk size': chunked('+3\r\nabc\r\n0\r\n\r\n'),
  'a negative chunk size': chunked('-3\r\nabc\r\n0\r\n\r\n'),
  'an empty chunk size': chunked('\r\nabc\r\n0\r\n\r\n'),
  'a chunk size beyond 64 bits': chunked('10000000000000003\r\nabc\r\n0\r\n\r\n'),
  'a chunk size with a space before it': chunked(' 3\r\nabc\r\n0\r\n\r\n'),
  'a chunk size with a space inside': chunked('3 3\r\nabc\r\n0\r\n\r\n'),
  'a chunk size that is a word': chunked('xyz\r\nabc\r\n0\r\n\r\n'),
  'a chunk longer than its size': chunked('3\r\nabcd\r\n0\r\n\r\n'),
  'a chunk without an end of line': chunked('3\r\nabc0\r\n\r\n'),
  'a chunk size with a line feed alone': chunked('3\nabc\r\n0\r\n\r\n'),
  'a chunk that ends with a line feed alone': chunked('3\r\nabc\n0\r\n\r\n'),
  'a chunk that ends with a carriage return alone': chunked('3\r\nabc\r0\r\n\r\n'),
  'a chunk extension with a line feed': chunked('3;a\nabc\r\n0\r\n\r\n'),
  'a chunk extension with a carriage return': chunked('3;a\rb\r\nabc\r\n0\r\n\r\n'),
  'a chunk extension with a NUL': chunked('3;a=\0\r\nabc\r\n0\r\n\r\n'),
  'chunk extensions without end': chunked(`3;${'a'.repeat(20_000)}\r\nabc\r\n0\r\n\r\n`),
  'a last chunk with a line feed alone': chunked('3\r\nabc\r\n0\n\n'),
  'a length among the trailers': chunked('3\r\nabc\r\n0\r\nContent-Length: 50\r\n\r\n'),
  'a coding among the trailers': chunked('3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'),
  'a trailer with a line feed alone': chunked('3\r\nabc\r\n0\r\nX-A: b\n\r\n'),
  'a trailer with a NUL': chunked('3\r\nabc\r\n0\r\nX-A: \0\r\n\r\n'),
  'a folded trailer': chunked('3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n'),
  'a trailer with a space before the colon': chunked('3\r\nabc\r\n0\r\nX-A : b\r\n\r\n'),
};

/** One request for the application, with this as its body. */
const one: Readonly<Record<string, readonly [bytes: string, body: string]>> = {
  'a length': [post(['Content-Length: 5'], 'abcde'), 'abcde'],
  'a length with spaces around it': [post(['Content-Length: \t 5 \t '], 'abcde'), 'abcde'],
  'a length with zeros before it': [post(['Content-Length: 0005'], 'abcde'), 'abcde'],
  'a coding behind a tab': [post(['Transfer-Encoding:\tchunked'], '3\r\nabc\r\n0\r\n\r\n'), 'abc'],
  'a coding in capitals': [post(['TRANSFER-ENCODING: CHUNKED'], '3\r\nabc\r\n0\r\n\r\n'), 'abc'],
  'a name with an underscore is another header': [
    post(['Transfer_Encoding: chunked', 'Content-Length: 5'], 'abcde'),
    'abcde',
  ],
  'chunk sizes in capitals with zeros': [chunked('00A\r\nabcdefghij\r\n0\r\n\r\n'), 'abcdefghij'],
  'chunk extensions': [chunked('3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n'), 'abc'],
  trailers: [chunked('3\r\nabc\r\n0\r\nX-A: b\r\n\r\n'), 'abc'],
  'a Host among the trailers': [chunked('3\r\nabc\r\n0\r\nHost: evil\r\n\r\n'), 'abc'],
  'GET with a body': [`${get('/', 'Content-Length: 3')}abc`, 'abc'],
  'GET with a body in chunks': [`${get('/', 'Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\n\r\n`, 'abc'],
  'a body that looks like a request': [post([`Content-Length: ${smuggled.length}`], smuggled), smuggled],
  'a chunk that looks like a last one': [chunked('5\r\n0\r\n\r\n\r\n0\r\n\r\n'), '0\r\n\r\n'],
  'a length that Connection names': [post(['Connection: content-length', 'Content-Length: 5'], 'abcde'), 'abcde'],
  'a coding that Connection names': [
    post(['Connection: transfer-encoding', 'Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n'),
    'abc',
  ],
  'a Host that Connection names': [get('/', 'Connection: host'), ''],
  'two spaces before the version': ['GET /  HTTP/1.1\r\nHost: a\r\n\r\n', ''],
  'an empty line before the request': [`\r\n${get('/')}`, ''],
  'an absolute target': [get('http://b/x'), ''],
  'an absolute target without a path': [get('http://b'), ''],
  'a target with two slashes': [get('//evil/x'), ''],
  'a target with escaped line ends': [get('/a%0d%0aX-B:%20c'), ''],
  'an upgrade to h2c': [
    get('/', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'),
    '',
  ],
  'an upgrade to h2c with a body': [
    post(['Connection: Upgrade', 'Upgrade: h2c', `Content-Length: ${smuggled.length}`], smuggled),
    smuggled,
  ],
  'an upgrade to something else': [get('/', 'Connection: Upgrade', 'Upgrade: TLS/1.0'), ''],
  'an upgrade to websocket by POST': [
    post(['Connection: Upgrade', 'Upgrade: websocket', 'Content-Length: 3'], 'abc'),
    'abc',
  ],
  'an upgrade to websocket with a body': [
    `${get('/', 'Connection: Upgrade', 'Upgrade: websocket', 'Content-Length: 3')}abc`,
    'abc',
  ],
  'an upgrade without Connection': [get('/', 'Upgrade: websocket'), ''],
};

const openers = Object.entries(refused);
t.test('refused, and nothing behind it is read', async (t) => {
  for (const [name, bytes] of openers) {
    const before = backend.requests.length;
    const answer = await exchange(bytes + smuggled, name);
    const [first, ...others] = statuses(answer);
    t.ok([400, 405, 417, 426, 501, 505].includes(first ?? 0), `${name}: refused (${answer.slice(0, 30)})`);
    t.same(others, [], `${name}: with one answer`);
    t.equal(backend.requests.length, before, `${name}: the application saw nothing`);
  }
});

t.test('broken off where the fault is, and nothing behind it is read', async (t) => {
  for (const [name, bytes] of Object.entries(broken)) {
    const before = backend.requests.length;
    const answer = await exchange(bytes + smuggled, name);
    t.same(
      statuses(answer).filter((status) => status < 400),
      [],
      `${name}: no success (${answer.slice(0, 30)})`,
    );
    t.ok(statuses(answer).length <= 1, `${name}: one answer at most`);
    t.equal(backend.requests.length, before, `${name}: the application saw no whole request`);
  }
  t.notMatch(backend.leftover(), 'smuggled');
});

t.test('one request in is one request out, and the next one is the next one', async (t) => {
  for (const [name, [bytes, body]] of Object.entries(one)) {
    const before = backend.requests.length;
    const answer = await exchange(bytes + get('/next', 'Connection: close'), name);
    t.same(statuses(answer), [200, 200], `${name}: two answers (${answer.slice(0, 30)})`);
    const [first, next, ...others] = backend.requests.slice(before);
    t.equal(first?.body, body, `${name}: its body`);
    t.match(next?.head[0], /^GET \/next HTTP/, `${name}: then the next`);
    t.same(others, [], `${name}: and no other`);
    for (const { head } of backend.requests.slice(before)) {
      t.equal(fieldValues(head, 'host').length, 1, `${name}: one Host`);
      t.ok(fieldValues(head, 'content-length').length + fieldValues(head, 'transfer-encoding').length <= 1);
      const hop = ['upgrade', 'http2-settings', 'te', 'trailer', 'expect'].flatMap((field) => fieldValues(head, field));
      t.same(hop, [], `${name}: nothing of the hop before`);
    }
  }
});

t.test('the target of a request in absolute form is its authority, whatever Host says', async (t) => {
  const before = backend.requests.length;
  await exchange(get('http://b:81/x?y', 'Connection: close'));
  const head = backend.requests[before]?.head ?? [];
  t.match(head[0], /^GET \/x\?y HTTP\/1\.1$/);
  t.same(fieldValues(head, 'host'), ['b:81']);
});

t.test('nothing is read behind a request that closes the connection', async (t) => {
  const before = backend.requests.length;
  t.same(statuses(await exchange(get('/last', 'Connection: close') + smuggled)), [200]);
  t.same(
    backend.requests.slice(before).map(({ head }) => head[0]),
    ['GET /last HTTP/1.1'],
  );
});

t.test('what follows an upgrade that was refused is never a request', async (t) => {
  const before = backend.requests.length;
  const upgrade = get('/ws', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 9');
  backend.answer = (_request, socket) => {
    socket.write('HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\n\r\n');
  };
  const answer = await exchange(upgrade + smuggled);
  t.same(statuses(answer), [426]);
  await eventually('the report', () => harness.requests.length > 0);
  t.same(
    backend.requests.slice(before).map(({ head }) => head[0]),
    ['GET /ws HTTP/1.1'],
  );
});
