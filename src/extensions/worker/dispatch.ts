/**
 * Asks the hooks of one extension, with one object of facts per exchange. Runs in the worker, and in the test harness.
 *
 * I1: parts of one body are shown one after another, in order, however long a hook takes.
 */
import type { BodyPart, ExchangeFacts, ExtensionHooks } from '../extension.ts';
import { headerView } from '../header-view.ts';
import type { Question, SentFacts } from '../protocol.ts';

type MutableFacts = { -readonly [Key in keyof ExchangeFacts]: ExchangeFacts[Key] };
type BodyHook = 'requestBody' | 'responseBody';

interface KnownExchange {
  readonly facts: MutableFacts;
  /** The last part of each body that a hook still works on. */
  readonly tails: Map<BodyHook, Promise<unknown>>;
}

const unknownFacts: SentFacts = {
  client: { identity: '', namespace: '', serviceAccount: '', ip: '' },
  service: undefined,
  port: 0,
  requestId: '',
  route: undefined,
  claims: undefined,
};

export class Dispatch {
  readonly #hooks: ExtensionHooks;
  readonly #exchanges = new Map<number, KnownExchange>();

  constructor(hooks: ExtensionHooks) {
    this.#hooks = hooks;
  }

  /** What the hook returns, or a promise of it; throws what it throws. */
  ask(exchange: number, question: Question): unknown {
    const hooks = this.#hooks;
    if (question.hook === 'connection') return hooks.connection?.(question.content);
    const known = this.#known(exchange, question.facts);
    switch (question.hook) {
      case 'requestHeaders': {
        const { content } = question;
        return hooks.requestHeaders?.({ ...content, headers: headerView(content.headers) }, known.facts);
      }
      case 'responseHeaders': {
        const { content } = question;
        return hooks.responseHeaders?.({ ...content, headers: headerView(content.headers) }, known.facts);
      }
      default:
        return this.#part(known, question.hook, question.content);
    }
  }

  over(exchange: number): void {
    this.#exchanges.delete(exchange);
  }

  #part(known: KnownExchange, hook: BodyHook, part: BodyPart): unknown {
    const show = () => this.#hooks[hook]?.(part, known.facts);
    const before = known.tails.get(hook);
    const answer = before === undefined ? show() : before.then(show, show);
    if (!isPromise(answer)) return answer;
    known.tails.set(hook, answer);
    const done = () => {
      if (known.tails.get(hook) === answer) known.tails.delete(hook);
    };
    answer.then(done, done);
    return answer;
  }

  #known(exchange: number, facts: SentFacts | undefined): KnownExchange {
    let known = this.#exchanges.get(exchange);
    if (known === undefined) {
      known = { facts: { ...(facts ?? unknownFacts), state: {} }, tails: new Map() };
      this.#exchanges.set(exchange, known);
    } else if (facts !== undefined) {
      Object.assign(known.facts, facts);
    }
    return known;
  }
}

export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
