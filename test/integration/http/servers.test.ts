/** HTTP/1.1 and h2c served over byte streams that are no sockets. */
import { request as http1Request } from 'node:http';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { type Duplex, duplexPair } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { type Exchange, respond } from '../../../src/http/exchange.ts';
import { serveH2c } from '../../../src/http/h2c-server.ts';
import { createHttp1Server, serveHttp1 } from '../../../src/http/http1-server.ts';
import { eventually, within } from '../../support/eventually.ts';

interface Served {
  readonly client: Duplex;
  readonly server: Duplex;
  readonly refused: number[];
  readonly connection: { drain(): void; finish(): void };
}

function serve(t: Test, version: '1.1' | '2', exchange: (exchange: Exchange) => void): Served {
  const [client, server] = duplexPair();
  client.on('error', () => {});
  const refused: number[] = [];
  const handlers = { exchange, refused: (status: number) => refused.push(status) };
  const connection = version === '2' ? serveH2c(server, handlers) : serveHttp1(server, handlers);
  t.teardown(() => {
    client.destroy();
    server.destroy();
  });
  return { client, server, refused, connection };
}

/** Sends bytes and returns everything until the server closes. */
async function raw(client: Duplex, bytes: string): Promise<string> {
  client.write(bytes);
  return await within('the connection to close', text(client));
}

const hello = (exchange: Exchange) => respond(exchange, 200, ['X-Case', 'Kept', 'x-dup', '1', 'x-dup', '2'], 'hello');

async function echo(exchange: Exchange): Promise<void> {
  exchange.expectBody();
  const body = exchange.request.body === undefined ? '' : await text(exchange.request.body);
  respond(exchange, 200, [], `${exchange.request.method} ${exchange.request.path}${exchange.request.query} ${body}`);
}

t.test('HTTP/1.1 keeps the connection, the case and the duplicates', async (t) => {
  const { client } = serve(t, '1.1', hello);
  const answer = await raw(
    client,
    'GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  );
  t.equal(answer.split('HTTP/1.1 200 OK').length, 3, 'two responses');
  t.match(answer, 'X-Case: Kept');
  t.match(answer, 'x-dup: 1\r\nx-dup: 2');
});

t.test('bodies by length and in chunks arrive, the path is normalised', async (t) => {
  const { client } = serve(t, '1.1', (exchange) => void echo(exchange));
  const answer = await raw(
    client,
    'POST /a/../b?q HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc' +
      'PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nxy\r\n0\r\n\r\n',
  );
  t.match(answer, 'POST /b?q abc');
  t.match(answer, 'PUT /c xy');
});

t.test('a HEAD response has the length but no body', async (t) => {
  const { client } = serve(t, '1.1', hello);
  const answer = await raw(client, 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  t.match(answer, 'content-length: 5');
  t.notMatch(answer, 'hello');
});

t.test('100 Continue is sent only once the body is wanted', async (t) => {
  const { client } = serve(t, '1.1', (exchange) => void echo(exchange));
  client.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n');
  const first = await within('100 Continue', new Promise<Buffer>((resolve) => client.once('data', resolve)));
  t.match(String(first), 'HTTP/1.1 100 Continue');
  client.write('ok');
  t.match(await text(client), 'POST / ok');
  const refusing = serve(t, '1.1', (exchange) => respond(exchange, 403, [], 'RBAC: access denied'));
  const answer = await raw(
    refusing.client,
    'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n',
  );
  t.ok(answer.startsWith('HTTP/1.1 403'), 'no 100 before a refusal, and the connection is closed');
});

t.test('interim responses, chunked bodies and trailers pass', async (t) => {
  const { client } = serve(t, '1.1', (exchange) => {
    exchange.inform(103, ['link', '</a>; rel=preload']);
    exchange.start(200, [], false);
    exchange.write(Buffer.from('part'));
    exchange.end(['X-Trailer', 'end']);
  });
  const answer = await raw(client, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  t.ok(answer.startsWith('HTTP/1.1 103'));
  t.match(answer, /4\r\npart\r\n0\r\nX-Trailer: end\r\n/);
});

t.test('a head does not wait for a body that is late, and its octets are those that were given', async (t) => {
  for (const late of [true, false]) {
    const { client } = serve(t, '1.1', (exchange) => {
      exchange.start(200, ['x-octets', '\u00e9\u00ff', 'content-length', '4'], false);
      if (!late) exchange.write(Buffer.from('part'));
    });
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    let seen = '';
    const head = new Promise<void>((resolve) => {
      client.on('data', (chunk: Buffer) => {
        seen += chunk.toString('latin1');
        if (seen.includes('\r\n\r\n')) resolve();
      });
    });
    await within('the head', head);
    t.match(seen, 'x-octets: \u00e9\u00ff\r\n');
    client.destroy();
  }
});

t.test('requests with a disputed end are answered 400 and nothing after them is read', async (t) => {
  const next = 'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n';
  const bodies = {
    'two lengths': 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef',
    'length and coding':
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'space before colon': 'GET / HTTP/1.1\r\nHost : a\r\n\r\n',
    'bare line feeds': 'GET / HTTP/1.1\nHost: a\n\n',
    'obsolete folding': 'GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n',
    'no host': 'GET / HTTP/1.1\r\n\r\n',
    'two hosts': 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    'broken escape': 'GET /% HTTP/1.1\r\nHost: a\r\n\r\n',
  };
  for (const [name, bytes] of Object.entries(bodies)) {
    const paths: string[] = [];
    const { client, refused } = serve(t, '1.1', (exchange) => {
      paths.push(exchange.request.path);
      hello(exchange);
    });
    const answer = await raw(client, bytes + next);
    t.ok(answer.startsWith('HTTP/1.1 400'), `${name}: ${answer.slice(0, 40)}`);
    t.same(paths, [], `${name}: no request was taken`);
    t.same(refused, [400], name);
  }
});

t.test('CONNECT, HTTP/1.0 and too many headers are refused', async (t) => {
  const many = Array.from({ length: 300 }, (_, i) => `x-${i}: 1\r\n`).join('');
  const cases: [string, string][] = [
    ['CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n', '405'],
    ['GET / HTTP/1.0\r\nHost: a\r\n\r\n', '426'],
    [`GET / HTTP/1.1\r\nHost: a\r\n${many}\r\n`, '431'],
    [`GET / HTTP/1.1\r\nHost: a\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`, '431'],
  ];
  for (const [bytes, status] of cases) {
    const { client } = serve(t, '1.1', hello);
    t.match(await raw(client, bytes), new RegExp(`^HTTP/1.1 ${status} `), status);
  }
});

t.test('WebSocket upgrades hand over the bytes; other upgrades are plain requests', async (t) => {
  const { client } = serve(t, '1.1', (exchange) => {
    if (exchange.request.upgrade === undefined) return hello(exchange);
    const stream = exchange.switchProtocols(['sec-websocket-accept', 'x']);
    stream.pipe(stream);
  });
  client.write('GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly');
  let got = '';
  client.on('data', (chunk) => {
    got += chunk;
    if (got.endsWith('early')) client.write('late');
    if (got.endsWith('late')) client.end();
  });
  await within('the echo to end', new Promise((resolve) => client.once('end', resolve)));
  t.match(got, /^HTTP\/1.1 101 [\s\S]*sec-websocket-accept: x\r\n\r\nearlylate$/);
  const other = serve(t, '1.1', hello);
  t.match(
    await raw(other.client, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n'),
    /^HTTP\/1.1 200/,
  );
  const refused = serve(t, '1.1', (exchange) => respond(exchange, 403, [], 'no'));
  t.match(
    await raw(refused.client, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
    /^HTTP\/1.1 403/,
  );
});

t.test('many upgrades that nobody offers, on one connection, leave nothing behind on it', async (t) => {
  const { client, server } = serve(t, '1.1', hello);
  let got = '';
  client.on('data', (chunk) => {
    got += chunk;
  });
  const listeners = () => server.eventNames().map((name) => `${String(name)} ${server.listenerCount(name)}`);
  const ask = async (times: number) => {
    const answers = got.split('hello').length + times;
    for (let i = 0; i < times; i++)
      client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
    await eventually('the answers', () => got.split('hello').length === answers);
  };
  await ask(2);
  const before = listeners();
  await ask(30);
  t.same(listeners(), before);
});

t.test('a client that leaves is reported once, as incomplete', async (t) => {
  const closed = new Promise<boolean>((resolve) => {
    const { client, server } = serve(t, '1.1', (exchange) => {
      exchange.onClosed(resolve);
      exchange.start(200, [], false);
      exchange.write(Buffer.from('x'));
      server.destroy(new Error('reset by the client'));
    });
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    client.resume();
  });
  t.equal(await within('the close to be reported', closed), false);
});

t.test('a client that finishes sending still gets its response', async (t) => {
  const { client } = serve(t, '1.1', (exchange) => setImmediate(() => setImmediate(() => hello(exchange))));
  client.end('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  t.match(await within('the response', text(client)), /hello$/);
});

t.test('a reset response never looks whole', async (t) => {
  const { client } = serve(t, '1.1', (exchange) => {
    exchange.start(200, [], false);
    exchange.write(Buffer.from('part'));
    setImmediate(() => exchange.reset());
  });
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  let got = '';
  client.on('data', (chunk) => {
    got += chunk;
  });
  await within('the break', new Promise((resolve) => client.once('close', resolve).once('end', resolve)));
  t.notMatch(got, '0\r\n\r\n', 'no last chunk');
});

t.test('a head that does not end in time is answered 408; bodies and idle connections have no deadline', async (t) => {
  const hasty = createHttp1Server(50);
  const open = () => {
    const [client, server] = duplexPair();
    const refused: number[] = [];
    const handlers = { exchange: echo, refused: (status: number) => refused.push(status) };
    serveHttp1(server, handlers, { server: hasty });
    t.teardown(() => {
      client.destroy();
      server.destroy();
    });
    return { client, refused };
  };
  const whole = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
  const idle = open();
  idle.client.write(whole);
  await within('its answer', new Promise((resolve) => idle.client.once('data', resolve)));
  const uploading = open();
  uploading.client.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\na');
  for (const before of ['', whole]) {
    const slow = open();
    const answer = await raw(slow.client, `${before}GET / HTTP/1.1\r\nHos`);
    t.same(answer.match(/HTTP\/1.1 \d+/g), before === '' ? ['HTTP/1.1 408'] : ['HTTP/1.1 200', 'HTTP/1.1 408']);
    t.same(slow.refused, [408]);
  }
  t.match(await raw(uploading.client, 'b'), 'PUT / ab');
  t.match(await raw(idle.client, whole.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')), '200 OK');
});

t.test('nothing is written into a response under way about a late head behind it', async (t) => {
  const [client, server] = duplexPair();
  client.on('error', () => {});
  t.teardown(() => client.destroy());
  const exchange = (exchange: Exchange) => {
    exchange.start(200, ['content-length', '1000'], false);
    exchange.write(Buffer.from('begun'));
  };
  serveHttp1(server, { exchange, refused: () => {} }, { server: createHttp1Server(50) });
  let got = '';
  client.on('data', (chunk) => {
    got += chunk;
  });
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT');
  await within('the break', new Promise((resolve) => client.once('close', resolve).once('end', resolve)));
  t.match(got, /begun$/);
});

t.test('draining serves what was sent before the client could know, and says that it was the last', async (t) => {
  const crossing = serve(t, '1.1', hello);
  crossing.connection.drain();
  t.match(await raw(crossing.client, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'), /connection: close[\s\S]*hello/i);
  const busy = serve(t, '1.1', (exchange) => {
    busy.connection.drain();
    hello(exchange);
  });
  t.match(await raw(busy.client, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'), 'hello');
});

t.test('a response that began before the drain promised another: that one is served, too', async (t) => {
  const { client, connection } = serve(t, '1.1', (exchange) => {
    exchange.start(200, [], false);
    exchange.write(Buffer.from('begun'));
    setImmediate(() => {
      connection.drain();
      exchange.end();
    });
  });
  let got = '';
  client.on('data', (chunk: Buffer) => {
    got += chunk.toString();
    if (got.endsWith('0\r\n\r\n') && got.split('begun').length === 2) client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  });
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await within('the last response', new Promise((resolve) => client.once('end', resolve)));
  t.equal(got.split('begun').length, 3, 'two responses');
  t.match(got, /connection: keep-alive[\s\S]*connection: close/i);
});

t.test('once clients had the time to know, idle connections end, and busy ones with their response', async (t) => {
  const idle = serve(t, '1.1', hello);
  idle.connection.drain();
  idle.connection.finish();
  t.equal(await within('the idle connection to end', text(idle.client)), '');
  const busy = serve(t, '1.1', (exchange) => {
    exchange.start(200, [], false);
    exchange.write(Buffer.from('begun'));
    setImmediate(() => {
      busy.connection.drain();
      busy.connection.finish();
      exchange.end();
    });
  });
  t.match(await raw(busy.client, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'), 'begun');
});

t.test('an HTTP/2 stream that crosses the GOAWAY of a drain is told that it may be asked again', async (t) => {
  const [client, near] = duplexPair();
  const [far, server] = duplexPair();
  const connection = serveH2c(server, { exchange: hello, refused: () => {} });
  far.pipe(near);
  near.pipe(far);
  const session = h2client(t, client);
  t.equal(await within('the first answer', text(session.request({ ':path': '/' }))), 'hello');
  // What the client sends from now on is on its way.
  near.unpipe(far);
  const crossing = session.request({ ':path': '/' });
  crossing.on('error', () => {});
  await eventually('it to be sent', () => near.readableLength > 0);
  connection.drain();
  await within('the refusal', new Promise((resolve) => crossing.once('close', resolve)));
  t.equal(crossing.rstCode, constants.NGHTTP2_REFUSED_STREAM);
  near.pipe(far);
  await within('the end', new Promise((resolve) => session.once('close', resolve)));
});

function h2client(t: Test, client: Duplex): ClientHttp2Session {
  const session = connect('http://a', { createConnection: () => client as never });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  return session;
}

t.test('h2c carries bodies, trailers, interim responses and duplicates', async (t) => {
  const { client } = serve(t, '2', async (exchange) => {
    exchange.inform(103, ['link', 'x']);
    const body = exchange.request.body === undefined ? '' : await text(exchange.request.body);
    exchange.start(200, ['X-Dup', '1', 'x-dup', '2'], false);
    exchange.write(Buffer.from(body));
    exchange.end(['grpc-status', '0']);
  });
  const stream = h2client(t, client).request({ ':method': 'POST', ':path': '/s/m', te: 'trailers' });
  const interim = new Promise((resolve) => stream.once('headers', (headers) => resolve(headers[':status'])));
  const trailers = new Promise<string>((resolve) =>
    stream.once('trailers', (got) => resolve(String(got['grpc-status']))),
  );
  const head = new Promise<string>((resolve) => stream.once('response', (got) => resolve(String(got['x-dup']))));
  stream.end('message');
  t.equal(await text(stream), 'message');
  t.equal(await interim, 103);
  t.equal(await head, '1, 2');
  t.equal(await trailers, '0');
});

t.test('an upload that the client resets does not look whole', async (t) => {
  const outcome = new Promise<string>((resolve) => {
    const { client } = serve(t, '2', (exchange) => {
      const body = exchange.request.body;
      body?.once('data', () => stream.close(8));
      body?.once('end', () => resolve('end'));
      body?.once('error', () => resolve('error'));
    });
    // Without waiting for trailers Node's client would send END_STREAM before the reset.
    const stream = h2client(t, client).request(
      { ':method': 'POST', ':path': '/' },
      { endStream: false, waitForTrailers: true },
    );
    stream.on('error', () => {});
    stream.write('part');
  });
  t.equal(await within('the body to be over', outcome), 'error');
});

t.test('a reset h2c response is a stream error for the client', async (t) => {
  const { client } = serve(t, '2', (exchange) => {
    exchange.start(200, [], false);
    exchange.write(Buffer.from('part'));
    setImmediate(() => exchange.reset());
  });
  const stream = h2client(t, client).request({ ':path': '/' });
  stream.resume();
  const error = await within('the error', new Promise<Error>((resolve) => stream.once('error', resolve)));
  t.match(error.message, 'INTERNAL_ERROR');
});

t.test(
  'a client that has its whole h2c response may be kept from sending more, and takes it for no error',
  async (t) => {
    const closed: boolean[] = [];
    const { client } = serve(t, '2', (exchange) => {
      exchange.onClosed((complete) => void closed.push(complete));
      respond(exchange, 403, [], 'no');
    });
    const exchanges: Exchange[] = [];
    const other = serve(t, '2', (exchange) => {
      exchange.onClosed((complete) => void closed.push(complete));
      exchanges.push(exchange);
      respond(exchange, 403, [], 'no');
    });
    const waiting = h2client(t, client).request({ ':method': 'POST', ':path': '/' }, { endStream: false });
    t.equal(await within('the response', text(waiting)), 'no');
    t.same(closed, [], 'the request goes on');
    const stream = h2client(t, other.client).request({ ':method': 'POST', ':path': '/' }, { endStream: false });
    stream.write('part');
    t.equal(await within('the response', text(stream)), 'no');
    exchanges[0]?.reset();
    await eventually('the end of the stream', () => stream.closed);
    t.equal(stream.rstCode, constants.NGHTTP2_NO_ERROR);
    t.same(closed, [true], 'the response was whole');
  },
);

t.test('malformed h2c requests are answered 400, CONNECT 405', async (t) => {
  const { client } = serve(t, '2', hello);
  const session = h2client(t, client);
  const status = (headers: Record<string, string>) =>
    new Promise((resolve) => {
      const stream = session.request(headers, { endStream: true });
      stream.on('error', resolve).once('response', (got) => resolve(got[':status']));
      stream.resume();
    });
  t.equal(await status({ ':path': '/a%00' }), 400);
  t.equal(await status({ ':path': '/', ':authority': 'a', host: 'b' }), 400);
  t.equal(await status({ ':method': 'CONNECT', ':authority': 'a:80' }), 405);
  t.equal(await status({ ':path': '/' }), 200);
});

t.test('an ordinary HTTP client is content with it', async (t) => {
  const { client } = serve(t, '1.1', hello);
  const body = await new Promise<string>((resolve, reject) => {
    const request = http1Request({ createConnection: () => client as never, host: 'a', path: '/' }, (response) =>
      text(response).then(resolve, reject),
    );
    request.on('error', reject);
    request.end();
  });
  t.equal(body, 'hello');
});
