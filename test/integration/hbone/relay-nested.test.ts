/** Tunnels inside tunnels: who must prove what, how sessions are shared behind a gateway, and every wait's deadline. */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { ConnectRequest, ConnectVerdict, OpenOutcome } from '../../../src/hbone/seam.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { onEachEngine } from '../../support/http2-engines.ts';
import {
  behindGateway,
  clientId,
  gatewayId,
  makeWorld,
  outerLeg,
  readAll,
  serverId,
  streamsLeft,
} from '../../support/relay-world.ts';

const echo = (): ConnectVerdict => ({ kind: 'bytes', headers: [], receive: (stream) => void stream.pipe(stream) });

function opened(outcome: OpenOutcome): Duplex {
  if (outcome.kind !== 'open') throw new Error(`not open: ${JSON.stringify(outcome)}`);
  return outcome.stream;
}

async function echoed(stream: Duplex, text: string): Promise<string> {
  stream.end(text);
  return (await within('the echo', readAll(stream))).data.toString();
}

await onEachEngine('gateway and server each prove their own id, and see their own authority', async (t, make) => {
  const inner: ConnectRequest[] = [];
  const world = await makeWorld(t, behindGateway(make), {
    onConnect: (request) => {
      inner.push(request);
      return echo();
    },
  });
  const request = { ...world.request(), authority: 'reviews.shop.svc.cluster.local:80' };
  const outcome = await world.client.open({ ...request, headers: [['x-forwarded-network', 'west']] });
  t.match(outcome, { established: { peerIdentity: serverId, peer: world.gateway?.address } });
  t.equal(await echoed(opened(outcome), 'through both'), 'through both');
  t.match(world.gatewayRequests[0], {
    peerIdentity: clientId,
    localIdentity: gatewayId,
    authority: outerLeg.authority,
  });
  t.equal(world.gatewayRequests[0]?.header('x-forwarded-network'), undefined, 'the outer tunnel names no network');
  t.match(inner[0], { peerIdentity: clientId, localIdentity: serverId, authority: request.authority });
  t.equal(inner[0]?.header('x-forwarded-network'), 'west');
});

await onEachEngine('nothing is sent to a gateway or a server that is somebody else', async (t, make) => {
  const world = await makeWorld(t, behindGateway(make), { onConnect: echo });
  const wrongGateway = world.request({ outer: { ...outerLeg, expectedIdentities: [serverId] } });
  t.match(await world.client.open(wrongGateway), {
    kind: 'failed',
    error: { code: 'HBONE_IDENTITY', message: /^the peer is .*east, expected .*server/ },
  });
  t.equal(world.gatewayRequests.length, 0, 'a wrong gateway is told nothing');
  for (const expectedIdentities of [[gatewayId], []]) {
    t.match(await world.client.open(world.request({ expectedIdentities })), {
      kind: 'failed',
      error: { code: 'HBONE_IDENTITY', message: /^behind the gateway 127.0.0.1:\d+: the peer is .*server/ },
    });
  }
  await eventually('outer tunnels are given up', () => world.gatewayRequests.every(({ gone }) => gone.cancelled));
});

await onEachEngine('a refusal says whose it was', async (t, make) => {
  const closedGateway = await makeWorld(t, behindGateway(make), {
    onGateway: () => ({ kind: 'refuse', status: 404, headers: [] }),
  });
  t.match(await closedGateway.client.open(closedGateway.request()), {
    kind: 'failed',
    error: { code: 'HBONE_GATEWAY_REFUSED', message: /answered 404 to the CONNECT for shop\.example:80/ },
  });
  const denied = await makeWorld(t, behindGateway(make), {
    onConnect: () => ({ kind: 'refuse', status: 401, headers: [] }),
  });
  t.match(await denied.client.open(denied.request()), { kind: 'refused', status: 401 });
});

await onEachEngine('inner sessions are shared, in turn, and each for a minute only', async (t, make) => {
  const clientClock = new FakeClock();
  const world = await makeWorld(t, behindGateway(make), { clientClock, onConnect: echo });
  for (let i = 0; i < 40; i++) t.equal(await echoed(opened(await world.client.open(world.request())), 'x'), 'x');
  t.equal(world.gatewayRequests.length, 8, 'eight sessions for forty connections');
  const held = opened(await world.client.open(world.request()));
  await clientClock.advanceAsync(60_000);
  await eventually(
    'the idle ones went',
    () => world.gatewayRequests.filter(({ gone }) => !gone.cancelled).length === 1,
  );
  t.equal(await echoed(opened(await world.client.open(world.request())), 'x'), 'x');
  t.equal(world.gatewayRequests.length, 9, 'a new session');
  t.equal(await echoed(held, 'still here'), 'still here');
});

await onEachEngine('every wait behind a gateway has a deadline', async (t, make) => {
  let asked = 0;
  const silent = () => {
    asked++;
    return new Promise<ConnectVerdict>(() => {});
  };
  const deaf = (): ConnectVerdict => {
    asked++;
    return { kind: 'bytes', headers: [], receive: (stream) => void stream.resume() };
  };
  const cases = [
    { name: 'CONNECT to the gateway', code: 'HBONE_ANSWER_TIMEOUT', mute: { onGateway: silent } },
    { name: 'TLS inside', code: 'HBONE_TLS_TIMEOUT', mute: { onGateway: deaf } },
    { name: 'CONNECT inside', code: 'HBONE_ANSWER_TIMEOUT', mute: { onConnect: silent } },
  ];
  for (const { name, code, mute } of cases) {
    asked = 0;
    const clientClock = new FakeClock();
    const world = await makeWorld(t, behindGateway(make), { onConnect: echo, ...mute, clientClock });
    const opening = world.client.open(world.request());
    await eventually(name, () => asked > 0);
    // The answer to the outer CONNECT is still on its way.
    for (let beat = 0; beat < 5; beat++) {
      await clientClock.advanceAsync(10_000);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    t.match(await within(name, opening), { kind: 'failed', error: { code } }, name);
    await eventually('nothing is left', () => streamsLeft(world) === 0);
  }
});

await onEachEngine('a gateway that goes takes its tunnels along, as resets', async (t, make) => {
  const world = await makeWorld(t, behindGateway(make));
  const client = await world.connect();
  const app = await within('the application connection', world.accepted());
  const seen = readAll(client);
  app.write('half of a body');
  await within('bytes', once(client, 'data'));
  world.gateway?.destroy();
  t.same(await within('the reset', seen), { data: Buffer.from('half of a body'), how: 'reset' });
  await eventually('the end', () => world.clientEnds.length === 1);
  t.match(world.clientEnds[0], { kind: 'reset', by: 'upstream' });
});

await onEachEngine('a forgotten gateway or identity gets no new stream on old sessions', async (t, make) => {
  const world = await makeWorld(t, behindGateway(make), { onConnect: echo, options: { nestedSessions: 1 } });
  const first = opened(await world.client.open(world.request()));
  world.client.forgetPeer('127.0.0.1');
  const second = opened(await world.client.open(world.request()));
  t.equal(world.gatewayRequests.length, 2);
  world.client.forgetIdentity(clientId);
  const third = opened(await world.client.open(world.request()));
  t.equal(world.gatewayRequests.length, 3);
  for (const stream of [first, second, third]) t.equal(await echoed(stream, 'alive'), 'alive');
  await eventually('one of each left', () => world.client.stats().sessions === 2);
});
