/**
 * What served a connection or a request is found by the next young collections. What they miss waits for a whole one; a waypoint
 * that makes three of those a second spends a third of its CPU on it (docs/performance.md, “What outlives its connection”).
 */
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import t from 'tap';
import { collectGarbage } from '../../../src/base/garbage.ts';
import { Http2Exchange } from '../../../src/http/h2c-exchange.ts';
import { Http1Exchange } from '../../../src/http/http1-exchange.ts';
import { emptyL7Model } from '../../../src/route/model.ts';
import { TunnelAuthorizer } from '../../../src/waypoint/authorize.ts';
import { RequestRecord } from '../../../src/waypoint/request-record.ts';
import { eventually, within } from '../../support/eventually.ts';
import { http1, http2 } from './client.ts';
import { createHarness, type Harness, type HarnessOptions, onlySleep, serviceKey } from './harness.ts';

const count = 100;
const body = 'x'.repeat(10_000);
/** Of the last ones something may still be on its way. */
const mostKept = 3;

// A whole collection that V8 makes by itself would find everything.
setFlagsFromString('--no-incremental-marking');

/** Notes each object on which a method is called, without keeping it. */
class Watch {
  readonly #seen = new Map<string, WeakRef<object>[]>();

  of(prototype: object, method: string): void {
    const name = prototype.constructor.name;
    const own = Reflect.get(prototype, method) as (...values: unknown[]) => unknown;
    const noted = new WeakSet();
    const seen: WeakRef<object>[] = [];
    this.#seen.set(name, seen);
    Reflect.set(prototype, method, function (this: object, ...values: unknown[]) {
      if (!noted.has(this)) seen.push(new WeakRef(this));
      noted.add(this);
      return own.apply(this, values);
    });
  }

  forget(): void {
    for (const seen of this.#seen.values()) seen.length = 0;
  }

  get seen(): Readonly<Record<string, number>> {
    return this.#count(() => true);
  }

  get alive(): Readonly<Record<string, number>> {
    return this.#count((one) => one.deref() !== undefined);
  }

  #count(counts: (one: WeakRef<object>) => boolean): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#seen].map(([name, seen]) => [name, seen.filter(counts).length]));
  }
}

const tcpPods: HarnessOptions = {
  pods: [(socket: Socket) => void socket.pipe(socket)],
  podKind: 'tcp',
  appProtocol: 'tcp',
};

const watch = new Watch();
watch.of(Http1Exchange.prototype, 'start');
watch.of(Http2Exchange.prototype, 'start');
watch.of(RequestRecord.prototype, 'judged');
watch.of(TunnelAuthorizer.prototype, 'service');

/** A WeakRef that was asked keeps what it names until the end of the job. */
async function collectYoung(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    await setImmediate();
    collectGarbage({ type: 'minor' });
  }
  await setImmediate();
}

const kinds: Readonly<Record<string, { readonly tcp?: true; readonly ask: (harness: Harness) => Promise<unknown> }>> = {
  'HTTP/1.1': { ask: async (harness) => await http1(await harness.tunnel()) },
  'HTTP/1.1 with a body': { ask: async (harness) => await http1(await harness.tunnel(), { method: 'POST', body }) },
  'HTTP/2': { ask: async (harness) => await http2(await harness.tunnel(), { ':path': '/' }) },
  'HTTP/2 with a body': { ask: async (harness) => await http2(await harness.tunnel(), { ':path': '/' }, body) },
  TCP: {
    tcp: true,
    ask: async (harness) => {
      const stream = await harness.tunnel();
      const gone = new Promise((resolve) => stream.once('close', resolve));
      stream.resume().end('hello');
      await within('the end', gone);
    },
  },
};

for (const [name, { tcp, ask }] of Object.entries(kinds)) {
  t.test(`${name}: nothing of a connection that is over is taken for old`, async (t) => {
    const harness = await createHarness(
      t,
      tcp ? tcpPods : { pods: [(_request, response) => void response.end('hello')] },
    );
    harness.model = { ...emptyL7Model, servicePolicies: new Map([[serviceKey, [onlySleep]]]) };
    await ask(harness);
    watch.forget();
    for (let i = 0; i < count; i++) await within('the answer', ask(harness));
    await eventually('the last to be reported', () =>
      tcp ? harness.tcp.closed.length > count : harness.requests.length > count,
    );
    const { seen } = watch;
    const expected = tcp ? ['TunnelAuthorizer'] : ['RequestRecord', 'TunnelAuthorizer', `Http${name.at(5)}Exchange`];
    for (const kind of expected) t.equal(seen[kind], count, kind);
    await collectYoung();
    for (const [kind, alive] of Object.entries(watch.alive))
      t.ok(alive <= mostKept, `${kind}: ${alive} of ${seen[kind]}`);
    harness.lines.length = 0;
  });
}
