/** Which lists of fields are messages of HTTP/2 (RFC 9113 §8.1–8.3, §8.5). */
import t from 'tap';
import { malformedRequest, malformedResponse, malformedTrailers } from '../../../../src/hbone/http2/check-fields.ts';

const tunnel = [':method', 'CONNECT', ':authority', '10.0.0.1:80'];
const get = [':method', 'GET', ':scheme', 'https', ':path', '/', ':authority', 'a.example'];

t.test('requests as they should be', async (t) => {
  const good: string[][] = [
    tunnel,
    [':authority', '[fe80::1]:80', ':method', 'CONNECT'],
    [
      ...tunnel,
      'forwarded',
      'for=10.0.0.1',
      'baggage',
      'k8s.cluster.name=a',
      'traceparent',
      '00-ab-cd-01',
      'te',
      'trailers',
    ],
    [...tunnel, 'x', '', 'x', 'a\tb', 'x', 'é', 'te', 'Trailers', 'host', 'other.example'],
    get,
    [':method', 'GET', ':scheme', 'http', ':path', '/', 'host', 'a'],
    [':method', 'OPTIONS', ':scheme', 'https', ':path', '*', ':authority', 'a'],
    [':method', 'GET', ':scheme', 'urn', ':path', 'a:b', ':authority', 'a'],
    [':method', 'GET', ':scheme', 'a+b', ':path', 'a:b', ':authority', 'a'],
    [...get, 'content-length', '0'],
    [...get, 'content-length', '9223372036854775807'],
    [...get, 'content-length', `${'0'.repeat(1000)}9223372036854775807`],
  ];
  for (const fields of good) t.equal(malformedRequest(fields), undefined, fields.join(' '));
});

t.test('malformed requests, and why', async (t) => {
  const bad: [why: string, fields: string[]][] = [
    [':method is missing', []],
    [':method is missing', [':authority', 'a']],
    [':method is missing', ['forwarded', 'a', ...tunnel]],
    [':method twice', [...tunnel, ':method', 'CONNECT']],
    [':authority twice', [...tunnel, ':authority', '10.0.0.1:80']],
    [':scheme twice', [...get, ':scheme', 'https']],
    [':path twice', [...get, ':path', '/']],
    ['CONNECT without :authority', [':method', 'CONNECT', 'host', 'a']],
    ['invalid :authority', [':method', 'CONNECT', ':authority', '']],
    ['CONNECT with :scheme or :path', [...tunnel, ':scheme', 'https']],
    ['CONNECT with :scheme or :path', [':path', '/', ...tunnel]],
    ['unknown pseudo-header field', [...tunnel, ':protocol', 'websocket']],
    ['unknown pseudo-header field', [...tunnel, ':status', '200']],
    ['unknown pseudo-header field', [...tunnel, ':', '']],
    ['pseudo-header field out of place', [...tunnel, 'a', 'b', ':scheme', 'https']],
    ['invalid :method', [':method', '', ':authority', 'a']],
    ['invalid :method', [':method', 'GE T', ':authority', 'a']],
    ['invalid :authority', [':method', 'CONNECT', ':authority', 'a b']],
    ['invalid :authority', [':method', 'CONNECT', ':authority', 'a/b']],
    ['invalid :authority', [':method', 'CONNECT', ':authority', 'a\n']],
    [':scheme is missing', [':method', 'GET', ':path', '/', ':authority', 'a']],
    [':path is missing', [':method', 'GET', ':scheme', 'https', ':authority', 'a']],
    ['invalid :path', [':method', 'GET', ':scheme', 'https', ':path', '', ':authority', 'a']],
    ['invalid :path', [':method', 'GET', ':scheme', 'https', ':path', 'a', ':authority', 'a']],
    ['invalid :path', [':method', 'GET', ':scheme', 'http', ':path', 'a', ':authority', 'a']],
    ['invalid :path', [':method', 'OPTIONS', ':scheme', 'http', ':path', 'a', ':authority', 'a']],
    ['invalid :path', [':method', 'GET', ':scheme', 'HTTPS', ':path', '*', ':authority', 'a']],
    ['invalid :path', [':method', 'GET', ':scheme', 'https', ':path', '/ ', ':authority', 'a']],
    ['invalid :authority', [':method', 'CONNECT', ':authority', 'me@a']],
    ['invalid :scheme', [':method', 'GET', ':scheme', '1a', ':path', '/', ':authority', 'a']],
    ['invalid :scheme', [':method', 'GET', ':scheme', '', ':path', '/', ':authority', 'a']],
    ['neither :authority nor host', [':method', 'GET', ':scheme', 'https', ':path', '/']],
    ['invalid value of host', [':method', 'GET', ':scheme', 'https', ':path', '/', 'host', '']],
    ['host twice', [...tunnel, 'host', 'a', 'host', 'a']],
  ];
  for (const [why, fields] of bad) t.equal(malformedRequest(fields), why, JSON.stringify(fields));
});

t.test('malformed fields, in each kind of message', async (t) => {
  const bad: [why: string, name: string, value: string][] = [
    ['invalid field name', 'Forwarded', 'a'],
    ['invalid field name', '', 'a'],
    ['invalid field name', 'a b', 'a'],
    ['invalid field name', 'a:', 'a'],
    ['invalid field name', 'a\r\nb', 'a'],
    ['invalid field name', 'é', 'a'],
    ['pseudo-header field out of place', ':x', 'a'],
    ...['\0', '\r', '\n', 'a\r\nb', ' a', 'a ', '\ta', 'a\t', ' ', '\x01', '\x7f'].map(
      (value): [string, string, string] => ['invalid value of a', 'a', value],
    ),
    ...['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade'].map(
      (name): [string, string, string] => [`connection-specific field ${name}`, name, 'a'],
    ),
    ['te other than trailers', 'te', 'gzip'],
    ['te other than trailers', 'te', 'trailers, gzip'],
    ['te other than trailers', 'te', ''],
    ...['', '-1', '+1', '1a', '1,1', '0x1', '9223372036854775808', '9'.repeat(100_000)].map(
      (value): [string, string, string] => ['invalid value of content-length', 'content-length', value],
    ),
  ];
  for (const [why, name, value] of bad) {
    const said = JSON.stringify([name, value.slice(0, 40)]);
    t.equal(malformedRequest([...tunnel, 'z', '', name, value]), why, said);
    t.equal(malformedResponse([':status', '200', 'z', '', name, value]), why);
    t.equal(malformedTrailers(['z', '', name, value]), why);
  }
  const twice = ['content-length', '1', 'content-length', '1'];
  t.equal(malformedRequest([...tunnel, ...twice]), 'content-length twice');
  t.equal(malformedResponse([':status', '200', ...twice]), 'content-length twice');
});

t.test('responses', async (t) => {
  for (const fields of [
    [':status', '200'],
    [':status', '503', 'content-length', '4'],
    [':status', '100'],
    [':status', '204', 'content-length', '0'],
  ]) {
    t.equal(malformedResponse(fields), undefined, fields.join(' '));
  }
  const bad: [why: string, fields: string[]][] = [
    [':status is not the first field', []],
    [':status is not the first field', ['a', 'b', ':status', '200']],
    [':status is not the first field', tunnel],
    ['pseudo-header field out of place', [':status', '200', ':status', '200']],
    ['pseudo-header field out of place', [':status', '200', ':path', '/']],
    ['invalid :status', [':status', '20']],
    ['invalid :status', [':status', '2000']],
    ['invalid :status', [':status', '2 0']],
    ['invalid :status', [':status', '']],
    ['status 101', [':status', '101']],
    ['content-length in an interim response', [':status', '103', 'content-length', '0']],
    ['content-length with status 204', [':status', '204', 'content-length', '1']],
  ];
  for (const [why, fields] of bad) t.equal(malformedResponse(fields), why, JSON.stringify(fields));
});

t.test('trailers', async (t) => {
  t.equal(malformedTrailers([]), undefined);
  t.equal(malformedTrailers(['grpc-status', '0']), undefined);
  t.equal(malformedTrailers([':status', '200']), 'pseudo-header field out of place');
});
