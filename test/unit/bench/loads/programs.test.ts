/** What wrk, h2load, iperf3 and tcpload print, recorded from them, as results of loads. */
import t from 'tap';
import { readH2load } from '../../../../bench/loads/h2load.ts';
import { readIperf3 } from '../../../../bench/loads/iperf3.ts';
import { readTcpload } from '../../../../bench/loads/tcpload.ts';
import { readWrk } from '../../../../bench/loads/wrk.ts';
import { h2load, iperf3, wrk } from './recorded.ts';

const ended = (stdout: string) => ({ ok: true, stdout, stderr: '', reason: '' });
const failed = (reason: string, stdout = '', stderr = '') => ({ ok: false, stdout, stderr, reason });

t.test('wrk', async (t) => {
  t.test('requests, rate and percentiles', async (t) => {
    t.same(readWrk(ended(wrk.through)), {
      units: 24507,
      perSecond: (24507 / 1009208) * 1e6,
      errors: 0,
      latency: { p50Ms: 0.765, p90Ms: 2.936, p99Ms: 8.961, p999Ms: 19.498 },
    });
  });
  t.test('an answer other than 2xx is an error and no unit', async (t) => {
    t.match(readWrk(ended(wrk.unavailable)), { units: 0, perSecond: 0, errors: 22402, causes: { status: 22402 } });
  });
  t.test('an origin that goes away: what went through, and the errors by name', async (t) => {
    t.match(readWrk(ended(wrk.killed)), { units: 29664, errors: 17052, causes: { read: 32, write: 17020 } });
  });
  t.test('an origin that refuses', async (t) => {
    t.same(readWrk(failed('nsenter: exit 1: ', 'unable to connect to 127.0.0.1:99 Connection refused\n')), {
      units: 0,
      perSecond: 0,
      errors: 1,
      causes: { 'connect: Connection refused': 1 },
    });
  });
  t.test('a wrk that is not there', async (t) => {
    const missing = 'nsenter: failed to execute wrk: No such file or directory';
    t.throws(() => readWrk(failed(missing, '', missing)), { message: /wrk said what cannot be read: nsenter/ });
  });
});

t.test('h2load', async (t) => {
  const log = Array.from({ length: 1000 }, (_, i) => `17953845353810${i}\t200\t${1000 - i}\n`).join('');
  t.test('requests and rate from what it prints, percentiles from its log', async (t) => {
    t.same(readH2load(ended(h2load.through), `${log}1795384536373562\t503\t900000\n`), {
      units: 16932,
      perSecond: 16932,
      errors: 0,
      latency: { p50Ms: 0.5, p90Ms: 0.9, p99Ms: 0.99, p999Ms: 0.999 },
    });
  });
  t.test('an answer other than 2xx is an error and no unit', async (t) => {
    const result = readH2load(ended(h2load.unavailable), '');
    t.same(result, { units: 0, perSecond: 0, errors: 17332, causes: { status: 17332 } });
  });
  t.test('an origin that refuses, of which it says nothing', async (t) => {
    const result = readH2load(ended(h2load.refused), '');
    t.same(result, { units: 0, perSecond: 0, errors: 1, causes: { 'connection without an answer': 1 } });
  });
  t.test('an origin that goes away, of which it says nothing', async (t) => {
    const result = readH2load(ended(h2load.killed), '');
    t.match(result, { units: 21069, errors: 1, causes: { 'connection that broke off': 1 } });
  });
  t.test('anything else', async (t) => {
    t.throws(() => readH2load(ended('starting benchmark...'), ''), { message: /h2load said what cannot be read/ });
  });
});

t.test('iperf3', async (t) => {
  t.test('what arrived counts, in units of 1e9 bytes', async (t) => {
    const result = readIperf3(ended(iperf3.through));
    t.same(result, { units: 1.52829952, perSecond: 1.52829952 / 1.031498, errors: 0 });
  });
  t.test('an origin that refuses', async (t) => {
    const result = readIperf3(failed('nsenter: exit 1: ', iperf3.refused));
    t.same(result.causes, { 'unable to connect to server: Connection refused': 1 });
    t.match(result, { units: 0, errors: 1 });
  });
  t.test('one that hangs and was killed', async (t) => {
    t.match(readIperf3(failed('nsenter: ended by SIGKILL: ')), { units: 0, causes: { 'not finished in time': 1 } });
  });
  t.test('anything else', async (t) => {
    t.throws(() => readIperf3(failed('nsenter: exit 1: ', 'usage')), { message: /iperf3 said what cannot be read/ });
    t.throws(() => readIperf3(ended('{}')), { message: /iperf3 said what cannot be read/ });
  });
});

t.test('tcpload', async (t) => {
  t.test('units, rate, percentiles in milliseconds', async (t) => {
    t.same(
      readTcpload(
        '{"units":5000,"seconds":1.250000,"latencyUs":{"p50":75.0,"p90":3427.2,"p99":13627.0,"p999":23112.2},"errors":{}}\n',
      ),
      {
        units: 5000,
        perSecond: 4000,
        errors: 0,
        latency: { p50Ms: 0.075, p90Ms: 3.4272, p99Ms: 13.627, p999Ms: 23.1122 },
      },
    );
  });
  t.test('errors by name', async (t) => {
    t.same(
      readTcpload('{"units":0,"seconds":3.017439,"latencyUs":null,"errors":{"wrong answer":72,"no answer":8}}\n'),
      { units: 0, perSecond: 0, errors: 80, causes: { 'wrong answer': 72, 'no answer': 8 } },
    );
  });
  t.test('a run that never began has no rate', async (t) => {
    const result = readTcpload(
      '{"units":0,"seconds":0.000000,"latencyUs":null,"errors":{"connect: Connection refused":5032}}',
    );
    t.match(result, { perSecond: 0, errors: 5032 });
  });
  t.test('anything else', async (t) => {
    t.throws(() => readTcpload('held 5'), { message: /tcpload said what cannot be read: held 5/ });
  });
});
