/**
 * Resets of HTTP/2 streams against real sessions of node:http2 (RFC 9113 §8.5): what is sent, and what is made of what
 * other peers send. A regression here turns a truncated body into a whole one.
 */
import { once } from 'node:events';
import { connect, constants, createServer, type Http2Stream, type ServerHttp2Stream } from 'node:http2';
import t, { type Test } from 'tap';
import { TunnelEnd } from '../../../src/hbone/node-http2/tunnel-end.ts';
import { eventually } from '../../support/eventually.ts';
import { addressOf } from '../../support/relay-world.ts';

const codes = {
  CANCEL: constants.NGHTTP2_CANCEL,
  INTERNAL_ERROR: constants.NGHTTP2_INTERNAL_ERROR,
  NO_ERROR: constants.NGHTTP2_NO_ERROR,
  CONNECT_ERROR: constants.NGHTTP2_CONNECT_ERROR,
};

/** A stream both ways; `own` belongs to a TunnelEnd, `peer` is raw. */
async function streams(t: Test, ownSide: 'client' | 'server') {
  const server = createServer();
  server.on('session', (session) => {
    session.on('error', () => {});
    t.teardown(() => session.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const session = connect(`http://127.0.0.1:${addressOf(server).port}`);
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  const client = session.request({ ':method': 'CONNECT', ':authority': 'x:1' }, { waitForTrailers: true });
  client.on('error', () => {});
  const endOfClient = ownSide === 'client' ? new TunnelEnd(client, 'upstream') : undefined;
  const [accepted] = (await once(server, 'stream')) as [ServerHttp2Stream];
  accepted.on('error', () => {});
  const end = endOfClient ?? new TunnelEnd(accepted, 'downstream');
  accepted.respond({ ':status': 200 }, { waitForTrailers: true });
  await once(client, 'response');
  const events: string[] = [];
  end.start({
    data: (chunk) => events.push(chunk.toString()),
    end: () => events.push('end'),
    drain: () => {},
    closed: () => events.push('closed'),
    broken: (_error, whole) => events.push(whole ? 'broken, whole' : 'broken'),
  });
  const peer: Http2Stream = ownSide === 'client' ? accepted : client;
  return { end, peer, events };
}

/** END_STREAM of a raw peer that waits for trailers. */
function endRaw(peer: Http2Stream): void {
  peer.on('wantTrailers', () => {
    if (!peer.closed) peer.sendTrailers({});
  });
  peer.end();
}

for (const side of ['client', 'server'] as const) {
  for (const ended of [false, true]) {
    const when = ended ? ', our side having ended' : '';
    for (const [name, code] of Object.entries(codes)) {
      t.test(`${side}: RST_STREAM(${name}) in mid-body is never an end${when}`, async (t) => {
        const { end, peer, events } = await streams(t, side);
        peer.resume();
        if (ended) {
          end.end();
          await once(peer, 'end');
        }
        peer.write('partial');
        await eventually('bytes', () => events.length > 0);
        peer.close(code);
        await eventually('broken', () => events.length > 1);
        t.same(events, ['partial', 'broken']);
      });
    }

    t.test(`${side}: END_STREAM is an end, and both of them are closed${when}`, async (t) => {
      const { end, peer, events } = await streams(t, side);
      peer.resume();
      if (ended) end.end();
      peer.write('all of it');
      endRaw(peer);
      await eventually('end', () => events.includes('end'));
      if (!ended) end.end();
      await eventually('closed', () => events.includes('closed'));
      t.same(events, ['all of it', 'end', 'closed']);
    });
  }

  t.test(`${side}: after END_STREAM, RST_STREAM(NO_ERROR) leaves the body whole`, async (t) => {
    const { peer, events } = await streams(t, side);
    peer.write('all of it');
    endRaw(peer);
    await eventually('end', () => events.includes('end'));
    peer.close(constants.NGHTTP2_NO_ERROR);
    await eventually('broken', () => events.length === 3);
    t.same(events, ['all of it', 'end', 'broken, whole']);
  });

  t.test(
    `${side}: END_STREAM together with RST_STREAM(CANCEL), as Node's destroy sends them, is a reset`,
    async (t) => {
      const { peer, events } = await streams(t, side);
      peer.write('partial');
      await eventually('bytes', () => events.length > 0);
      peer.on('wantTrailers', () => peer.sendTrailers({}));
      peer.close(constants.NGHTTP2_CANCEL);
      await eventually('broken', () => events.length > 1);
      t.same(events, ['partial', 'broken']);
    },
  );

  for (const cut of ['reset', 'cancel'] as const) {
    t.test(`${side}: ${cut} sends RST_STREAM and no END_STREAM before it`, async (t) => {
      const { end, peer } = await streams(t, side);
      end.write(Buffer.from('partial'));
      await once(peer, 'data');
      let pushedEnd = false;
      const push = peer.push;
      peer.push = (chunk, encoding) => {
        if (chunk === null && !peer.closed) pushedEnd = true;
        return push.call(peer, chunk, encoding);
      };
      end[cut]();
      await once(peer, 'close').catch(() => {});
      t.equal(peer.rstCode, cut === 'reset' ? codes.CONNECT_ERROR : codes.CANCEL);
      t.equal(pushedEnd, false);
    });
  }

  t.test(`${side}: destroyWhenFinished lets everything out before it stops the peer`, async (t) => {
    const { end, peer } = await streams(t, side);
    const chunks: Buffer[] = [];
    peer.on('data', (chunk: Buffer) => chunks.push(chunk));
    end.write(Buffer.alloc(30_000, 1));
    end.destroyWhenFinished();
    await once(peer, 'end');
    t.equal(Buffer.concat(chunks).length, 30_000);
    await eventually('stopped', () => peer.closed);
    t.equal(peer.rstCode, codes.NO_ERROR);
  });
}

t.test('server: END_STREAM on the request’s HEADERS is an end without bytes', async (t) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const session = connect(`http://127.0.0.1:${addressOf(server).port}`);
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  const client = session.request({ ':method': 'CONNECT', ':authority': 'x:1' }, { endStream: true });
  client.resume();
  const [accepted] = (await once(server, 'stream')) as [ServerHttp2Stream];
  const end = new TunnelEnd(accepted, 'downstream');
  accepted.respond({ ':status': 200 }, { waitForTrailers: true });
  const events: string[] = [];
  end.start({
    data: () => events.push('data'),
    end: () => events.push('end'),
    drain: () => {},
    closed: () => events.push('closed'),
    broken: () => events.push('broken'),
  });
  await eventually('end', () => events.length > 0);
  end.end();
  await once(client, 'end');
  await eventually('closed', () => events.length > 1);
  t.same(events, ['end', 'closed']);
});
