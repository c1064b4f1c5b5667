/** Names of endpoints: bounded memory of answers, one question at a time, both families. */
import t from 'tap';
import type { IpFamily } from '../../../src/base/address.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { type AddressRecord, NameResolver } from '../../../src/net/name-resolver.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function resolverOf(answers: Readonly<Record<string, readonly AddressRecord[]>>, limit?: number) {
  const clock = new FakeClock();
  const asked: string[] = [];
  let next = 0;
  const source = async (hostname: string, family: IpFamily) => {
    asked.push(`${hostname}/${family}`);
    const records = answers[`${hostname}/${family}`];
    if (records === undefined) throw new Error('ENOTFOUND');
    return records;
  };
  const random = { next: () => next };
  const resolver = new NameResolver({ clock, random, logger: silentLogger, source, ...(limit && { limit }) });
  const draw = (value: number) => {
    next = value;
  };
  return { clock, asked, resolver, draw };
}

const record = (address: string, ttlSeconds: number | undefined = 60): AddressRecord => ({ address, ttlSeconds });

t.test('one of the records is drawn, of the client’s family where there is one', async (t) => {
  const { resolver, draw } = resolverOf({
    'db/4': [record('192.0.2.1'), record('192.0.2.2')],
    'db/6': [record('2001:db8::1')],
    'old/4': [record('192.0.2.9')],
  });
  t.equal(await resolver.resolve('db', 4), '192.0.2.1');
  draw(0.9);
  t.equal(await resolver.resolve('db', 4), '192.0.2.2');
  t.equal(await resolver.resolve('db', 6), '2001:db8::1');
  t.equal(await resolver.resolve('old', 6), '192.0.2.9', 'the other family, when it is all there is');
  t.equal(await resolver.resolve('nobody', 4), undefined);
});

t.test('an answer lives as long as its records say, a failure for a moment', async (t) => {
  const { resolver, clock, asked } = resolverOf({
    'db/4': [record('192.0.2.1', 60), record('192.0.2.2', 10)],
    'zero/4': [record('192.0.2.1', 0)],
    'hosts/4': [{ address: '192.0.2.3', ttlSeconds: undefined }],
  });
  const questions = async (name: string) => {
    const before = asked.length;
    await resolver.resolve(name, 4);
    return asked.length - before;
  };
  t.equal(await questions('db'), 2);
  clock.advance(9_999);
  t.equal(await questions('db'), 0);
  clock.advance(2);
  t.equal(await questions('db'), 2, 'after the shortest of its lives');
  t.equal(await questions('zero'), 2);
  t.equal(await questions('zero'), 0, 'a second at least');
  t.equal(await questions('hosts'), 2);
  clock.advance(29_000);
  t.equal(await questions('hosts'), 0);
  t.equal(await questions('nobody'), 2);
  t.equal(await questions('nobody'), 0);
  clock.advance(2_000);
  t.equal(await questions('nobody'), 2);
});

t.test('many connections ask once', async (t) => {
  const { resolver, asked } = resolverOf({ 'db/4': [record('192.0.2.1')] });
  const answers = await Promise.all(Array.from({ length: 50 }, () => resolver.resolve('db', 4)));
  t.same(new Set(answers), new Set(['192.0.2.1']));
  t.equal(asked.length, 2);
});

t.test('the name used longest ago gives way', async (t) => {
  const answers = Object.fromEntries(['a', 'b', 'c'].map((name) => [`${name}/4`, [record('192.0.2.1')]]));
  const { resolver, asked } = resolverOf(answers, 2);
  for (const name of ['a', 'b', 'a', 'c']) await resolver.resolve(name, 4);
  t.equal(resolver.size, 2);
  const before = asked.length;
  await resolver.resolve('a', 4);
  t.equal(asked.length, before, 'a was used since');
  await resolver.resolve('b', 4);
  t.equal(asked.length, before + 2);
});

t.test('servers that do not answer are not waited for longer than five seconds', async (t) => {
  const clock = new FakeClock();
  const source = () => new Promise<never>(() => {});
  const resolver = new NameResolver({ clock, random: { next: () => 0 }, logger: silentLogger, source });
  const answer = resolver.resolve('db', 4);
  await clock.advanceAsync(5_000);
  t.equal(await answer, undefined);
});
