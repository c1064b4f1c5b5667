/** A response through the hooks of an extension, whenever they answer: I1 and I2 of hooked-exchange.ts. */
import type { Duplex } from 'node:stream';
import t from 'tap';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { HookName } from '../../../src/extensions/extension.ts';
import { HookCaller, HookCells } from '../../../src/extensions/hook-caller.ts';
import { type ExtensionReply, HookedExchange } from '../../../src/extensions/hooked-exchange.ts';
import { ExtensionMetrics } from '../../../src/extensions/metrics.ts';
import type { Question } from '../../../src/extensions/protocol.ts';
import type { ThreadAnswer } from '../../../src/extensions/thread.ts';
import type { Exchange, IncomingRequest } from '../../../src/http/exchange.ts';
import type { HeaderList } from '../../../src/http/header-list.ts';
import { HeldMemory } from '../../../src/http/held-memory.ts';
import type { ExtensionRecord } from '../../../src/route/extension.ts';
import { extensionRecord } from '../../support/extension-record.ts';
import { FakeClock } from '../../support/fake-clock.ts';

class FakeExchange implements Exchange {
  readonly request: IncomingRequest;
  readonly told: string[] = [];
  full = false;
  #drain = () => {};
  #closed: (complete: boolean) => void = () => {};

  constructor(method: string) {
    const path = { authority: 'a', path: '/', query: '' };
    this.request = { version: '1.1', method, ...path, headers: [], body: undefined, upgrade: undefined };
  }

  expectBody(): void {}
  inform(status: number): void {
    this.told.push(`inform ${status}`);
  }
  start(status: number, headers: HeaderList, empty: boolean): void {
    this.told.push(`start ${status} ${headers.join(' ')}${empty ? ' empty' : ''}`);
  }
  write(chunk: Uint8Array): boolean {
    this.told.push(`write ${Buffer.from(chunk).toString()}`);
    return !this.full;
  }
  onDrain(listener: () => void): void {
    this.#drain = listener;
  }
  end(trailers: HeaderList = []): void {
    this.told.push(['end', ...trailers].join(' '));
  }
  switchProtocols(): Duplex {
    throw new TypeError('nobody asks for it');
  }
  reset(): void {
    this.told.push('reset');
  }
  onClosed(listener: (complete: boolean) => void): void {
    this.#closed = listener;
  }
  drain(): void {
    this.full = false;
    this.#drain();
  }
  leave(): void {
    this.#closed(false);
  }
}

function start(hooks: readonly HookName[], fields: Partial<ExtensionRecord> & { method?: string } = {}) {
  const { method = 'GET', ...changed } = fields;
  const record = extensionRecord({
    source: { kind: 'Extension', namespace: 'n', name: 'e' },
    maxHeldBytes: 10,
    ...changed,
  });
  const asked: { readonly question: Question; readonly done: (answer: ThreadAnswer) => void }[] = [];
  const lease = {
    hooks: new Set(hooks),
    ask: (question: Question, done: (answer: ThreadAnswer) => void) => {
      asked.push({ question, done });
      return () => {};
    },
    release: () => {},
  };
  const caller = new HookCaller(new HookCells(record, new ExtensionMetrics(unscrapedMetrics)), lease, new FakeClock());
  const inner = new FakeExchange(method);
  const held = new HeldMemory(100);
  const replies: ExtensionReply[] = [];
  const client = { identity: '', namespace: '', serviceAccount: '', ip: '' };
  const facts = { client, service: undefined, port: 0, requestId: '', route: undefined, claims: undefined };
  const exchange = new HookedExchange(inner, {
    caller,
    facts: () => facts,
    held: { memory: held, client: 'c' },
    onReply: (reply) => void replies.push(reply),
  });
  let drains = 0;
  exchange.onDrain(() => void drains++);
  /** Answers the oldest question that has none. */
  let next = 0;
  const answer = (value?: unknown) => asked[next++]?.done({ kind: 'answer', answer: value });
  const fail = () => asked[next++]?.done({ kind: 'failed', reason: 'threw', text: '' });
  return { exchange, inner, told: inner.told, asked, answer, fail, held, replies, drains: () => drains };
}

t.test('what comes while the head is with the hook waits, and slows who writes', async (t) => {
  const { exchange, told, answer, drains } = start(['responseHeaders']);
  exchange.inform(103, []);
  exchange.start(200, ['a', '1'], false);
  t.ok(exchange.write(Buffer.from('x')));
  t.notOk(exchange.write(Buffer.alloc(70_000)), 'the window is full');
  t.same(told, ['inform 103']);
  answer({ headers: { set: { b: '2' } } });
  t.equal(told[1], 'start 200 a 1 b 2');
  t.equal(told[2], 'write x');
  t.equal(drains(), 1);
  exchange.end(['t', '1']);
  t.equal(told.at(-1), 'end t 1');
});

t.test('a response that ended before its head was answered still comes whole', async (t) => {
  const { exchange, told, answer } = start(['responseHeaders', 'responseBody']);
  exchange.start(200, ['content-length', '1'], false);
  exchange.write(Buffer.from('x'));
  exchange.end(['t', '1']);
  answer();
  answer({ replace: 'y' });
  answer({ replace: 'z' });
  t.same(told, ['start 200 ', 'write y', 'write z', 'end t 1']);
});

t.test('answers without a body are not asked about one', async (t) => {
  for (const [method, status, empty] of [
    ['HEAD', 200, false],
    ['GET', 204, false],
    ['GET', 304, false],
    ['GET', 200, true],
  ] as const) {
    const { exchange, told, asked } = start(['responseBody'], { method });
    exchange.start(status, ['content-length', '5'], empty);
    exchange.end();
    t.equal(asked.length, 0);
    t.same(told, [`start ${status} content-length 5${empty ? ' empty' : ''}`, 'end']);
  }
});

t.test('whoever replies is heard once, and nothing of the other response', async (t) => {
  const { exchange, told, answer, replies } = start(['responseHeaders']);
  exchange.start(200, [], false);
  exchange.write(Buffer.from('secret'));
  answer({ respond: { status: 502, body: 'no' } });
  exchange.write(Buffer.from('more'));
  exchange.end();
  exchange.start(200, [], false);
  t.match(told, [/^start 502/, 'write no', 'end']);
  t.equal(told.length, 3);
  t.match(replies, [{ status: 502, details: 'extension_replied{n/e}' }]);
});

t.test('a failure before the head is a 503, after it a break', async (t) => {
  const early = start(['responseHeaders']);
  early.exchange.start(200, [], false);
  early.fail();
  t.match(early.told, [/^start 503/, 'end']);
  const late = start(['responseBody']);
  late.exchange.start(200, [], false);
  late.exchange.write(Buffer.from('x'));
  late.fail();
  late.exchange.end();
  t.same(late.told, ['start 200 ', 'reset']);
  const open = start(['responseBody'], { failureMode: 'open' });
  open.exchange.start(200, [], false);
  open.exchange.write(Buffer.from('x'));
  open.fail();
  t.same(open.told, ['start 200 ', 'write x']);
});

t.test('a held response is measured anew, and one too long meets the failure mode', async (t) => {
  const { exchange, told, answer, held } = start(['responseHeaders', 'responseBody']);
  exchange.start(200, ['content-length', '4'], false);
  answer({ body: 'hold' });
  exchange.write(Buffer.from('ab'));
  exchange.write(Buffer.from('cd'));
  t.equal(held.bytes, 4);
  exchange.end();
  answer({ replace: 'longer' });
  t.same(told, ['start 200 content-length 6', 'write longer', 'end']);
  t.equal(held.bytes, 0);
  for (const failureMode of ['closed', 'open'] as const) {
    const long = start(['responseHeaders', 'responseBody'], { failureMode });
    long.exchange.start(200, [], false);
    long.answer({ body: 'hold' });
    long.exchange.write(Buffer.from('0123456789'));
    long.exchange.write(Buffer.from('x'));
    long.exchange.write(Buffer.from('y'));
    long.exchange.end();
    if (failureMode === 'closed') t.match(long.told, [/^start 503/, 'end']);
    else t.same(long.told, ['start 200 ', 'write 0123456789', 'write x', 'write y', 'end']);
    t.equal(long.held.bytes, 0);
  }
});

t.test('who only inspects may not replace', async (t) => {
  const { exchange, told, answer } = start(['responseHeaders', 'responseBody']);
  exchange.start(200, ['content-length', '1'], false);
  answer({ body: 'inspect' });
  exchange.write(Buffer.from('x'));
  answer({ replace: 'yy' });
  t.same(told, ['start 200 content-length 1', 'reset']);
});

t.test('a slow client slows the upstream through the hook', async (t) => {
  const { exchange, inner, answer, drains } = start(['responseBody']);
  exchange.start(200, [], false);
  inner.full = true;
  t.ok(exchange.write(Buffer.from('x')), 'it is with the hook, which has room');
  answer();
  t.notOk(exchange.write(Buffer.from('y')), 'the client is full');
  const before = drains();
  inner.drain();
  t.equal(drains(), before + 1);
});

t.test('when the client leaves nothing is held and nothing said any more', async (t) => {
  const { exchange, inner, told, answer, held } = start(['responseHeaders', 'responseBody']);
  exchange.start(200, [], false);
  answer({ body: 'hold' });
  exchange.write(Buffer.from('ab'));
  inner.leave();
  t.equal(held.bytes, 0);
  exchange.end();
  t.same(told, []);
});

t.test('whoever writes without heeding the window is broken off', async (t) => {
  const { exchange, told } = start(['responseHeaders']);
  exchange.start(200, [], false);
  for (let at = 0; at < 40; at++) exchange.write(Buffer.alloc(64 * 1024));
  t.same(told, ['reset']);
});
