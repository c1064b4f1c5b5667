/**
 * What an extension is written against: import it as `ambit/extension`. A module exports `createExtension`, which gets the
 * configuration of the policy object and gives the hooks it wants to be asked; a hook that is not there costs nothing.
 * Everything here is data or a plain function of data. docs/extensions.md is the guide.
 */

/** Called once per policy object, and again in a new worker when the module or its configuration changes. Throwing refuses. */
export type CreateExtension = (config: unknown, tools: ExtensionTools) => ExtensionHooks | Promise<ExtensionHooks>;

export interface ExtensionTools {
  /** `namespace/name` of the policy object. */
  readonly name: string;
  /** One line in the proxy's log. Lines are cut at 1 KiB, and dropped when there are too many. */
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string): void;
}

type Answer<Result> = Result | undefined | Promise<Result | undefined>;

/** Each may be left out. Undefined as answer: goes on unchanged. A hook that throws or is late meets the failure mode. */
export interface ExtensionHooks {
  /** Before anything of a connection's bytes is used. One HBONE tunnel is one connection. */
  connection?(connection: ConnectionFacts): Answer<ConnectionAnswer>;
  requestHeaders?(request: RequestHead, exchange: ExchangeFacts): Answer<RequestHeadersAnswer>;
  /** In order, one part at a time. The last part may be empty. Not asked for requests without a body. */
  requestBody?(part: BodyPart, exchange: ExchangeFacts): Answer<BodyAnswer>;
  /** Answers of the proxy itself are shown as well. Not asked for an upgrade (101) or interim responses. */
  responseHeaders?(response: ResponseHead, exchange: ExchangeFacts): Answer<ResponseHeadersAnswer>;
  responseBody?(part: BodyPart, exchange: ExchangeFacts): Answer<BodyAnswer>;
}

export type HookName = keyof ExtensionHooks;
export const hookNames = [
  'connection',
  'requestHeaders',
  'requestBody',
  'responseHeaders',
  'responseBody',
] as const satisfies readonly HookName[];

/** Proven by the certificate of the tunnel. */
export interface ClientFacts {
  /** `spiffe://…`. */
  readonly identity: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly ip: string;
}

export interface ConnectionFacts {
  readonly client: ClientFacts;
  /** `namespace/hostname`; undefined on the way straight to a pod. */
  readonly service: string | undefined;
  readonly port: number;
  readonly protocol: 'http' | 'tcp';
}

/** The same object for all hooks of one request. */
export interface ExchangeFacts {
  readonly client: ClientFacts;
  readonly service: string | undefined;
  readonly port: number;
  readonly requestId: string;
  /** `namespace/name/rule/match`; undefined before routing and without routes. */
  readonly route: string | undefined;
  /** Of the verified token, where a RequestAuthentication found one; only after phase AUTHN. */
  readonly claims: Readonly<Record<string, unknown>> | undefined;
  /** The extension's own, kept from one hook to the next. */
  readonly state: Record<string, unknown>;
}

export interface RequestHead {
  readonly method: string;
  /** Normalised, without query. */
  readonly path: string;
  /** With its question mark; empty without query. */
  readonly query: string;
  readonly authority: string;
  readonly version: '1.0' | '1.1' | '2';
  readonly headers: HeaderView;
  readonly hasBody: boolean;
}

export interface ResponseHead {
  readonly status: number;
  readonly headers: HeaderView;
  readonly hasBody: boolean;
}

/** Order, case and duplicates are as received; names are looked up whatever their case. */
export interface HeaderView extends Iterable<readonly [name: string, value: string]> {
  /** The first value. */
  get(name: string): string | undefined;
  getAll(name: string): readonly string[];
  has(name: string): boolean;
}

export interface BodyPart {
  /** Yours to change and to give back. At most 64 KiB, or the whole body where `hold` was asked for. */
  readonly bytes: Uint8Array;
  readonly last: boolean;
}

/** In this order: set, add, remove. Framing, hop-by-hop and proxy-only headers cannot be named. */
export interface HeaderChanges {
  readonly set?: Readonly<Record<string, string>>;
  readonly add?: readonly (readonly [name: string, value: string])[];
  readonly remove?: readonly string[];
}

/** Answers the client itself; the application sees nothing, or nothing more, of the request. */
export interface Respond {
  readonly respond: {
    /** 200 to 599. */
    readonly status: number;
    readonly headers?: readonly (readonly [name: string, value: string])[];
    /** At most 64 KiB. A gRPC client gets it as `grpc-message`. */
    readonly body?: string;
  };
}

export interface ConnectionAnswer {
  /** Resets the connection; the text goes to the access log. */
  readonly close: string;
}

/**
 * What becomes of a body for which there is a hook. `change` (unless told): parts may be replaced, so the length is not
 * announced. `inspect`: parts are seen, nothing is replaced, the length stays. `hold`: the whole body comes as one part before
 * anything goes on. `skip`: the hook is not asked.
 */
export type BodyMode = 'change' | 'inspect' | 'hold' | 'skip';

export type RequestHeadersAnswer =
  | Respond
  | { readonly headers?: HeaderChanges; readonly body?: BodyMode; readonly respond?: undefined };

export type ResponseHeadersAnswer =
  | Respond
  | {
      readonly headers?: HeaderChanges;
      /** 200 to 599. */
      readonly status?: number;
      readonly body?: BodyMode;
      readonly respond?: undefined;
    };

/** `respond` only while nothing has gone on to the client yet; later it breaks the response off. */
export type BodyAnswer =
  | Respond
  /** Empty takes the part away; longer is fine, up to 1 MiB. */
  | { readonly replace: Uint8Array | string; readonly respond?: undefined };
