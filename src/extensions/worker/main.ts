/**
 * The thread of one extension: closes the doors, loads the module, and answers what the proxy asks. Its port is the only way
 * out, and the module never sees it.
 */
import process from 'node:process';
import { parentPort, workerData } from 'node:worker_threads';
import { checkAnswer } from '../check-answer.ts';
import { type CreateExtension, type ExtensionHooks, type HookName, hookNames } from '../extension.ts';
import type { FromWorker, ToWorker, WorkerStart } from '../protocol.ts';
import { closeDoors } from './close-doors.ts';
import { Dispatch, isPromise } from './dispatch.ts';

const port = parentPort;
if (port === null) throw new TypeError('this is the entry of a worker');
const start = workerData as WorkerStart;
const files: string[] = [];

const outgoing: FromWorker[] = [];
let handedOver: ArrayBuffer[] = [];
let flushing = false;

/** What comes together leaves together. */
function say(message: FromWorker, bytes?: Uint8Array): void {
  outgoing.push(message);
  // The same bytes given back twice can only be handed over once.
  const buffer = bytes?.buffer;
  if (buffer instanceof ArrayBuffer && bytes?.length === buffer.byteLength && !handedOver.includes(buffer))
    handedOver.push(buffer);
  if (flushing) return;
  flushing = true;
  queueMicrotask(flush);
}

function flush(): void {
  flushing = false;
  const messages = outgoing.splice(0);
  const bytes = handedOver;
  handedOver = [];
  try {
    port?.postMessage(messages, bytes);
  } catch {
    // One of them cannot be cloned: each by itself, and that one as a failure.
    for (const message of messages) sayAlone(message);
  }
}

function sayAlone(message: FromWorker): void {
  try {
    port?.postMessage([message]);
  } catch (error) {
    if (message.kind === 'answer')
      port?.postMessage([{ kind: 'threw', call: message.call, text: textOf(error), invalid: false }]);
  }
}

function textOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  // The first frames say where in the extension it was.
  return stack.split('\n').slice(0, 4).join('\n').slice(0, 1024);
}

/** Looked at here as well, so that only what is bounded is sent; whether it is believed is decided where it arrives. */
function answered(call: number, hook: HookName, answer: unknown): void {
  const checked = checkAnswer(hook, answer);
  if (typeof checked === 'string') {
    say({ kind: 'threw', call, text: checked, invalid: true });
    return;
  }
  const replace = typeof answer === 'object' && answer !== null && 'replace' in answer ? answer.replace : undefined;
  say({ kind: 'answer', call, answer }, replace instanceof Uint8Array ? replace : undefined);
}

function serve(dispatch: Dispatch, messages: readonly ToWorker[]): void {
  for (const message of messages) {
    switch (message.kind) {
      case 'ping':
        say({ kind: 'pong' });
        break;
      case 'over':
        dispatch.over(message.exchange);
        break;
      case 'ask': {
        const { call, exchange, question } = message;
        try {
          const answer = dispatch.ask(exchange, question);
          if (!isPromise(answer)) answered(call, question.hook, answer);
          else
            answer.then(
              (value) => answered(call, question.hook, value),
              (error: unknown) => say({ kind: 'threw', call, text: textOf(error), invalid: false }),
            );
        } catch (error) {
          say({ kind: 'threw', call, text: textOf(error), invalid: false });
        }
      }
    }
  }
}

async function load(): Promise<ExtensionHooks> {
  const own = import.meta.url;
  const apiUrl = new URL(`../extension${own.slice(own.lastIndexOf('.'))}`, own).href;
  closeDoors({ folderUrl: start.folderUrl, apiUrl, onFile: (url) => files.push(url) });
  const module = (await import(start.moduleUrl)) as Readonly<Record<string, unknown>>;
  const { createExtension } = module;
  if (typeof createExtension !== 'function') throw new TypeError('the module does not export createExtension');
  const hooks: unknown = await (createExtension as CreateExtension)(start.config, {
    name: start.name,
    log: (level, message) => say({ kind: 'log', level, text: String(message) }),
  });
  if (typeof hooks !== 'object' || hooks === null) throw new TypeError('createExtension gave no hooks');
  const given = hooks as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) {
    if (!(hookNames as readonly string[]).includes(name)) throw new TypeError(`there is no hook ${name}`);
    if (given[name] !== undefined && typeof given[name] !== 'function') throw new TypeError(`${name} is no function`);
  }
  return hooks as ExtensionHooks;
}

// A promise that nobody waited for is one request's trouble, not everybody's.
process.on('unhandledRejection', (reason) => say({ kind: 'log', level: 'error', text: textOf(reason) }));

try {
  const hooks = await load();
  const dispatch = new Dispatch(hooks);
  port.on('message', (messages: readonly ToWorker[]) => serve(dispatch, messages));
  const names: readonly HookName[] = hookNames.filter((name) => hooks[name] !== undefined);
  say({ kind: 'ready', hooks: names, files });
} catch (error) {
  say({ kind: 'unusable', text: textOf(error), files });
  setImmediate(() => process.exit(1));
}
