/** Addresses of names: how long they are used, what happens while nobody answers, and bounds. */
import t from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import type { NameSource } from '../../../src/net/name-resolver.ts';
import { HostAddresses, hostAddressTimes } from '../../../src/upstream/host-addresses.ts';
import { FakeClock } from '../../support/fake-clock.ts';

type Told = { readonly ttl?: number; readonly four?: readonly string[]; readonly six?: readonly string[] } | string;

function world(limit = 10) {
  const clock = new FakeClock();
  const told = new Map<string, Told>();
  const asked: string[] = [];
  const gone: string[] = [];
  const source: NameSource = async (hostname, family) => {
    asked.push(`${hostname} ${family}`);
    const answer = told.get(hostname) ?? 'ENOTFOUND';
    if (typeof answer === 'string') throw Object.assign(new Error(answer), { code: answer });
    const addresses = (family === 4 ? answer.four : answer.six) ?? [];
    return addresses.map((address) => ({ address, ttlSeconds: answer.ttl }));
  };
  const onGone = (hostname: string) => void gone.push(hostname);
  const names = new HostAddresses({ source, clock, logger: silentLogger, limit, onGone });
  return { clock, told, asked, gone, names };
}

t.test('families take turns, IPv6 first; an answer is used for its time', async (t) => {
  const { clock, told, asked, names } = world();
  told.set('a', { ttl: 30, four: ['192.0.2.1', '192.0.2.2', '192.0.2.3'], six: ['2001:db8::1'] });
  const both = ['2001:db8::1', '192.0.2.1', '192.0.2.2', '192.0.2.3'];
  t.same(await names.resolve('a'), both);
  await clock.advanceAsync(29_999);
  t.same(await names.resolve('a'), both);
  t.equal(asked.length, 2, 'both families, once');
});

t.test('a name that is used is asked for again when its time ends, one that is not is left alone', async (t) => {
  const { clock, told, asked, gone, names } = world();
  told.set('a', { ttl: 30, four: ['192.0.2.1'] });
  await names.resolve('a');
  await names.resolve('a');
  told.set('a', { ttl: 30, four: ['192.0.2.9'] });
  await clock.advanceAsync(30_000);
  t.equal(asked.length, 4, 'nobody waited');
  t.same(await names.resolve('a'), ['192.0.2.9']);
  t.same(gone, ['a'], 'an address went');
  await clock.advanceAsync(30_000);
  t.equal(asked.length, 6);
  await clock.advanceAsync(600_000);
  t.equal(asked.length, 6, 'nobody has asked since');
});

t.test('lives are bounded: at least a second, at most five minutes', async (t) => {
  const { clock, told, asked, names } = world();
  told.set('short', { ttl: 0, four: ['192.0.2.1'] });
  told.set('long', { ttl: 86_400, four: ['192.0.2.1'] });
  told.set('unsaid', { four: ['192.0.2.1'] });
  const questionsAfter = async (name: string, ms: number) => {
    await names.resolve(name);
    const questions = () => asked.filter((question) => question.startsWith(name)).length;
    const before = questions();
    await clock.advanceAsync(ms);
    await names.resolve(name);
    return questions() - before;
  };
  t.equal(await questionsAfter('short', 900), 0);
  t.equal(await questionsAfter('short', 1000), 2);
  t.equal(await questionsAfter('long', hostAddressTimes.mostLifeMs - 1), 0);
  t.equal(await questionsAfter('unsaid', hostAddressTimes.unknownLifeMs), 2);
});

t.test('the last good addresses stay while nobody answers, for an hour', async (t) => {
  const { clock, told, gone, names } = world();
  told.set('a', { ttl: 1, four: ['192.0.2.1'] });
  await names.resolve('a');
  told.set('a', 'ESERVFAIL');
  await clock.advanceAsync(1000);
  t.same(await names.resolve('a'), ['192.0.2.1']);
  await clock.advanceAsync(hostAddressTimes.keepLastMs - 10_000);
  t.same(await names.resolve('a'), ['192.0.2.1']);
  t.same(gone, []);
  await clock.advanceAsync(20_000);
  t.same(await names.resolve('a'), [], 'and no longer');
  t.same(gone, ['a']);
});

t.test('a name that does not exist any more has no addresses at once', async (t) => {
  const { clock, told, names } = world();
  told.set('a', { ttl: 1, four: ['192.0.2.1'] });
  await names.resolve('a');
  told.delete('a');
  await clock.advanceAsync(1000);
  t.same(await names.resolve('a'), []);
});

t.test('one family that nobody answers for is no reason to forget the other', async (t) => {
  const clock = new FakeClock();
  const source: NameSource = async (_hostname, family) => {
    if (family === 6) throw Object.assign(new Error('refused'), { code: 'EREFUSED' });
    return [{ address: '192.0.2.1', ttlSeconds: 9 }];
  };
  const names = new HostAddresses({ source, clock, logger: silentLogger, limit: 1 });
  t.same(await names.resolve('a'), ['192.0.2.1']);
});

t.test('a question has a deadline, and is under way once', async (t) => {
  const clock = new FakeClock();
  let asked = 0;
  const source: NameSource = () => {
    asked++;
    return new Promise(() => {});
  };
  const names = new HostAddresses({ source, clock, logger: silentLogger, limit: 1 });
  const waiting = [names.resolve('a'), names.resolve('a')];
  t.equal(asked, 2);
  clock.advance(hostAddressTimes.deadlineMs);
  t.same(await Promise.all(waiting), [[], []]);
});

t.test('names are bounded: the one used longest ago makes way', async (t) => {
  const { told, asked, names } = world(2);
  for (const name of ['a', 'b', 'c']) told.set(name, { ttl: 60, four: ['192.0.2.1'] });
  for (const name of ['a', 'b', 'a', 'c']) await names.resolve(name);
  t.equal(names.size, 2);
  const before = asked.length;
  await names.resolve('a');
  t.equal(asked.length, before, 'a is remembered');
  await names.resolve('b');
  t.equal(asked.length, before + 2, 'b is not');
});

t.test(
  'where it is said which names are kept, others are answered and forgotten, and push out none of them',
  async (t) => {
    const clock = new FakeClock();
    const kept = new Set(['a', 'b']);
    let asked = 0;
    const source: NameSource = async () => {
      asked++;
      return [{ address: '192.0.2.1', ttlSeconds: 60 }];
    };
    const logger = silentLogger;
    const names = new HostAddresses({ source, clock, logger, limit: 3, isKept: (hostname) => kept.has(hostname) });
    await names.resolve('a');
    await names.resolve('b');
    const strangers = Array.from({ length: 10 }, (_, i) => names.resolve(`x${i}`));
    t.equal(names.size, 3, 'at most so many');
    for (const answer of await Promise.all(strangers)) t.same(answer, ['192.0.2.1']);
    t.equal(names.size, 2);
    const before = asked;
    await names.resolve('a');
    await names.resolve('b');
    t.equal(asked, before, 'they are remembered');
    names.forget('a');
    t.equal(names.size, 1);
    t.equal(clock.pending, 1, 'and no timer of it is left');
  },
);
