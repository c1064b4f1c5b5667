/** What HTTP is through a waypoint, kind by kind, on real tunnels (docs/waypoint.md, "Protocols"). */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer as createHttp2Server,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { emptyL7Model } from '../../../src/route/model.ts';
import { eventually, within } from '../../support/eventually.ts';
import { fieldValues, rawBackend } from '../../support/raw-backend.ts';
import { http1, http2 } from './client.ts';
import { createHarness, serviceKey } from './harness.ts';

const hello: RequestListener = (request, response) => {
  response.end(`hello ${request.method} ${request.url} ${request.headers.host}`);
};

/** Everything the stream brings, as it grows. */
function collect(stream: Duplex): { readonly text: string } {
  const got = { text: '' };
  stream.on('error', () => {});
  stream.on('data', (chunk: Buffer) => {
    got.text += chunk.toString('latin1');
  });
  return got;
}

const ended = (stream: Duplex) =>
  within('the connection to close', new Promise((resolve) => stream.once('end', resolve).once('close', resolve)));

function session(t: Test, stream: Duplex): ClientHttp2Session {
  const client = connect('http://productpage:9080', { createConnection: () => stream as never });
  client.on('error', () => {});
  t.teardown(() => client.destroy());
  return client;
}

t.test('HTTP/1.0 is refused, unless it is asked for', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const stream = await harness.tunnel();
  stream.write('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
  t.match(await text(stream), /^HTTP\/1\.1 426 /);
});

t.test(
  'HTTP/1.0: a connection for one request, or for more by keep-alive; no Host, no interim responses, no chunks',
  async (t) => {
    const seen: string[] = [];
    const listener: RequestListener = (request, response) => {
      seen.push(`${request.method} ${request.headers.host}`);
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      if (request.url === '/sized') response.setHeader('content-length', 2);
      response.write('o');
      response.end('k');
    };
    const harness = await createHarness(t, { pods: [listener], http10: true });
    const exchange = async (...requests: string[]) => {
      const stream = await harness.tunnel();
      const got = collect(stream);
      for (const [i, request] of requests.entries()) {
        stream.write(request);
        await eventually(
          'the answer',
          () => got.text.split('\r\nok').length + (got.text.match(/\r\n\r\nok/g)?.length ?? 0) > i || stream.destroyed,
        );
      }
      await ended(stream);
      return got.text;
    };
    const plain = await exchange('GET / HTTP/1.0\r\n\r\n');
    t.match(plain, /^HTTP\/1\.1 200 OK\r\n/, 'no interim response before it');
    t.match(plain, /\r\n\r\nok$/, 'no chunks');
    t.match(plain, /connection: close/i);
    t.equal(seen[0], 'GET productpage.default.svc.cluster.local', 'the Service is its host');
    const kept = await exchange(
      'GET /sized HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n',
      'GET /sized HTTP/1.0\r\nHost: a\r\n\r\n',
    );
    t.equal(kept.match(/HTTP\/1\.1 200 OK/g)?.length, 2);
    t.match(kept, /connection: keep-alive/i);
    const coded = await exchange('POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n');
    t.match(coded, /^HTTP\/1\.1 400 /);
  },
);

t.test('order, case and duplicates of fields are kept', async (t) => {
  const backend = rawBackend();
  backend.answer = (_request, socket) =>
    void socket.write(
      'HTTP/1.1 200 Fine\r\nX-One: 1\r\nContent-Length: 2\r\nset-cookie: a\r\nX-TWO: 2\r\nSet-Cookie: b\r\n\r\nok',
    );
  const harness = await createHarness(t, { podKind: 'tcp', pods: [backend.pod] });
  const stream = await harness.tunnel();
  const got = collect(stream);
  stream.write(
    'GET /a HTTP/1.1\r\nX-Zero: 0\r\nHost: a\r\nx-One: 1\r\nAccept: a\r\nX-ONE: 2\r\nAccept: b\r\nConnection: close\r\n\r\n',
  );
  await ended(stream);
  const names = ['x-zero', 'x-one', 'accept'];
  t.same(
    backend.requests[0]?.head.filter((line) => names.includes(line.split(':')[0]?.toLowerCase() ?? '')),
    ['X-Zero: 0', 'x-One: 1', 'Accept: a', 'X-ONE: 2', 'Accept: b'],
  );
  t.same(
    got.text.split('\r\n').filter((line) => /^(x-|set-)/i.test(line)),
    ['X-One: 1', 'set-cookie: a', 'X-TWO: 2', 'Set-Cookie: b'],
  );
});

t.test('Expect: 100 Continue once the body is wanted; a refusal without it, and without the body', async (t) => {
  const backend = rawBackend();
  const harness = await createHarness(t, { podKind: 'tcp', pods: [backend.pod] });
  const ask = 'POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n';
  const stream = await harness.tunnel();
  const got = collect(stream);
  stream.write(ask);
  await eventually('100 Continue', () => got.text.startsWith('HTTP/1.1 100 '));
  stream.write('body');
  await ended(stream);
  t.match(got.text, /HTTP\/1\.1 200 OK[\s\S]*ok$/);
  t.equal(backend.requests[0]?.body, 'body');
  t.same(fieldValues(backend.requests[0]?.head ?? [], 'expect'), []);
  const nobody = await createHarness(t, { pods: ['down'] });
  const refused = await nobody.tunnel();
  const answer = collect(refused);
  refused.write(ask);
  await ended(refused);
  t.match(answer.text, /^HTTP\/1\.1 503 /, 'nobody to read it: the client is not asked for the body');
  const unknown = await harness.tunnel();
  unknown.write('GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n');
  t.match(await text(unknown), /^HTTP\/1\.1 417 /);
});

t.test('interim responses pass, to clients of both versions', async (t) => {
  const listener: RequestListener = (_request, response) => {
    response.writeProcessing();
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    response.end('ok');
  };
  const harness = await createHarness(t, { pods: [listener] });
  const stream = await harness.tunnel();
  const got = collect(stream);
  stream.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await ended(stream);
  t.match(got.text, /^HTTP\/1\.1 102 [\s\S]*HTTP\/1\.1 103 [\s\S]*style\.css[\s\S]*HTTP\/1\.1 200 /);
  const request = session(t, await harness.tunnel()).request({ ':path': '/' });
  const interim: (number | undefined)[] = [];
  request.on('headers', (headers) => void interim.push(headers[':status']));
  t.equal(await text(request), 'ok');
  t.same(interim, [102, 103]);
});

t.test('events of a server pass one by one, none waits for the next', async (t) => {
  let send = (_event: string) => {};
  const listener: RequestListener = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    send = (event) => void response.write(`data: ${event}\n\n`);
  };
  for (const version of ['1.1', '2'] as const) {
    const harness = await createHarness(t, { pods: [listener] });
    const tunnel = await harness.tunnel();
    let stream: Duplex = tunnel;
    if (version === '2') stream = session(t, tunnel).request({ ':path': '/' });
    else tunnel.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const got = collect(stream);
    await eventually('the request to arrive', () => harness.arrived.length === 1);
    for (const event of ['one', 'two', 'three']) {
      await eventually(event, () => {
        if (!got.text.includes(event)) send(event);
        return got.text.includes(`data: ${event}`);
      });
    }
  }
});

t.test('trailers of a response arrive; those of a request are left out', async (t) => {
  const listener: RequestListener = (request, response) => {
    request.resume().once('end', () => {
      response.writeHead(200, { trailer: 'x-sum' });
      response.write(JSON.stringify(request.trailers));
      response.addTrailers({ 'x-sum': '42' });
      response.end();
    });
  };
  const harness = await createHarness(t, { pods: [listener] });
  const stream = await harness.tunnel();
  const got = collect(stream);
  stream.write(
    'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx-a: b\r\n\r\n',
  );
  await ended(stream);
  t.match(got.text, /\{\}\r\n0\r\nx-sum: 42\r\n\r\n$/);
  const { trailers } = await http2(await harness.tunnel(), {}, 'x');
  t.equal(trailers['x-sum'], '42');
});

/** An echo over h1 that checks what RFC 6455 asks of it, or a refusal. */
function webSocketServer(status = 101) {
  const server = createServer((_request, response) => response.writeHead(400).end());
  server.on('upgrade', (request, socket: Socket) => {
    socket.on('error', () => {});
    const key = request.headers['sec-websocket-key'] ?? '';
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    if (status === 101) {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${accept}\r\nx-seen: ${request.method} ${request.url} ${request.headers.host}\r\n\r\n`,
      );
      socket.pipe(socket);
    } else socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno`);
  });
  return server;
}

/** The same by extended CONNECT. */
function webSocketServer2(status = 200) {
  const server = createHttp2Server({ settings: { enableConnectProtocol: true } });
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    const asked = headers[':method'] === 'CONNECT' && headers[':protocol'] === 'websocket';
    if (!asked || headers['sec-websocket-key'] !== undefined) {
      stream.respond({ ':status': 400 }, { endStream: true });
      return;
    }
    stream.respond({ ':status': status, 'x-seen': `GET ${headers[':path']} ${headers[':authority']}` });
    if (status === 200) stream.pipe(stream);
    else stream.end('no');
  });
  return server;
}

const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const opening = `GET /chat?x HTTP/1.1\r\nHost: productpage:9080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`;

for (const to of ['1.1', '2'] as const) {
  const port = { appProtocol: to === '2' ? ('http2' as const) : ('http11' as const) };
  const serverOf = (refuse: boolean) =>
    to === '2' ? webSocketServer2(refuse ? 403 : 200) : webSocketServer(refuse ? 403 : 101);

  t.test(`WebSocket from HTTP/1.1 to an application of HTTP/${to}`, async (t) => {
    const harness = await createHarness(t, { pods: [hello], servers: [serverOf(false) as never], ...port });
    const stream = await harness.tunnel();
    const got = collect(stream);
    stream.write(`${opening}early`);
    await eventually('the early bytes', () => got.text.endsWith('early'));
    t.match(got.text, /^HTTP\/1\.1 101 /);
    t.match(got.text, 'x-seen: GET /chat?x productpage:9080');
    t.match(got.text.toLowerCase(), 'sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=', 'of RFC 6455');
    stream.write('late');
    await eventually('the late bytes', () => got.text.endsWith('earlylate'));
    stream.end();
    await ended(stream);
    await eventually('the report', () => harness.requests.length === 1);
    t.equal(harness.requests[0]?.request.responseCode, 101);
  });

  t.test(`WebSocket from HTTP/2 to an application of HTTP/${to}`, async (t) => {
    const harness = await createHarness(t, { pods: [hello], servers: [serverOf(false) as never], ...port });
    const client = session(t, await harness.tunnel());
    const stream = await chat(client);
    const [head] = await within('the head', once(stream, 'response'));
    t.match(head, { ':status': 200, 'x-seen': 'GET /chat?x productpage:9080', 'sec-websocket-accept': undefined });
    const got = collect(stream);
    stream.write('one');
    await eventually('the bytes back', () => got.text === 'one');
    stream.end('two');
    await ended(stream);
    t.equal(got.text, 'onetwo', 'half-close is kept');
    const again = await chat(client);
    await within('the head', once(again, 'response'));
    again.close(8);
    await eventually('both reports', () => harness.requests.length === 2);
  });

  t.test(`a refused WebSocket of both versions, by an application of HTTP/${to}`, async (t) => {
    const harness = await createHarness(t, { pods: [hello], servers: [serverOf(true) as never], ...port });
    const stream = await harness.tunnel();
    const got = collect(stream);
    stream.write(opening);
    await ended(stream);
    t.match(got.text, /^HTTP\/1\.1 403 [\s\S]*no/);
    const asked = await chat(session(t, await harness.tunnel()));
    const [head] = await within('the head', once(asked, 'response'));
    t.match(head, { ':status': 403 });
    t.equal(await within('its body', text(asked)), 'no');
  });
}

async function chat(client: ClientHttp2Session): Promise<ClientHttp2Stream> {
  if (!client.remoteSettings?.enableConnectProtocol) await within('settings', once(client, 'remoteSettings'));
  const stream = client.request(
    { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/chat?x', 'sec-websocket-version': '13' },
    { endStream: false },
  );
  stream.on('error', () => {});
  return stream;
}

t.test('an application that accepts a WebSocket without the key of RFC 6455 is not believed', async (t) => {
  const backend = rawBackend();
  backend.answer = (_request, socket) =>
    void socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n',
    );
  const harness = await createHarness(t, { podKind: 'tcp', pods: [backend.pod] });
  const stream = await chat(session(t, await harness.tunnel()));
  const [head] = await within('the head', once(stream, 'response'));
  t.match(head, { ':status': 503 });
});

t.test('headers that HTTP cannot carry break their own exchange and nothing else', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const route = {
    ...{ name: 'a', source: undefined, match: undefined, action: { kind: 'respond', status: 200, body: 'x' } },
    ...{ requestHeaders: undefined, responseHeaders: { set: [['x-a', '\u20ac']], add: [], remove: [] } },
    ...{ rewritePath: undefined, rewriteHost: undefined, timeoutMs: undefined, retry: undefined, stages: undefined },
  } as const;
  const ports = { service: serviceKey, port: 9080, appProtocol: 'http11', routes: [route], streams: [] } as const;
  harness.model = { ...emptyL7Model, ports: new Map([[`${serviceKey}:9080`, ports as never]]) };
  await t.rejects(http1(await harness.tunnel()));
  await eventually('the report', () => harness.requests.length === 1);
  harness.model = emptyL7Model;
  t.match(await http1(await harness.tunnel()), { status: 200 });
});

t.test('CONNECT for anything but WebSocket is refused', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const client = session(t, await harness.tunnel());
  if (!client.remoteSettings?.enableConnectProtocol) await within('settings', once(client, 'remoteSettings'));
  const status = async (headers: Record<string, string>) => {
    const stream = client.request({ ':method': 'CONNECT', ...headers }, { endStream: false });
    stream.on('error', () => {});
    const [head] = await within('the head', once(stream, 'response'));
    return head[':status'];
  };
  t.equal(await status({ ':protocol': 'connect-udp', ':path': '/' }), 501);
  t.equal(await status({ ':authority': 'a:80' }), 405);
});

t.test('the time that a gRPC client waits ends its request, unless the route ends it before', async (t) => {
  const server = createHttp2Server();
  const cancelled: number[] = [];
  let opened = 0;
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    opened++;
    stream.resume().once('close', () => cancelled.push(stream.rstCode ?? 0));
  });
  const harness = await createHarness(t, { pods: [hello], servers: [server as never], appProtocol: 'grpc' });
  const call = async (timeout: string) =>
    (
      await http2(
        await harness.tunnel(),
        { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': timeout },
        'x',
      )
    ).headers;
  t.match(await call('50m'), { ':status': 200, 'grpc-status': '4', 'grpc-message': 'upstream request timeout' });
  await eventually('the application to be told', () => cancelled.length === opened);
  const action = {
    kind: 'forward' as const,
    backends: [{ service: serviceKey, port: 9080, weight: 1, requestHeaders: undefined, responseHeaders: undefined }],
  };
  const route = {
    name: 'default/route/0/0',
    source: undefined,
    match: undefined,
    action,
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: 50,
    retry: undefined,
  };
  const ports = { service: serviceKey, port: 9080, appProtocol: 'grpc' as const, routes: [route] };
  harness.model = { ...emptyL7Model, ports: new Map([[`${serviceKey}:9080`, ports as never]]) };
  t.match(await call('1H'), { ':status': 200, 'grpc-status': '14' });
  t.match(await call('nonsense'), { ':status': 200, 'grpc-status': '14' });
});

t.test('HEAD has the length of what is not sent, and the connection goes on', async (t) => {
  const listener: RequestListener = (request, response) => {
    response.setHeader('content-length', 12345);
    response.end(request.method === 'HEAD' ? undefined : 'x'.repeat(12345));
  };
  const harness = await createHarness(t, { pods: [listener] });
  const stream = await harness.tunnel();
  const got = collect(stream);
  stream.write('HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await ended(stream);
  t.equal(got.text.match(/content-length: 12345/gi)?.length, 2);
  t.notMatch(got.text, 'xxx');
});

t.test('requests that wait behind one another keep their order', async (t) => {
  const arrived: string[] = [];
  const listener: RequestListener = (request, response) => {
    arrived.push(request.url ?? '');
    if (request.url === '/slow') setImmediate(() => setImmediate(() => response.end('slow')));
    else response.end('fast');
  };
  const harness = await createHarness(t, { pods: [listener] });
  const stream = await harness.tunnel();
  const got = collect(stream);
  stream.write(
    'POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /fast HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  );
  await ended(stream);
  t.same(arrived, ['/slow', '/fast']);
  t.match(got.text, /slow[\s\S]*fast/);
});

t.test('HTTP/1.1 and HTTP/2 clients of applications of both', async (t) => {
  const h2 = createHttp2Server();
  h2.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.respond({ ':status': 200 });
    stream.end(`hello ${headers[':method']} ${headers[':path']} ${headers[':authority']}`);
  });
  const plain = await createHarness(t, { pods: [hello] });
  const two = await createHarness(t, { pods: [hello], servers: [h2 as never], appProtocol: 'http2' });
  const words = 'hello GET /a productpage:9080';
  for (const harness of [plain, two]) {
    t.equal((await http1(await harness.tunnel(), { path: '/a' })).body, words);
    t.equal((await http2(await harness.tunnel(), { ':method': 'GET', ':path': '/a' })).body, words);
  }
});
