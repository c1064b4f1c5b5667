/** The soak's law: what counts as failure and as growth. */
import t from 'tap';
import { type ProxyRecord, problemsOf, type SoakRecord, table } from '../../soak/report.ts';

const flat = Array.from({ length: 40 }, () => ({ residentMiB: 100, descriptors: 50 }));
const proxy: ProxyRecord = {
  name: 'ztunnel',
  before: { residentMiB: 90, descriptors: 30 },
  during: flat,
  after: { residentMiB: 95, descriptors: 31 },
  connections: 0,
};
const good: SoakRecord = {
  seconds: 40,
  lanes: [{ name: 'tunnel', exchanges: 1000, failures: new Map() }],
  pods: 3,
  policies: 40,
  certificates: 4,
  proxies: [proxy],
  problems: [],
};

t.test('a soak in which nothing failed and nothing grew passes', async (t) => {
  t.same(problemsOf(good), []);
  t.match(table(good), /tunnel +1000 +0/);
  const rising = flat.map((sample, i) => ({ ...sample, residentMiB: i < 10 ? 60 + i * 4 : 100 + i / 4 }));
  t.same(problemsOf({ ...good, proxies: [{ ...proxy, during: rising }] }), [], 'what it grows to at first is its size');
});

t.test('failures, growth, and what was not given back fail it, each with a sentence', async (t) => {
  const failing = { name: 'kept', exchanges: 0, failures: new Map([['reset before its echo', 2]]) };
  const growing = flat.map((sample, i) => ({ ...sample, residentMiB: 100 + 2 * i }));
  const leaking = { ...proxy, during: growing, after: { residentMiB: 180, descriptors: 39 }, connections: 2 };
  t.same(
    problemsOf({ ...good, lanes: [failing], pods: 0, certificates: 1, proxies: [leaking], problems: ['x has ended'] }),
    [
      'x has ended',
      'kept: 2 times reset before its echo',
      'kept: nothing was exchanged',
      'no pod came and went',
      'no certificate was renewed',
      'ztunnel grew from 130 to 170 MiB',
      'ztunnel has 39 descriptors, 30 before the load',
      'ztunnel has 2 connections left',
    ],
  );
});
