/** The DNS proxy with real sockets: answers of the mesh, forwarding, both transports, limits and the end. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import type { SocketAddress } from '../../../src/base/address.ts';
import { answerMessage, ipData, queryMessage, readMessage, types } from '../../support/dns-messages.ts';
import { askTcp, askUdp, frame, startUpstream } from '../../support/dns-upstream.ts';
import { eventually, within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { productpage, startDnsWorld } from './world.ts';

const answering = (query: Buffer) => [answerMessage(query, [{ type: types.A, data: ipData('192.0.2.1') }])];

t.test('a resolver gets the mesh’s answers over UDP and TCP, and others’ from upstream', async (t) => {
  const upstream = await startUpstream(t, answering);
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  const resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${world.address.port}`]);
  t.same(await resolver.resolve4(productpage), ['10.96.0.7']);
  t.same(await resolver.resolve4('example.com'), ['192.0.2.1']);
  t.equal(
    (await resolver.resolve4('many.default.svc.cluster.local')).length,
    200,
    'too many for UDP: it asks over TCP',
  );
  const query = queryMessage(productpage, { id: 77, payload: 1232 });
  for (const answer of [await askUdp(world.address, query), ...(await askTcp(world.address, [query]))]) {
    t.match(readMessage(answer), { id: 77, authoritative: true, edns: { payload: 1232 }, answers: [{ ttl: 30 }] });
  }
  t.equal(upstream.queries.length, 1, 'the mesh’s names go nowhere');
});

t.test('records come in another order each time', async (t) => {
  const world = await startDnsWorld(t);
  const query = queryMessage('many.default.svc.cluster.local');
  const firsts = new Set<string | undefined>();
  for (let run = 0; run < 10; run++) {
    const [answer] = await askTcp(world.address, [query]);
    firsts.add(readMessage(answer as Buffer).answers[0]?.data);
  }
  t.ok(firsts.size > 1);
});

t.test('what is forwarded passes as the bytes it is, with an id and a port of our own', async (t) => {
  const data = Buffer.from('05hello', 'latin1');
  const upstream = await startUpstream(t, (query) => [answerMessage(query, [{ type: types.TXT, data }])]);
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  const ids = new Set<number>();
  const ports = new Set<number>();
  for (let run = 0; run < 20; run++) {
    const query = queryMessage(`Odd-${run}.Example`, { id: 5, type: 4711, payload: 4000, dnssecOk: true });
    const answer = await askUdp(world.address, query);
    t.same(answer, answerMessage(query, [{ type: types.TXT, data }]));
    const seen = upstream.queries.at(-1);
    t.same(seen?.message.subarray(2), query.subarray(2));
    ids.add(seen?.message.readUInt16BE(0) ?? 0);
    ports.add(seen?.from.port ?? 0);
  }
  t.ok(ids.size > 15 && ports.size > 10, `${ids.size} ids, ${ports.size} ports`);
});

t.test('a name of the mesh of another type, another class, and a name private elsewhere are forwarded', async (t) => {
  const upstream = await startUpstream(t, (query) => [answerMessage(query, [], { flags: 0x8183 })]);
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  for (const options of [{ type: types.SRV }, { class: 3 }]) {
    t.match(readMessage(await askUdp(world.address, queryMessage(productpage, options))), { code: 3 });
  }
});

t.test('what is malformed is answered with a code, answers and our own datagrams with nothing', async (t) => {
  const world = await startDnsWorld(t);
  const update = queryMessage(productpage, { flags: 0x2800 });
  t.match(readMessage(await askUdp(world.address, update)), { code: 4 });
  const cut = queryMessage(productpage).subarray(0, 20);
  t.match(readMessage(await askUdp(world.address, cut)), { code: 1, id: 0x1234 });
  await t.rejects(askUdp(world.address, queryMessage(productpage, { flags: 0x8180 }), 100));
  t.match(readMessage(await askUdp(world.address, queryMessage(productpage, { payload: 512, ednsVersion: 1 }))), {
    edns: { version: 0 },
  });
});

t.test('a flood of garbage leaves it answering', async (t) => {
  const world = await startDnsWorld(t);
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  const good = queryMessage(productpage);
  for (let run = 0; run < 2000; run++) {
    const garbage = Buffer.from(run % 2 === 0 ? good : randomBytes(run % 300));
    if (run % 2 === 0) garbage[run % good.length] = run & 0xff;
    socket.send(garbage, world.address.port, world.address.ip);
    // So that both ends have turns: what the kernel has no room for is lost, as anywhere.
    if (run % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  t.match(readMessage(await askUdp(world.address, good)), { answers: [{ data: '10.96.0.7' }] });
});

t.test('an unknown client is waited for, and then refused', async (t) => {
  const world = await startDnsWorld(t);
  const known = world.client;
  world.client = undefined;
  t.match(readMessage(await askUdp(world.address, queryMessage(productpage))), { code: 2 });
  const late = await startDnsWorld(t, { awaitClient: async () => known });
  late.client = undefined;
  t.match(readMessage(await askUdp(late.address, queryMessage(productpage))), { code: 0 });
});

t.test('no server, or only ones that do not listen: SERVFAIL at once', async (t) => {
  const query = queryMessage('example.com');
  const none = await startDnsWorld(t);
  t.match(readMessage(await askUdp(none.address, query)), { code: 2, id: 0x1234 });
  const closed = { ip: '127.0.0.1', port: 1 };
  const world = await startDnsWorld(t, { servers: [closed, closed] });
  t.match(readMessage(await askUdp(world.address, query)), { code: 2 });
  t.match(readMessage((await askTcp(world.address, [query]))[0] as Buffer), { code: 2 });
  t.match(await world.metrics('istio_dns_upstream_failures_total{'), [
    /request_query_type="a".*"udp".*"sleep".* 1$/,
    / 1$/,
  ]);
});

t.test('a server that is our own listener is not asked', async (t) => {
  const servers: SocketAddress[] = [];
  const again = await startDnsWorld(t, {
    servers: [{ ip: '127.0.0.2', port: 15_953 }],
    ips: ['127.0.0.2'],
    port: 15_953,
  });
  t.match(readMessage(await askUdp(again.address, queryMessage('example.com'))), { code: 2 });
  t.match(await again.metrics('istio_dns_requests_total'), [/ 1$/], 'it heard the query once');
  // Two that ask each other: each question is on its way once, so they wait, and time ends it.
  const clock = new FakeClock();
  const one = await startDnsWorld(t, { servers, clock });
  const two = await startDnsWorld(t, { servers: [one.address], clock });
  servers.push(two.address);
  const answer = askUdp(one.address, queryMessage('circle.example'));
  await eventually('the circle is closed', async () =>
    (await one.metrics('istio_dns_requests_total'))[0]?.endsWith(' 2'),
  );
  for (let step = 0; step < 3; step++) clock.advance(5000);
  t.match(readMessage(await answer), { code: 2 });
});

t.test('one who does not listen, or refuses, is passed over for the next', async (t) => {
  const refusing = await startUpstream(t, (query) => [answerMessage(query, [], { flags: 0x8185 })]);
  const good = await startUpstream(t, answering);
  const world = await startDnsWorld(t, { servers: [{ ip: '127.0.0.1', port: 1 }, refusing.address, good.address] });
  t.match(readMessage(await askUdp(world.address, queryMessage('example.com'))), {
    code: 0,
    answers: [{ data: '192.0.2.1' }],
  });
  const alone = await startDnsWorld(t, { servers: [refusing.address] });
  t.match(
    readMessage(await askUdp(alone.address, queryMessage('example.com'))),
    { code: 5 },
    'its word, when nobody has better',
  );
});

t.test('a silent server is asked again, then the next, then the client is told', async (t) => {
  const silent = await startUpstream(t, () => []);
  const clock = new FakeClock();
  const world = await startDnsWorld(t, {
    servers: [silent.address, silent.address, silent.address, silent.address],
    clock,
  });
  const answer = askUdp(world.address, queryMessage('example.com'));
  await eventually('the first query', () => silent.queries.length === 1);
  for (const [afterMs, count] of [
    [1000, 2],
    [2000, 3],
  ] as const) {
    clock.advance(afterMs);
    await eventually('once more', () => silent.queries.length === count);
  }
  const asked = () => new Set(silent.queries.map(({ message }) => message.toString('hex'))).size;
  t.equal(asked(), 1, 'the same datagram');
  for (const servers of [2, 3]) {
    clock.advance(5000);
    await eventually('the next server', () => asked() === servers);
  }
  clock.advance(5000);
  t.match(readMessage(await answer), { code: 2 });
  t.equal(asked(), 3, 'fifteen seconds are enough: the fourth is not asked');
});

t.test('the same question is on its way once', async (t) => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const upstream = await startUpstream(t, async (query) => {
    await held;
    return answering(query);
  });
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  const asked = Array.from({ length: 20 }, (_, id) => askUdp(world.address, queryMessage('example.com', { id })));
  const other = askUdp(world.address, queryMessage('example.org'));
  await eventually('both questions', () => upstream.queries.length === 2);
  release();
  t.same(
    (await Promise.all(asked)).map((answer) => answer.readUInt16BE(0)),
    Array.from({ length: 20 }, (_, id) => id),
  );
  await other;
  t.equal(upstream.queries.length, 2);
});

t.test('an answer that is too long for UDP is cut, and asked for over TCP by those who came so', async (t) => {
  const long = (query: Buffer) =>
    answerMessage(
      query,
      Array.from({ length: 100 }, () => ({ type: types.A, data: ipData('192.0.2.1') })),
    );
  const upstream = await startUpstream(t, (query, transport) =>
    transport === 'udp' ? [answerMessage(query, [], { flags: 0x8380 })] : [long(query)],
  );
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  const query = queryMessage('long.example');
  t.match(readMessage(await askUdp(world.address, query)), { truncated: true, answers: [] });
  t.equal(upstream.queries.length, 1, 'the client is to say whether it wants all');
  const [whole] = await askTcp(world.address, [query]);
  t.equal(readMessage(whole as Buffer).answers.length, 100);
  t.same(
    upstream.queries.map(({ transport }) => transport),
    ['udp', 'udp', 'tcp'],
  );
  upstream.script = (asked) => [long(asked)];
  t.match(
    readMessage(await askUdp(world.address, query)),
    { truncated: true, answers: [] },
    'a server that sends more than asked for',
  );
});

t.test('answers of others are not listened to: wrong id, wrong question, wrong sender', async (t) => {
  let spoof = (_query: Buffer) => {};
  const upstream = await startUpstream(t, (query) => {
    spoof(query);
    const id = query.readUInt16BE(0);
    const evil = [{ type: types.A, data: ipData('203.0.113.66') }];
    return [
      answerMessage(query, evil, { id: id ^ 1 }),
      answerMessage(queryMessage('example.org', { id }), evil),
      answerMessage(queryMessage('example.com', { id, type: types.AAAA }), evil),
      query,
      Buffer.from([1]),
      ...answering(query),
    ];
  });
  spoof = (query) => {
    const from = upstream.queries.at(-1)?.from;
    if (from !== undefined)
      upstream.spoof(answerMessage(query, [{ type: types.A, data: ipData('203.0.113.99') }]), from);
  };
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  t.match(readMessage(await askUdp(world.address, queryMessage('example.com'))).answers, [{ data: '192.0.2.1' }]);
});

t.test('a flood of wrong answers sends the question over TCP', async (t) => {
  const upstream = await startUpstream(t, (query, transport) => {
    if (transport === 'tcp') return answering(query);
    const evil = [{ type: types.A, data: ipData('203.0.113.66') }];
    return Array.from({ length: 12 }, (_, n) =>
      answerMessage(query, evil, { id: (query.readUInt16BE(0) + 1 + n) & 0xffff }),
    );
  });
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  t.match(readMessage(await askUdp(world.address, queryMessage('example.com'))).answers, [{ data: '192.0.2.1' }]);
  t.same(
    upstream.queries.map(({ transport }) => transport),
    ['udp', 'tcp'],
  );
});

t.test('over TCP an answer to something else, or half an answer, is none', async (t) => {
  const upstream = await startUpstream(t, (query, transport) =>
    transport === 'udp'
      ? [answerMessage(query, [], { flags: 0x8380 })]
      : [answerMessage(queryMessage('other.example'), [])],
  );
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  const [answer] = await askTcp(world.address, [queryMessage('long.example')]);
  t.match(readMessage(answer as Buffer), { code: 2 });
});

t.test(
  'beyond a place’s share of waiting queries the client is told at once, the mesh’s names are answered as ever',
  async (t) => {
    const silent = await startUpstream(t, () => []);
    const clock = new FakeClock();
    const world = await startDnsWorld(t, { servers: [silent.address], clock, limits: { waitingPerPlace: 4 } });
    const asked = Array.from({ length: 4 }, (_, n) => askUdp(world.address, queryMessage(`n${n}.example`), 20_000));
    await eventually('four on their way', () => silent.queries.length === 4);
    t.match(readMessage(await askUdp(world.address, queryMessage('n5.example'))), { code: 2 });
    t.match(readMessage(await askUdp(world.address, queryMessage(productpage))), { code: 0 });
    t.match(await world.metrics('ambit_dns_refused_total{'), [/reason="waiting".* 1$/]);
    clock.advance(5000);
    for (const answer of await Promise.all(asked)) t.match(readMessage(answer), { code: 2 });
    silent.script = answering;
    t.match(
      readMessage(await askUdp(world.address, queryMessage('n5.example'))),
      { code: 0 },
      'the room is free again',
    );
  },
);

t.test('more queries a second than a place may have are dropped', async (t) => {
  const clock = new FakeClock();
  const world = await startDnsWorld(t, { clock, limits: { queriesPerSecond: 2 } });
  const query = queryMessage(productpage);
  await askUdp(world.address, query);
  await askUdp(world.address, query);
  await t.rejects(askUdp(world.address, query, 100));
  clock.advance(500);
  await askUdp(world.address, query);
  t.match(await world.metrics('ambit_dns_refused_total{'), [/reason="rate".* 1$/]);
});

t.test('TCP: queries in one stroke, in small pieces, and more than may be under way', async (t) => {
  const waiting: (() => void)[] = [];
  const upstream = await startUpstream(t, async (query) => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    return answering(query);
  });
  const world = await startDnsWorld(t, { servers: [upstream.address], limits: { pipelined: 3 } });
  const queries = Array.from({ length: 10 }, (_, id) => queryMessage(`n${id}.example`, { id }));
  const answers = askTcp(world.address, [...queries, queryMessage(productpage, { id: 99 })]);
  await eventually('as many as may be', () => waiting.length === 3);
  for (let done = 0; done < 10; done++) {
    await eventually('the next', () => waiting.length > 0);
    t.ok(waiting.length <= 3);
    waiting.shift()?.();
  }
  t.same(
    (await answers).map((each) => each.readUInt16BE(0)).sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99],
  );
  const hundreds = await askTcp(
    world.address,
    Array.from({ length: 500 }, (_, id) => queryMessage(productpage, { id })),
  );
  t.same(
    hundreds.map((each) => each.readUInt16BE(0)),
    Array.from({ length: 500 }, (_, id) => id),
  );

  const socket = connect({ host: '127.0.0.1', port: world.address.port, noDelay: true });
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  for (const byte of frame(queryMessage(productpage))) socket.write(Buffer.from([byte]));
  t.ok(((await within('an answer', once(socket, 'data'))) as [Buffer])[0].length > 14);
});

t.test('TCP: a connection without a whole query is closed, one too many at once, one with nonsense too', async (t) => {
  const clock = new FakeClock();
  const world = await startDnsWorld(t, { clock, limits: { connections: 2 } });
  const open = async (first: Buffer) => {
    const socket = connect({ host: '127.0.0.1', port: world.address.port });
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
    const closed = once(socket, 'close');
    socket.resume();
    await once(socket, 'connect');
    socket.write(first);
    return { socket, closed };
  };
  const slow = await open(Buffer.from([0, 40, 1]));
  const idle = await open(Buffer.alloc(0));
  await within('the third', (await open(Buffer.alloc(0))).closed);
  await eventually('timers', () => clock.pending >= 2);
  clock.advance(4000);
  slow.socket.write(Buffer.from([2]));
  clock.advance(1000);
  await within('both', Promise.all([slow.closed, idle.closed]));
  await within('a message too long', (await open(Buffer.from([0xff, 0xff]))).closed);
  await within('an answer', (await open(frame(queryMessage(productpage, { flags: 0x8180 })))).closed);
});

t.test('names are resolved for ourselves by the same rules', async (t) => {
  const upstream = await startUpstream(t, (query) => {
    const four = query.readUInt16BE(query.length - 4) === types.A;
    if (query.includes('six'))
      return [answerMessage(query, four ? [] : [{ type: types.AAAA, data: Buffer.alloc(16, 0x20) }])];
    return query.includes('none') ? [answerMessage(query, [], { flags: 0x8183 })] : answering(query);
  });
  const { dns } = await startDnsWorld(t, { servers: [upstream.address] });
  t.equal(await dns.resolve('productpage'), '10.96.0.7');
  t.equal(await dns.resolve('example.com'), '192.0.2.1');
  t.equal(await dns.resolve('six.example'), '2020:2020:2020:2020:2020:2020:2020:2020');
  t.equal(await dns.resolve('none.example'), undefined);
  t.equal(await dns.resolve('::FFFF:10.0.0.1'), '10.0.0.1');
  t.equal(await dns.resolve('no name'), undefined);
});

t.test('a close answers what was asked; a destroy does not wait', async (t) => {
  let release = () => {};
  const upstream = await startUpstream(t, async (query) => {
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    return answering(query);
  });
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  const answer = askUdp(world.address, queryMessage('example.com'));
  await eventually('the query', () => upstream.queries.length === 1);
  const closed = world.dns.close();
  release();
  t.match(readMessage(await answer), { code: 0 });
  await closed;
  const free = createSocket('udp4');
  free.bind(world.address.port, '127.0.0.1');
  await once(free, 'listening');
  free.close();
});

t.test('metrics have ztunnel’s names and labels; odd types share one', async (t) => {
  const upstream = await startUpstream(t, answering);
  const world = await startDnsWorld(t, { servers: [upstream.address] });
  await askUdp(world.address, queryMessage(productpage));
  await askTcp(world.address, [queryMessage('example.com', { type: types.AAAA })]);
  for (const type of [4711, 4712]) await askUdp(world.address, queryMessage('example.com', { type }));
  const labels = (type: string, protocol: string) =>
    `{request_query_type="${type}",request_protocol="${protocol}",source_canonical_service="sleep",source_canonical_revision="latest"}`;
  t.same(await world.metrics('istio_dns_requests_total'), [
    `istio_dns_requests_total${labels('a', 'udp')} 1`,
    `istio_dns_requests_total${labels('aaaa', 'tcp')} 1`,
    `istio_dns_requests_total${labels('other', 'udp')} 2`,
  ]);
  t.match(await world.metrics(`istio_dns_upstream_requests_total${labels('other', 'udp')}`), [/ 2$/]);
  t.match(await world.metrics('istio_dns_upstream_request_duration_seconds_count'), [/ 0$/, / 1$/, / 2$/]);
});
