/** The codec: what is read of queries, what is written as answers, and that no bytes whatever make it throw. */
import fc from 'fast-check';
import t from 'tap';
import type { Random } from '../../../src/base/random.ts';
import { addressesIn, answers } from '../../../src/dns/answer.ts';
import { MessageFrames } from '../../../src/dns/frames.ts';
import { type DnsQuery, readQuery, writeName, writeQuery } from '../../../src/dns/message.ts';
import { payloadLimit, pickShuffled, writeAddresses, writeCode, writeTruncated } from '../../../src/dns/reply.ts';
import {
  answerMessage,
  ipData,
  queryMessage,
  readMessage,
  type TestQuery,
  types,
  wireName,
} from '../../support/dns-messages.ts';

const first: Random = { next: () => 0 };

function query(name: string, options?: TestQuery): DnsQuery {
  const read = readQuery(queryMessage(name, options));
  if (read.kind !== 'query') throw new Error(read.reason);
  return read.query;
}

t.test('a query is read: name in lower case, its bytes as they came, type, EDNS', async (t) => {
  const read = query('WWW.Example.com', { id: 7, type: types.AAAA, payload: 1232, dnssecOk: true });
  t.match(read, { id: 7, type: 28, class: 1, edns: { payload: 1232, version: 0, dnssecOk: true } });
  t.same(read.name.labels, ['www', 'example', 'com']);
  t.same(Buffer.from(read.name.bytes), wireName('WWW.Example.com'));
  t.equal(query('example.com').edns, undefined);
  t.same(query('').name.labels, [], 'the root');
});

t.test('a label that holds a dot, a backslash or a star is not what it looks like', async (t) => {
  const message = Buffer.concat([
    queryMessage('').subarray(0, 12),
    Buffer.from('\x03a.b\x01*\x02\\0\x00\x00\x01\x00\x01', 'latin1'),
  ]);
  const read = readQuery(message);
  t.same(read.kind === 'query' && read.query.name.labels, ['a\\046b', '\\042', '\\0920']);
});

t.test('what is no query is refused with a code, or not answered at all', async (t) => {
  const good = queryMessage('example.com');
  const change = (at: number, ...bytes: number[]) => {
    const copy = Buffer.from(good);
    copy.set(bytes, at);
    return readQuery(copy);
  };
  t.match(readQuery(good.subarray(0, 11)), { kind: 'drop' });
  t.match(change(2, 0x81), { kind: 'drop', reason: 'it is an answer' });
  t.match(change(2, 0x28), { kind: 'refuse', code: 4, id: 0x1234 }, 'an update');
  t.match(change(4, 0, 0), { kind: 'refuse', code: 1 }, 'no question');
  t.match(change(4, 0, 2), { kind: 'refuse', code: 1 }, 'two questions');
  t.match(change(12, 0xc0, 12), { kind: 'refuse', code: 1 }, 'a pointer in the question');
  t.match(change(12, 64), { kind: 'refuse', code: 1 }, 'a label too long');
  t.match(readQuery(good.subarray(0, good.length - 1)), { kind: 'refuse', code: 1 }, 'cut off');
  t.match(readQuery(Buffer.concat([good, Buffer.from([0])])), { kind: 'refuse', code: 1 }, 'something behind it');
  t.match(change(10, 0, 1), { kind: 'refuse', code: 1 }, 'a record that is not there');
  t.match(change(6, 0xff, 0xff), { kind: 'refuse', code: 1 }, 'a query full of records');
  const long = queryMessage(Array.from({ length: 5 }, () => 'a'.repeat(60)).join('.'));
  t.match(readQuery(long), { kind: 'refuse', code: 1 }, 'a name too long');
});

t.test('property: any bytes, and any query with bytes changed, are read without a throw', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      readQuery(bytes);
      answers(queryMessage('example.com'), bytes);
      addressesIn(bytes, 1);
    }),
    { numRuns: 2000 },
  );
  const answer = answerMessage(queryMessage('a.example.com', { payload: 1232 }), [
    { type: types.CNAME, data: wireName('b.example.com') },
    { type: types.A, data: ipData('1.2.3.4'), name: 'b.example.com' },
  ]);
  const changes = fc.array(fc.tuple(fc.nat(answer.length - 1), fc.nat(255)), { maxLength: 6 });
  fc.assert(
    fc.property(changes, (list) => {
      const copy = Buffer.from(answer);
      for (const [at, byte] of list) copy[at] = byte;
      readQuery(copy);
      addressesIn(copy, 1);
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

const label = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/);
const names = fc.array(label, { minLength: 1, maxLength: 8 }).map((labels) => labels.join('.'));

t.test('property: what is written is read back the same by another reader', async (t) => {
  const octet = fc.nat(255);
  const addresses = fc.array(
    fc.tuple(octet, octet, octet, octet).map((octets) => octets.join('.')),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(
      names,
      addresses,
      fc.option(fc.integer({ min: 0, max: 4096 })),
      fc.nat(0xffff),
      (name, list, payload, id) => {
        const asked = query(name, { id, ...(payload === null ? {} : { payload }) });
        const limit = payloadLimit(asked, 4096);
        const message = writeAddresses(asked, { addresses: list, aliasLabels: undefined }, limit, first);
        const read = readMessage(message);
        t.ok(message.length <= limit);
        t.match(read, { id, code: 0, authoritative: true, question: { name, type: 1, class: 1 } });
        t.equal(read.truncated, read.answers.length < list.length);
        t.ok(read.answers.every((each) => each.name === name && each.ttl === 30 && list.includes(each.data)));
        t.equal(read.edns?.payload, payload === null ? undefined : Math.max(512, payload));
      },
    ),
    { numRuns: 300 },
  );
});

t.test('an alias of the first labels comes before the addresses, with the case of the question', async (t) => {
  const asked = query('WWW.google.com.ns1.svc.cluster.local');
  const read = readMessage(writeAddresses(asked, { addresses: ['1.1.1.1'], aliasLabels: 3 }, 512, first));
  t.same(read.answers, [
    { name: 'WWW.google.com.ns1.svc.cluster.local', type: types.CNAME, ttl: 30, data: 'WWW.google.com' },
    { name: 'WWW.google.com', type: types.A, ttl: 30, data: '1.1.1.1' },
  ]);
});

t.test('too many addresses: as many as fit, in random order, and the answer says that there are more', async (t) => {
  const all = Array.from({ length: 300 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
  const asked = query('headless.ns.svc.cluster.local');
  const small = writeAddresses(asked, { addresses: all, aliasLabels: undefined }, 512, { next: () => 0.999 });
  t.ok(small.length <= 512 && small.length > 512 - 16);
  t.match(readMessage(small), { truncated: true });
  t.equal(readMessage(small).answers[0]?.data, '10.0.1.43', 'the last comes first when chance says so');
  const whole = readMessage(
    writeAddresses(asked, { addresses: all, aliasLabels: undefined }, 0xffff, { next: () => 0.5 }),
  );
  t.equal(whole.truncated, false);
  t.same(whole.answers.map((each) => each.data).sort(), [...all].sort());
});

t.test('property: picking takes each once, from all, and every order can come', async (t) => {
  const seen = new Set<string>();
  for (let run = 0; run < 500; run++) seen.add(pickShuffled([1, 2, 3], 3, { next: Math.random }).join(''));
  t.equal(seen.size, 6);
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(), { maxLength: 30 }), fc.nat(40), (all, count) => {
      const picked = pickShuffled(all, count, { next: Math.random });
      return (
        picked.length === Math.min(all.length, count) &&
        new Set(picked).size === picked.length &&
        picked.every((each) => all.includes(each))
      );
    }),
  );
});

t.test('a code repeats the question; an unknown EDNS version is answered with ours', async (t) => {
  t.match(readMessage(writeCode(query('x.example'), 2, false)), {
    code: 2,
    authoritative: false,
    question: { name: 'x.example' },
  });
  const asked = query('x.example', { payload: 100, ednsVersion: 3, dnssecOk: true });
  const message = writeCode(asked, 16, false);
  const read = readMessage(message);
  t.match(read, { code: 0, edns: { payload: 512, version: 0, dnssecOk: true } });
  t.equal(message[message.length - 6], 1, 'the upper bits of the code are in the option');
});

t.test('a forwarded answer that is too long is cut down to its header and question', async (t) => {
  const asked = queryMessage('big.example', { id: 9 });
  const answer = answerMessage(asked, [{ type: types.TXT, data: Buffer.alloc(600) }]);
  const read = readMessage(writeTruncated(query('big.example', { id: 9 }), answer));
  t.match(read, { id: 9, truncated: true, answers: [], question: { name: 'big.example' } });
});

t.test(
  'an answer belongs to a query by id, kind and question; the case of letters may differ, the type not',
  async (t) => {
    const asked = queryMessage('Www.Example.com', { type: types.HTTPS });
    const answer = answerMessage(asked, []);
    t.ok(answers(asked, answer));
    t.ok(answers(queryMessage('wWW.eXAMPLE.COM', { type: types.HTTPS }), answer));
    t.notOk(answers(queryMessage('www.example.org', { type: types.HTTPS }), answer), 'another name');
    t.notOk(
      answers(queryMessage('www.example.com', { type: 97 }), answer),
      'a type whose byte is the lower case of the other',
    );
    t.notOk(answers(queryMessage('www.example.com', { type: types.HTTPS, class: 3 }), answer), 'another class');
    t.notOk(answers(asked, answerMessage(asked, [], { id: 1 })), 'another id');
    t.notOk(answers(asked, asked), 'a query');
    t.notOk(answers(asked, answer.subarray(0, 20)), 'cut off');
    const bare = (flags: number) => Buffer.from([0x12, 0x34, flags >> 8, flags & 255, 0, 0, 0, 0, 0, 0, 0, 0]);
    t.ok(answers(asked, bare(0x8181)), 'an error may come without the question');
    t.notOk(answers(asked, bare(0x8180)), 'an answer may not');
    t.notOk(answers(asked, bare(0x8183)), 'nor may the word that there is no such name');
  },
);

t.test('addresses are found at the end of the chain of aliases, and nowhere else', async (t) => {
  const asked = queryMessage('a.example');
  const a = { type: types.A, data: ipData('1.2.3.4'), name: 'c.example' };
  const chain = [
    { type: types.CNAME, data: wireName('b.example') },
    { type: types.CNAME, data: wireName('c.example'), name: 'b.example' },
  ];
  t.same(addressesIn(answerMessage(asked, [a, ...chain]), 1), ['1.2.3.4']);
  t.same(addressesIn(answerMessage(asked, [a]), 1), [], 'an address nobody asked for');
  const loop = [
    { type: types.CNAME, data: wireName('b.example') },
    { type: types.CNAME, data: wireName('a.example'), name: 'b.example' },
  ];
  t.same(addressesIn(answerMessage(asked, loop), 1), []);
  t.same(
    addressesIn(answerMessage(asked, [{ type: types.A, data: Buffer.from([1, 2, 3]) }]), 1),
    [],
    'an address of three bytes',
  );
});

t.test('our own queries can be read, and names that are none are not written', async (t) => {
  const name = writeName('Api.example.com.');
  if (name === undefined) throw new Error('no name');
  t.match(readQuery(writeQuery(3, name, 28)), {
    kind: 'query',
    query: { id: 3, type: 28, name: { labels: ['api', 'example', 'com'] } },
  });
  for (const bad of ['', '.', 'a..b', 'a b', 'ä', 'a'.repeat(64), Array(50).fill('abcdef').join('.')])
    t.equal(writeName(bad), undefined, bad);
});

t.test('property: messages on TCP come out whole however they are cut', async (t) => {
  const messages = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 6 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(40), { minLength: 1 }), (list, cuts) => {
      const stream = Buffer.concat(list.map((each) => Buffer.concat([Buffer.from([0, each.length]), each])));
      const out: string[] = [];
      const frames = new MessageFrames();
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const next = at + 1 + (cuts[turn % cuts.length] as number);
        frames.push(stream.subarray(at, next), (message) => out.push(message.toString('hex')));
        at = next;
      }
      return out.join() === list.map((each) => Buffer.from(each).toString('hex')).join() && !frames.partial;
    }),
  );
  t.equal(
    new MessageFrames(100).push(Buffer.from([0, 101]), () => {}),
    false,
    'too long is told at once',
  );
});
