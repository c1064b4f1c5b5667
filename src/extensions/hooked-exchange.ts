/**
 * An exchange whose response passes the hooks of one extension before it reaches the client. Where several extensions have such
 * hooks, one stands in the other: the response passes them in reverse order, as Envoy's filters do.
 *
 * I1: the client sees one response: the upstream's as the hooks made it, or one of the extension's own, never parts of both.
 * I2: a slow hook slows the upstream: what is queued for it is bounded.
 */
import type { Duplex } from 'node:stream';
import type { Exchange, IncomingRequest } from '../http/exchange.ts';
import { type HeaderList, noHeaders, withHeader, withoutHeaders } from '../http/header-list.ts';
import { isGrpc, localReply } from '../http/local-reply.ts';
import { applyHeaderChange } from '../route/header-change.ts';
import { type CheckedAnswer, type LocalAnswer, unchanged } from './check-answer.ts';
import type { BodyMode } from './extension.ts';
import { type HeldBudget, HeldBytes } from './held-body.ts';
import type { HookCaller, HookOutcome } from './hook-caller.ts';
import { PartPump } from './part-pump.ts';
import type { SentFacts } from './protocol.ts';

export interface HookedExchangeOptions {
  readonly caller: HookCaller;
  readonly facts: () => SentFacts;
  readonly held: HeldBudget;
  /** The extension answers in place of whoever would have: for the log. */
  readonly onReply: (reply: ExtensionReply) => void;
}

/** What the client got instead of what the rest of the proxy believes it got. */
export interface ExtensionReply {
  readonly status: number;
  readonly details: string;
  grpcStatus: string | undefined;
}

interface Head {
  readonly status: number;
  readonly headers: HeaderList;
  readonly empty: boolean;
}

/** Where the response is: not begun, its head or its whole with the hook, its parts with the hook, unseen, done with. */
type Phase = 'before' | 'asking' | 'holding' | 'parts' | 'through' | 'over';

/** While the head is with the hook; whoever writes more does not heed back-pressure. */
const maxQueuedBytes = 1024 * 1024;
const queueWindowBytes = 64 * 1024;

export class HookedExchange implements Exchange {
  readonly request: IncomingRequest;
  readonly #inner: Exchange;
  readonly #options: HookedExchangeOptions;
  readonly #pump: PartPump;
  readonly #drainListeners: (() => void)[] = [];
  #phase: Phase = 'before';
  #head: Head | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #held: HeldBytes | undefined;
  #ended: HeaderList | undefined;
  #mode: BodyMode = 'skip';
  #innerFull = false;

  constructor(inner: Exchange, options: HookedExchangeOptions) {
    this.#inner = inner;
    this.#options = options;
    this.request = inner.request;
    this.#pump = new PartPump({
      ask: (bytes, last, done) => this.#askPart(bytes, last, done),
      part: (bytes) => {
        if (!this.#inner.write(bytes)) this.#innerFull = true;
        this.#tellRoom();
      },
      end: () => this.#inner.end(this.#ended),
      refused: (details) => this.refuse(details),
      respond: (answer) => this.reply(answer),
    });
    inner.onDrain(() => {
      this.#innerFull = false;
      this.#tellRoom();
    });
    inner.onClosed(() => this.#stop());
  }

  /** Answers in place of whoever would have; when the client has had a head already, breaks the response off. */
  reply(answer: LocalAnswer, details = `extension_replied{${this.#options.caller.cells.name}}`): void {
    if (this.#phase === 'over') return;
    const unseen = this.#phase === 'before' || this.#phase === 'asking' || this.#phase === 'holding';
    this.#stop();
    if (!unseen) {
      this.#inner.reset();
      return;
    }
    const { status, body, headers } = answer;
    const grpc = isGrpc(this.request.headers);
    const reply: ExtensionReply = { status: grpc ? 200 : status, details, grpcStatus: undefined };
    this.#options.onReply(reply);
    reply.grpcStatus = localReply(this.#inner, status, body, headers);
  }

  refuse(details: string): void {
    this.reply({ status: 503, headers: noHeaders, body: '' }, details);
  }

  expectBody(): void {
    this.#inner.expectBody();
  }

  inform(status: number, headers: HeaderList): void {
    if (this.#phase === 'before') this.#inner.inform(status, headers);
  }

  start(status: number, headers: HeaderList, empty: boolean): void {
    if (this.#phase !== 'before') return;
    const head = { status, headers, empty };
    this.#head = head;
    const { caller, facts } = this.#options;
    if (!caller.has('responseHeaders')) {
      this.#headed(head, unchanged);
      return;
    }
    this.#phase = 'asking';
    const content = { status, headers, hasBody: this.#mayHaveBody(head) };
    caller.ask({ hook: 'responseHeaders', content, facts: facts() }, (outcome) => {
      if (this.#phase !== 'asking') return;
      if (outcome.kind === 'refused') this.refuse(outcome.details);
      else if (outcome.kind === 'ignored') this.#headed(head, unchanged);
      else if (outcome.answer.respond !== undefined) this.reply(outcome.answer.respond);
      else this.#headed(head, outcome.answer);
    });
  }

  write(chunk: Uint8Array): boolean {
    switch (this.#phase) {
      case 'asking':
        return this.#enqueue(chunk);
      case 'holding':
        return this.#hold(chunk);
      case 'parts':
        this.#pump.push(chunk);
        return this.#hasRoom();
      case 'through':
        return this.#inner.write(chunk);
      default:
        return true;
    }
  }

  onDrain(listener: () => void): void {
    this.#drainListeners.push(listener);
  }

  end(trailers: HeaderList = noHeaders): void {
    if (this.#ended !== undefined) return;
    this.#ended = trailers;
    if (this.#phase === 'through') this.#inner.end(trailers);
    else if (this.#phase === 'parts') this.#pump.end();
    else if (this.#phase === 'holding') this.#askWhole();
  }

  switchProtocols(headers: HeaderList): Duplex {
    this.#phase = 'through';
    return this.#inner.switchProtocols(headers);
  }

  reset(): void {
    this.#stop();
    this.#inner.reset();
  }

  onClosed(listener: (complete: boolean) => void): void {
    this.#inner.onClosed(listener);
  }

  #mayHaveBody({ status, empty }: Head): boolean {
    return !empty && status !== 204 && status !== 304 && this.request.method !== 'HEAD';
  }

  /** The hook has said what it wants of the head. */
  #headed(head: Head, answer: CheckedAnswer): void {
    const seen = this.#mayHaveBody(head) && this.#options.caller.has('responseBody');
    this.#mode = seen ? (answer.body ?? 'change') : 'skip';
    const changed: Head = {
      status: answer.status ?? head.status,
      headers: applyHeaderChange(head.headers, answer.headers),
      empty: head.empty,
    };
    this.#head = changed;
    if (answer.status !== undefined) {
      const { name } = this.#options.caller.cells;
      const details = `extension_changed_status{${name}}`;
      this.#options.onReply({ status: answer.status, details, grpcStatus: undefined });
    }
    if (this.#mode === 'hold') {
      this.#phase = 'holding';
      this.#held = new HeldBytes(this.#options.held, this.#options.caller.record.maxHeldBytes);
    } else {
      this.#phase = this.#mode === 'skip' ? 'through' : 'parts';
      const headers = this.#mode === 'change' ? withoutLength(changed.headers) : changed.headers;
      this.#inner.start(changed.status, headers, changed.empty);
    }
    this.#release();
  }

  /** What came while the head was with the hook. */
  #release(): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    for (const chunk of queue) {
      if (!this.write(chunk) && this.#phase === 'through') this.#innerFull = true;
    }
    const ended = this.#ended;
    if (ended !== undefined) {
      this.#ended = undefined;
      this.end(ended);
    } else this.#tellRoom();
  }

  #enqueue(chunk: Uint8Array): boolean {
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.length;
    if (this.#queuedBytes > maxQueuedBytes) this.reset();
    return this.#queuedBytes < queueWindowBytes;
  }

  #hold(chunk: Uint8Array): boolean {
    const kind = this.#held?.add(chunk);
    if (kind === undefined || kind === 'kept') return true;
    const outcome = this.#options.caller.cells.failed('responseBody', kind === 'too-long' ? 'too-long' : 'busy');
    if (outcome.kind === 'refused') this.refuse(outcome.details);
    else this.#passHeld();
    return true;
  }

  /** It is not shown after all: what was held goes on as it came. */
  #passHeld(): void {
    const held = this.#takeHeld();
    const head = this.#head as Head;
    this.#phase = 'through';
    this.#inner.start(head.status, head.headers, head.empty);
    for (const chunk of held) this.#inner.write(chunk);
    if (this.#ended !== undefined) this.#inner.end(this.#ended);
  }

  #askWhole(): void {
    const whole = this.#held?.joined() ?? new Uint8Array(0);
    this.#askPart(new Uint8Array(whole), true, (outcome) => {
      if (this.#phase !== 'holding') return;
      if (outcome.kind === 'refused') this.refuse(outcome.details);
      else if (outcome.kind === 'ignored') this.#passHeld();
      else if (outcome.answer.respond !== undefined) this.reply(outcome.answer.respond);
      else {
        const bytes = outcome.answer.replace ?? whole;
        const { status, headers } = this.#head as Head;
        this.#takeHeld();
        this.#phase = 'through';
        const trailers = this.#ended ?? noHeaders;
        const sized =
          trailers.length > 0 ? withoutLength(headers) : withHeader(headers, 'content-length', `${bytes.length}`);
        this.#inner.start(status, sized, bytes.length === 0 && trailers.length === 0);
        this.#inner.write(bytes);
        this.#inner.end(trailers);
      }
    });
  }

  #takeHeld(): readonly Uint8Array[] {
    const chunks = this.#held?.chunks ?? [];
    this.#held?.release();
    this.#held = undefined;
    return chunks;
  }

  #askPart(bytes: Uint8Array, last: boolean, done: (outcome: HookOutcome) => void): void {
    const { caller, facts } = this.#options;
    const question = {
      hook: 'responseBody',
      content: { bytes, last },
      facts: caller.told ? undefined : facts(),
    } as const;
    const inspecting = this.#mode === 'inspect';
    caller.ask(question, done, ({ replace }) => inspecting && replace !== undefined);
  }

  #hasRoom(): boolean {
    return !this.#innerFull && !this.#pump.full;
  }

  #tellRoom(): void {
    const open = this.#phase === 'through' || this.#phase === 'holding' || this.#phase === 'parts';
    if (open && this.#hasRoom()) for (const listener of this.#drainListeners) listener();
  }

  #stop(): void {
    this.#phase = 'over';
    this.#pump.stop();
    this.#queue = [];
    this.#takeHeld();
  }
}

function withoutLength(headers: HeaderList): HeaderList {
  return withoutHeaders(headers, (name) => name === 'content-length');
}
