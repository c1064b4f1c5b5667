/** What is asked of both proxies: each request as its bytes, so that nothing corrects it on the way. */

export interface DifferentialRequest {
  readonly name: string;
  /** `$ID` stands for the header by which the application is recognised, `$TOKEN(claims)` for a signed token. */
  readonly text: string;
}

type Header = readonly [name: string, value: string];

function request(
  name: string,
  target: string,
  { method = 'GET', host = 'echo', headers = [], body = '' }: RequestFields = {},
): DifferentialRequest {
  const length: Header[] = body === '' ? [] : [['content-length', String(body.length)]];
  const lines = [['host', host] as const, ...headers, ...length].map(([key, value]) => `${key}: ${value}\r\n`);
  return { name, text: `${method} ${target} HTTP/1.1\r\n${lines.join('')}$ID\r\n\r\n${body}` };
}

interface RequestFields {
  readonly method?: string;
  readonly host?: string;
  readonly headers?: readonly Header[];
  readonly body?: string;
}

function raw(name: string, text: string): DifferentialRequest {
  return { name, text };
}

const routing = [
  ['an exact path', '/exact'],
  ['an exact path and a slash', '/exact/'],
  ['an exact path and a query', '/exact?b=2'],
  ['a prefix alone', '/prefix'],
  ['a prefix and a slash', '/prefix/'],
  ['a prefix and more', '/prefix/a/b?c=d'],
  ['a prefix inside a segment', '/prefixed'],
  ['a prefix that is stripped', '/strip'],
  ['a stripped prefix and a slash', '/strip/'],
  ['a stripped prefix and more', '/strip/a?b'],
  ['a stripped prefix and two slashes', '/strip//a'],
  ['a query parameter', '/x?a=1'],
  ['a query parameter that is repeated, first the other', '/x?a=2&a=1'],
  ['a query parameter with an escape', '/x?a=%31'],
  ['a query parameter without a value', '/x?a'],
  ['a redirect of a prefix', '/redirect/x?y=z'],
  ['a redirect of a prefix alone', '/redirect'],
  ['a redirect to another host', '/away/x?y'],
].map(([name = '', target = '']) => request(name, target));

const paths = [
  '/a/../exact',
  '/a/./b',
  '/../exact',
  '/a/..',
  '/a/b/.',
  '/%2e%2e/exact',
  '/a/%2E%2e/exact',
  '/%65xact',
  '/%7Euser',
  '/exact%2Fx',
  '/a%2f..%2fexact',
  '//exact',
  '/exact//',
  '/a//../exact',
  '/a//b',
  '/\\exact',
  '/a\\..\\exact',
  '/a%5cb',
  '/exact#fragment',
  '/x?a=b#fragment',
  '/exact;p=1',
  '/a/..;/exact',
  '/exact%00',
  '/exact%zz',
  '/exact%',
  '/%252e%252e/exact',
  '/x?a=%zz',
  '/?/../exact',
  '/x?a=/../b',
  '/\xe9',
  '/%c3%a9',
  '/%C3%A9',
  '/a%20b',
  '/a"b<c>',
  '/a[b]{c}|^`',
  '/~!$&()*+,;=:@',
  'exact',
  '*',
  'http://other.example/exact',
  'http://other.example',
  'HTTP://other.example/a/../exact',
  'https://other.example/exact',
].map((target) => request(`path ${JSON.stringify(target)}`, target));

const fields: readonly (readonly [name: string, headers: readonly Header[]])[] = [
  [
    'a header that Connection names',
    [
      ['connection', 'x-drop'],
      ['x-drop', '1'],
    ],
  ],
  ['Connection: close', [['connection', 'close']]],
  [
    'Connection: keep-alive and Keep-Alive',
    [
      ['connection', 'keep-alive'],
      ['keep-alive', 'timeout=5'],
    ],
  ],
  ['Proxy-Connection', [['proxy-connection', 'keep-alive']]],
  ['Proxy-Authorization', [['proxy-authorization', 'Basic eDp5']]],
  [
    'TE: trailers',
    [
      ['te', 'trailers'],
      ['connection', 'te'],
    ],
  ],
  [
    'TE: gzip',
    [
      ['te', 'gzip'],
      ['connection', 'te'],
    ],
  ],
  [
    'Upgrade: h2c',
    [
      ['connection', 'upgrade, http2-settings'],
      ['upgrade', 'h2c'],
      ['http2-settings', 'AAMAAABkAAQAAP__'],
    ],
  ],
  ['Trailer', [['trailer', 'x-later']]],
  [
    'a repeated header',
    [
      ['x-a', '1'],
      ['x-a', '2'],
    ],
  ],
  [
    'a repeated header that is matched',
    [
      ['x-version', 'one'],
      ['x-version', 'two'],
    ],
  ],
  [
    'a matched header twice the same',
    [
      ['x-version', 'two'],
      ['x-version', 'two'],
    ],
  ],
  ['a matched header with spaces around', [['x-version', '   two  ']]],
  ['a matched header in another case', [['X-VERSION', 'two']]],
  [
    'repeated cookies',
    [
      ['cookie', 'a=1'],
      ['cookie', 'b=2'],
    ],
  ],
  ['X-Forwarded-For', [['x-forwarded-for', '203.0.113.9, 10.0.0.1']]],
  ['X-Forwarded-Proto', [['x-forwarded-proto', 'https']]],
  ['X-Forwarded-Proto that is no scheme', [['x-forwarded-proto', 'gopher']]],
  [
    'X-Forwarded-Host and X-Forwarded-Port',
    [
      ['x-forwarded-host', 'a.example'],
      ['x-forwarded-port', '99'],
    ],
  ],
  ['Forwarded', [['forwarded', 'for=203.0.113.9']]],
  ['X-Request-Id', [['x-request-id', 'mine']]],
  ['X-Forwarded-Client-Cert', [['x-forwarded-client-cert', 'By=spiffe://a/ns/b/sa/c;URI=spiffe://a/ns/b/sa/admin']]],
  [
    'x-envoy headers that steer Envoy',
    [
      ['x-envoy-retry-on', '5xx'],
      ['x-envoy-max-retries', '9'],
      ['x-envoy-upstream-rq-timeout-ms', '1'],
    ],
  ],
  [
    'x-envoy headers that tell',
    [
      ['x-envoy-external-address', '203.0.113.9'],
      ['x-envoy-internal', 'true'],
    ],
  ],
  ['x-envoy-original-path', [['x-envoy-original-path', '/denied']]],
  ['an Istio header', [['x-istio-attributes', 'abc']]],
  [
    'baggage and traceparent',
    [
      ['baggage', 'a=b'],
      ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
    ],
  ],
  ['a name with an underscore', [['x_a', '1']]],
  ['an empty value', [['x-empty', '']]],
  ['a value with bytes beyond ASCII', [['x-high', 'caf\xe9']]],
  ['a value with a tab', [['x-tab', 'a\tb']]],
  ['Expect of another kind', [['expect', '200-ok']]],
  [
    'Range and If-Match',
    [
      ['range', 'bytes=0-1'],
      ['if-match', '"a"'],
    ],
  ],
];

const hosts: readonly DifferentialRequest[] = [
  request('a Host with a port', '/', { host: 'echo:8080' }),
  request('a Host in capitals', '/', { host: 'ECHO.Example' }),
  request('a Host with a dot behind', '/', { host: 'echo.' }),
  request('an empty Host', '/', { host: '' }),
  request('a Host with a user', '/', { host: 'user@echo' }),
  request('a Host with a slash', '/', { host: 'echo/x' }),
  request('an IPv6 Host', '/', { host: '[::1]:80' }),
  raw('no Host', 'GET / HTTP/1.1\r\n$ID\r\n\r\n'),
  raw('two Hosts', 'GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n$ID\r\n\r\n'),
];

const framing: readonly DifferentialRequest[] = [
  request('a body with a length', '/', { method: 'POST', body: 'hello' }),
  raw(
    'a chunked body',
    'POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\n$ID\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ),
  raw(
    'Transfer-Encoding in capitals',
    'POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: CHUNKED\r\n$ID\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ),
  raw(
    'an extension of a chunk',
    'POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\n$ID\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n',
  ),
  raw(
    'a length and chunks',
    'POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n$ID\r\n\r\n0\r\n\r\n',
  ),
  raw(
    'two lengths that differ',
    'POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\ncontent-length: 6\r\n$ID\r\n\r\nhello!',
  ),
  raw(
    'two equal lengths',
    'POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\ncontent-length: 5\r\n$ID\r\n\r\nhello',
  ),
  raw('a length with a sign', 'POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: +5\r\n$ID\r\n\r\nhello'),
  raw('an unknown coding', 'POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: gzip, chunked\r\n$ID\r\n\r\n0\r\n\r\n'),
  raw('chunked twice', 'POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked, chunked\r\n$ID\r\n\r\n0\r\n\r\n'),
  raw(
    'a size of a chunk that is no number',
    'POST / HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\n$ID\r\n\r\nxyz\r\n\r\n',
  ),
  raw('a space before the colon', 'GET / HTTP/1.1\r\nhost : echo\r\n$ID\r\n\r\n'),
  raw('a folded header', 'GET / HTTP/1.1\r\nhost: echo\r\nx-a: 1\r\n 2\r\n$ID\r\n\r\n'),
  raw('a header without a colon', 'GET / HTTP/1.1\r\nhost: echo\r\nnonsense\r\n$ID\r\n\r\n'),
  raw('a NUL in a header', 'GET / HTTP/1.1\r\nhost: echo\r\nx-a: 1\x002\r\n$ID\r\n\r\n'),
  raw('bare line feeds', 'GET / HTTP/1.1\nhost: echo\n$ID\n\n'),
  raw('empty lines before the request', '\r\n\r\nGET / HTTP/1.1\r\nhost: echo\r\n$ID\r\n\r\n'),
  raw('HTTP/1.0', 'GET / HTTP/1.0\r\nhost: echo\r\n$ID\r\n\r\n'),
  raw('HTTP/1.0 without Host', 'GET / HTTP/1.0\r\n$ID\r\n\r\n'),
  raw('HTTP/3.7', 'GET / HTTP/3.7\r\nhost: echo\r\n$ID\r\n\r\n'),
  raw('a method in small letters', 'get / HTTP/1.1\r\nhost: echo\r\n$ID\r\n\r\n'),
  raw('an unknown method', 'BREW / HTTP/1.1\r\nhost: echo\r\n$ID\r\n\r\n'),
  raw('two spaces in the request line', 'GET  / HTTP/1.1\r\nhost: echo\r\n$ID\r\n\r\n'),
  raw('CONNECT', 'CONNECT echo:80 HTTP/1.1\r\nhost: echo:80\r\n$ID\r\n\r\n'),
  raw('TRACE', 'TRACE / HTTP/1.1\r\nhost: echo\r\n$ID\r\n\r\n'),
  request('HEAD', '/', { method: 'HEAD' }),
  request('DELETE, which a route matches', '/x', { method: 'DELETE' }),
  request('a header of 70 KiB', '/', { headers: [['x-large', 'x'.repeat(70_000)]] }),
  request('120 headers', '/', { headers: Array.from({ length: 117 }, (_, i) => [`x-${i}`, '1'] as const) }),
];

const echo = (wishes: Readonly<Record<string, string>>): readonly Header[] =>
  Object.entries(wishes).map(([name, value]) => [`x-echo-${name}`, value] as const);

const outcomes: readonly DifferentialRequest[] = [
  request('headers of a request and a response that are changed', '/headers', {
    headers: [
      ['x-set', 'theirs'],
      ['x-add', 'theirs'],
      ['x-gone', '1'],
      ...echo({ headers: 'x-set=t;x-add=t;x-gone=t' }),
    ],
  }),
  request('two failures, two retries', '/retry', { headers: echo({ status: '503', fail: '2' }) }),
  request('three failures, two retries', '/retry', { headers: echo({ status: '503', fail: '3' }) }),
  request('a status that is not retried', '/retry', { headers: echo({ status: '500', fail: '1' }) }),
  request('a body that is sent again', '/retry', {
    method: 'POST',
    body: 'hello',
    headers: [['idempotency-key', 'one'], ...echo({ status: '503', fail: '1' })],
  }),
  request('a POST that was answered', '/retry', {
    method: 'POST',
    body: 'hello',
    headers: echo({ status: '503', fail: '1' }),
  }),
  request('a broken connection where retries are asked for', '/retry', { headers: echo({ reset: '1', fail: '1' }) }),
  // A POST: a GET on a kept connection is tried again by Ambit alone (docs/upstreams.md).
  request('a broken connection without a retry setting', '/', { method: 'POST', headers: echo({ reset: '1' }) }),
  request('in time', '/timeout', {}),
  request('too late', '/timeout', { headers: echo({ 'delay-ms': '2000' }) }),
  request('the first attempt too late', '/per-try', { headers: echo({ 'delay-ms': '2000', fail: '1' }) }),
  request('every attempt too late', '/per-try', { headers: echo({ 'delay-ms': '2000' }) }),
  request('hop-by-hop headers of a response', '/', {
    headers: echo({ headers: 'x-kept=1;keep-alive=timeout%3D5;te=gzip' }),
  }),
  request('x-envoy and server headers of a response', '/', {
    headers: echo({ headers: 'server=theirs;x-envoy-overloaded=true' }),
  }),
];

const denials = [
  '/denied',
  '/Denied',
  '/denied/',
  '/denied/x',
  '/deniedx',
  '/denied?a',
  '/denied;x',
  '/denied%2fx',
  '/%64enied',
  '/%2564enied',
  '//denied',
  '/a/../denied',
  '/a/%2e%2e/denied',
  '/a\\..\\denied',
  '/./denied',
  '/a/..;/denied',
  '/a/%2e%2e;x=1/denied',
  '/denied%20',
  '/denied%00',
  '/denied#x',
].map((target) => request(`denied? ${JSON.stringify(target)}`, target));

const verdicts: readonly DifferentialRequest[] = [
  request('a denied method', '/', { method: 'PATCH' }),
  request('a denied host', '/', { host: 'denied.example' }),
  request('a denied host in capitals', '/', { host: 'DENIED.example' }),
  request('a denied host with a port', '/', { host: 'denied.example:80' }),
  request('a denied host in an absolute target', 'http://denied.example/'),
  request('a denied header', '/', { headers: [['x-deny', 'yes']] }),
  request('a denied header among others of its name', '/', {
    headers: [
      ['x-deny', 'no'],
      ['x-deny', 'yes'],
    ],
  }),
  request('a denied header in other letters', '/', { headers: [['X-Deny', 'YES']] }),
];

const bearer = (claims: object, key = 'main'): readonly Header[] => [
  ['authorization', `Bearer $TOKEN(${JSON.stringify({ key, claims })})`],
];
const good = { iss: 'issuer@test', sub: 'me', aud: 'ours' };
const nowSec = Math.floor(Date.now() / 1000);

const tokens: readonly DifferentialRequest[] = [
  request('token: good', '/', { headers: bearer(good) }),
  request('token: one of several audiences', '/', { headers: bearer({ ...good, aud: ['other', 'ours'] }) }),
  request('token: wrong audience', '/', { headers: bearer({ ...good, aud: 'other' }) }),
  request('token: no audience', '/', { headers: bearer({ iss: good.iss, sub: good.sub }) }),
  request('token: wrong issuer', '/', { headers: bearer({ ...good, iss: 'other@test' }) }),
  request('token: signed by a stranger', '/', { headers: bearer(good, 'stranger') }),
  request('token: expired', '/', { headers: bearer({ ...good, exp: nowSec - 3600 }) }),
  request('token: expired half a minute ago', '/', { headers: bearer({ ...good, exp: nowSec - 30 }) }),
  request('token: not yet valid', '/', { headers: bearer({ ...good, nbf: nowSec + 3600 }) }),
  request('token: nonsense', '/', { headers: [['authorization', 'Bearer nonsense']] }),
  request('token: an empty one', '/', { headers: [['authorization', 'Bearer ']] }),
  request('token: another scheme', '/', { headers: [['authorization', 'Basic eDp5']] }),
  request('token: bearer in small letters', '/', { headers: [['authorization', 'bearer nonsense']] }),
  request('token: in the query', '/?access_token=nonsense'),
  request('token: none is algorithm', '/', {
    headers: [['authorization', 'Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJpc3N1ZXJAdGVzdCIsImF1ZCI6Im91cnMifQ.']],
  }),
  request('token: a preflight with a bad one', '/', {
    method: 'OPTIONS',
    headers: [
      ['origin', 'https://a.example'],
      ['access-control-request-method', 'GET'],
      ['authorization', 'Bearer nonsense'],
    ],
  }),
];

export const differentialRequests: readonly DifferentialRequest[] = [
  ...routing,
  ...paths,
  ...fields.map(([name, headers]) => request(name, '/', { headers })),
  ...hosts,
  ...framing,
  ...outcomes,
  ...denials,
  ...verdicts,
  ...tokens,
];
