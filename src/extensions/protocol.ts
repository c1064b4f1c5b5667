/**
 * What the proxy and the worker of an extension say to each other: lists of messages, gathered over a turn of the event
 * loop, so that many hooks cost few wake-ups. Bytes are handed over, not copied twice.
 */
import type { HeaderList } from '../http/header-list.ts';
import type { ConnectionFacts, ExchangeFacts, HookName } from './extension.ts';

/** What the worker is started with. */
export interface WorkerStart {
  readonly name: string;
  /** The module's file. */
  readonly moduleUrl: string;
  /** Nothing outside is loaded. */
  readonly folderUrl: string;
  readonly config: unknown;
}

/** `ExchangeFacts` without what the worker adds. */
export type SentFacts = Omit<ExchangeFacts, 'state'>;

export interface SentRequestHead {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly authority: string;
  readonly version: '1.0' | '1.1' | '2';
  readonly headers: HeaderList;
  readonly hasBody: boolean;
}

export interface SentResponseHead {
  readonly status: number;
  readonly headers: HeaderList;
  readonly hasBody: boolean;
}

export interface SentBodyPart {
  readonly bytes: Uint8Array;
  readonly last: boolean;
}

/** A hook with what it is asked. */
export type Question =
  | { readonly hook: 'connection'; readonly content: ConnectionFacts }
  | { readonly hook: 'requestHeaders'; readonly content: SentRequestHead; readonly facts: SentFacts }
  | { readonly hook: 'responseHeaders'; readonly content: SentResponseHead; readonly facts: SentFacts }
  /** `facts` undefined: as told before. */
  | {
      readonly hook: 'requestBody' | 'responseBody';
      readonly content: SentBodyPart;
      readonly facts: SentFacts | undefined;
    };

export type ToWorker =
  /** `exchange` 0 for connections. */
  | { readonly kind: 'ask'; readonly call: number; readonly exchange: number; readonly question: Question }
  /** Nothing more will be asked about it. */
  | { readonly kind: 'over'; readonly exchange: number }
  | { readonly kind: 'ping' };

export type LogLine = { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly text: string };

export type FromWorker =
  | { readonly kind: 'ready'; readonly hooks: readonly HookName[]; readonly files: readonly string[] }
  /** It cannot be loaded or refuses its configuration; the worker ends. */
  | { readonly kind: 'unusable'; readonly text: string; readonly files: readonly string[] }
  | { readonly kind: 'answer'; readonly call: number; readonly answer: unknown }
  /** `invalid`: it answered, but with what cannot be used. */
  | { readonly kind: 'threw'; readonly call: number; readonly text: string; readonly invalid: boolean }
  | ({ readonly kind: 'log' } & LogLine)
  | { readonly kind: 'pong' };
