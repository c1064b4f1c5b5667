/**
 * A request body on its way through a hook: what is read from it is what the hook made of it. The client is slowed by the hook
 * as by the upstream; truncation arrives as an error on the far side, as it does without a hook.
 */
import { Readable } from 'node:stream';
import type { LocalAnswer } from './check-answer.ts';
import type { HookOutcome } from './hook-caller.ts';
import { PartPump } from './part-pump.ts';

export interface RequestBodyHook {
  ask(bytes: Uint8Array, last: boolean, done: (outcome: HookOutcome) => void): void;
  /** The body goes no further: the client is to be told this. */
  respond(answer: LocalAnswer): void;
  refused(details: string): void;
}

export function hookedRequestBody(source: Readable, hook: RequestBodyHook): Readable {
  let wanted = false;
  let started = false;
  const body = new Readable({
    read() {
      wanted = true;
      if (!started) start();
      else flow();
    },
    destroy(error, done) {
      pump.stop();
      // Nobody reads what the client still sends: it is dropped, so that the connection can be used again.
      source.resume();
      done(error);
    },
  });
  body.on('error', () => {});
  const giveUp = (reason: string) => {
    body.destroy(new Error(reason));
  };
  const pump = new PartPump({
    ask: (bytes, last, done) => hook.ask(bytes, last, done),
    part: (bytes) => {
      wanted = body.push(bytes);
      flow();
    },
    end: () => body.push(null),
    refused: (details) => {
      hook.refused(details);
      giveUp('an extension failed');
    },
    respond: (answer) => {
      hook.respond(answer);
      giveUp('an extension has answered');
    },
  });
  const flow = () => {
    if (body.destroyed || (wanted && !pump.full)) source.resume();
    else source.pause();
  };
  const start = () => {
    started = true;
    source.on('data', (chunk: Uint8Array) => {
      if (body.destroyed) return;
      pump.push(chunk);
      flow();
    });
    source.once('end', () => pump.end());
  };
  source.on('error', (error) => body.destroy(error));
  return body;
}
