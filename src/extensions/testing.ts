/**
 * For unit tests of extensions: import it as `ambit/extension/testing`. It runs the hooks in the test's own thread, as the
 * proxy runs them in theirs: the same order, the same checks of what they answer, the same modes of bodies. What the proxy
 * would count as a failure is thrown, with the reason, for a test to see.
 */
import { type HeaderList, withHeader, withoutHeaders } from '../http/header-list.ts';
import { applyHeaderChange } from '../route/header-change.ts';
import { type CheckedAnswer, checkAnswer, type LocalAnswer } from './check-answer.ts';
import type { BodyMode, ConnectionFacts, CreateExtension, ExchangeFacts, HookName } from './extension.ts';
import { hookNames } from './extension.ts';
import type { Question, SentFacts } from './protocol.ts';
import { Dispatch } from './worker/dispatch.ts';

type Headers = Readonly<Record<string, string>> | readonly (readonly [name: string, value: string])[];

/** What is left out is a plain `GET /` of `spiffe://cluster.local/ns/default/sa/client`. */
export interface TestRequest {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  readonly authority?: string;
  readonly headers?: Headers;
  readonly body?: string | Uint8Array;
  readonly facts?: Partial<Omit<ExchangeFacts, 'state'>>;
}

export interface TestResponse {
  readonly status?: number;
  readonly headers?: Headers;
  readonly body?: string | Uint8Array;
}

/** A message as it arrives: names in lower case, bodies as text. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface SeenResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface TestExchange {
  /** What the application got; undefined: the extension answered before it. */
  readonly request: SeenRequest | undefined;
  /** What the client got. */
  readonly response: SeenResponse;
}

export interface ExtensionUnderTest {
  /** One request and its response through all hooks. `application` answers; unless told, with 200 and no body. */
  exchange(request?: TestRequest, application?: (request: SeenRequest) => TestResponse): Promise<TestExchange>;
  /** Why the connection is closed; undefined: it is not. */
  connection(facts?: Partial<ConnectionFacts>): Promise<string | undefined>;
  readonly log: readonly { readonly level: string; readonly message: string }[];
}

export interface TestOptions {
  readonly name?: string;
  /** Longest part of a body; bodies are cut into such. */
  readonly partBytes?: number;
}

const client = {
  identity: 'spiffe://cluster.local/ns/default/sa/client',
  namespace: 'default',
  serviceAccount: 'client',
  ip: '10.0.0.1',
} as const;

/** Rejects as the extension would be refused: when it throws, or gives hooks that do not exist. */
export async function testExtension(
  createExtension: CreateExtension,
  config?: unknown,
  { name = 'default/test', partBytes = 64 * 1024 }: TestOptions = {},
): Promise<ExtensionUnderTest> {
  const log: { level: string; message: string }[] = [];
  const hooks = await createExtension(structuredClone(config), {
    name,
    log: (level, message) => void log.push({ level, message }),
  });
  for (const key of Object.keys(hooks)) {
    if (!(hookNames as readonly string[]).includes(key)) throw new TypeError(`there is no hook ${key}`);
  }
  const dispatch = new Dispatch(hooks);
  const has = (hook: HookName) => hooks[hook] !== undefined;
  let exchanges = 0;
  const ask = async (exchange: number, question: Question): Promise<CheckedAnswer> => {
    // As it would be on its way to another thread.
    const answer: unknown = structuredClone(await dispatch.ask(exchange, structuredClone(question)));
    const checked = checkAnswer(question.hook, answer);
    if (typeof checked === 'string') throw new TypeError(`${question.hook}: ${checked}`);
    return checked;
  };
  return {
    log,
    async connection(facts = {}) {
      const content: ConnectionFacts = { client, service: 'default/app', port: 80, protocol: 'http', ...facts };
      return (await ask(0, { hook: 'connection', content })).close;
    },
    async exchange(given = {}, application = () => ({})) {
      const id = ++exchanges;
      const run = new TestRun(given, partBytes, has, (question) => ask(id, question));
      try {
        return await run.exchange(application);
      } finally {
        dispatch.over(id);
      }
    },
  };
}

class TestRun {
  readonly #given: TestRequest;
  readonly #partBytes: number;
  readonly #has: (hook: HookName) => boolean;
  readonly #ask: (question: Question) => Promise<CheckedAnswer>;
  readonly #facts: SentFacts;

  constructor(
    given: TestRequest,
    partBytes: number,
    has: (hook: HookName) => boolean,
    ask: (question: Question) => Promise<CheckedAnswer>,
  ) {
    this.#given = given;
    this.#partBytes = partBytes;
    this.#has = has;
    this.#ask = ask;
    const defaults = { client, service: 'default/app', port: 80, requestId: '1', route: undefined, claims: undefined };
    this.#facts = { ...defaults, ...given.facts };
  }

  async exchange(application: (request: SeenRequest) => TestResponse): Promise<TestExchange> {
    const { method = 'GET', path = '/', query = '', authority = 'app', body } = this.#given;
    let headers = flat(this.#given.headers);
    let mode: BodyMode = 'change';
    if (this.#has('requestHeaders')) {
      const content = { method, path, query, authority, version: '1.1', headers, hasBody: body !== undefined } as const;
      const answer = await this.#ask({ hook: 'requestHeaders', content, facts: this.#facts });
      if (answer.respond !== undefined) return { request: undefined, response: replied(answer.respond) };
      headers = applyHeaderChange(headers, answer.headers);
      mode = answer.body ?? 'change';
    }
    const sent = await this.#body('requestBody', mode, headers, bytesOf(body), body !== undefined);
    if ('respond' in sent) return { request: undefined, response: replied(sent.respond) };
    const request = { method, path, headers: record(sent.headers), body: sent.body.toString() };
    return { request, response: await this.#response(application(request)) };
  }

  async #response(given: TestResponse): Promise<SeenResponse> {
    let { status = 200 } = given;
    let headers = flat(given.headers);
    let mode: BodyMode = 'change';
    if (this.#has('responseHeaders')) {
      const content = { status, headers, hasBody: given.body !== undefined };
      const answer = await this.#ask({ hook: 'responseHeaders', content, facts: this.#facts });
      if (answer.respond !== undefined) return replied(answer.respond);
      headers = applyHeaderChange(headers, answer.headers);
      status = answer.status ?? status;
      mode = answer.body ?? 'change';
    }
    const got = await this.#body('responseBody', mode, headers, bytesOf(given.body), given.body !== undefined);
    if ('respond' in got) {
      if (mode !== 'hold') throw new TypeError('responseBody: respond, but the response has begun: it is broken off');
      return replied(got.respond);
    }
    return { status, headers: record(got.headers), body: got.body.toString() };
  }

  async #body(
    hook: 'requestBody' | 'responseBody',
    mode: BodyMode,
    headers: HeaderList,
    body: Buffer,
    present: boolean,
  ): Promise<{ readonly respond: LocalAnswer } | { readonly headers: HeaderList; readonly body: Buffer }> {
    if (!present || mode === 'skip' || !this.#has(hook)) return { headers, body };
    const out: Uint8Array[] = [];
    for (const part of mode === 'hold' ? [{ bytes: body, last: true }] : this.#parts(body)) {
      const content = { bytes: new Uint8Array(part.bytes), last: part.last };
      const { respond, replace } = await this.#ask({ hook, content, facts: this.#facts });
      if (respond !== undefined) return { respond };
      if (mode === 'inspect' && replace !== undefined) throw new TypeError(`${hook}: replace, but it only inspects`);
      out.push(replace ?? part.bytes);
    }
    const whole = Buffer.concat(out);
    if (mode === 'hold') return { headers: withHeader(headers, 'content-length', String(whole.length)), body: whole };
    const kept = mode === 'change' ? withoutHeaders(headers, (name) => name === 'content-length') : headers;
    return { headers: kept, body: whole };
  }

  *#parts(body: Buffer): Generator<{ readonly bytes: Uint8Array; readonly last: boolean }> {
    for (let at = 0; at < body.length; at += this.#partBytes) {
      yield { bytes: body.subarray(at, at + this.#partBytes), last: false };
    }
    yield { bytes: new Uint8Array(0), last: true };
  }
}

function bytesOf(body: string | Uint8Array | undefined): Buffer {
  return body === undefined ? Buffer.alloc(0) : Buffer.from(body);
}

function flat(headers: Headers = {}): HeaderList {
  return (Array.isArray(headers) ? headers : Object.entries(headers)).flat() as HeaderList;
}

/** Repeated headers with commas between. */
function record(list: HeaderList): Readonly<Record<string, string>> {
  const out: Record<string, string> = {};
  for (let i = 0; i < list.length; i += 2) {
    const name = (list[i] as string).toLowerCase();
    const value = list[i + 1] as string;
    out[name] = out[name] === undefined ? value : `${out[name]}, ${value}`;
  }
  return out;
}

function replied({ status, headers, body }: LocalAnswer): SeenResponse {
  return { status, headers: record(headers), body };
}
