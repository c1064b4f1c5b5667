/** What a watch is told of tries, and that each of them is counted down once, however it ends. */
import { PassThrough } from 'node:stream';
import t from 'tap';
import type { OutlierEvent } from '../../../src/upstream/balance/outlier.ts';
import type { TryHandler, UpstreamPools } from '../../../src/upstream/pools.ts';
import { sendWatched, type TryWatch } from '../../../src/upstream/try-watch.ts';

function world() {
  const told: string[] = [];
  let active = 0;
  let ends = 0;
  const watch: TryWatch = {
    observing: true,
    begin: () => void active++,
    observe: (event: OutlierEvent) => void told.push(event.kind === 'status' ? String(event.status) : event.kind),
    end: () => {
      active--;
      ends++;
    },
  };
  let inner: TryHandler | undefined;
  const pools = {
    send: (_endpoint: unknown, _protocol: unknown, _request: unknown, handler: TryHandler) => {
      inner = handler;
      return { abort: () => {}, resume: () => {} };
    },
  } as unknown as UpstreamPools;
  const heard: string[] = [];
  const handler: TryHandler = {
    inform: () => void heard.push('inform'),
    head: (status) => void heard.push(`head ${status}`),
    data: () => heard.push('data') > 0,
    end: () => void heard.push('end'),
    upgraded: () => void heard.push('upgraded'),
    failed: ({ kind }) => void heard.push(`failed ${kind}`),
  };
  const running = sendWatched(pools, watch, undefined as never, 'h1', undefined as never, handler);
  if (inner === undefined) throw new Error('nothing was sent');
  return { inner, running, told, heard, active: () => active, ends: () => ends };
}

const grpc = ['content-type', 'application/grpc'];

t.test('an answer is told with its status and counted down at its end', async (t) => {
  const { inner, told, heard, active, ends } = world();
  t.equal(active(), 1);
  inner.inform(103, []);
  inner.head(503, []);
  inner.data(Buffer.from('x'));
  t.equal(active(), 1);
  inner.end([]);
  t.same(told, ['503']);
  t.same(heard, ['inform', 'head 503', 'data', 'end']);
  t.same([active(), ends()], [0, 1]);
});

t.test('gRPC is told by its status, in the head or in trailers', async (t) => {
  const alone = world();
  alone.inner.head(200, [...grpc, 'grpc-status', '14']);
  alone.inner.end([]);
  t.same(alone.told, ['503']);
  const late = world();
  late.inner.head(200, grpc);
  t.same(late.told, [], 'not known yet');
  late.inner.end(['grpc-status', '13']);
  t.same(late.told, ['500']);
  const fine = world();
  fine.inner.head(200, grpc);
  fine.inner.end(['grpc-status', '0']);
  t.same(fine.told, ['200']);
  const odd = world();
  odd.inner.head(200, grpc);
  odd.inner.end(['grpc-status', 'x']);
  t.same(odd.told, ['200']);
  const plain = world();
  plain.inner.head(502, grpc);
  plain.inner.end([]);
  t.same(plain.told, ['502'], 'somebody before the application');
});

t.test('failures are told, but not that a peer drains', async (t) => {
  for (const kind of ['connect-failure', 'reset', 'refused-stream'] as const) {
    const { inner, told, active } = world();
    inner.failed({ kind }, new Error('x'));
    t.same(told, kind === 'refused-stream' ? [] : [kind]);
    t.equal(active(), 0);
  }
});

t.test('who gives up counts down once, whatever comes afterwards', async (t) => {
  const { inner, running, active, ends, told } = world();
  running.abort('another try follows');
  running.abort('again');
  inner.failed({ kind: 'refused-stream' }, new Error('late'));
  t.same([active(), ends()], [0, 1]);
  t.same(told, []);
});

t.test('an upgraded connection counts until it is closed', async (t) => {
  const { inner, active, told } = world();
  const stream = new PassThrough();
  inner.upgraded([], stream);
  t.equal(active(), 1);
  stream.destroy();
  await new Promise((resolve) => stream.once('close', resolve));
  t.equal(active(), 0);
  t.same(told, ['101']);
});
