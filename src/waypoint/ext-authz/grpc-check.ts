/**
 * Asking over gRPC (envoy.service.auth.v3.Authorization/Check), and reading the answer. Header operations as Envoy has them:
 * `append`, where it is set, goes before `append_action`.
 *
 * I1: an answer with a header that can stand in no message is no decision.
 */
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { headerValue } from '../../http/header-list.ts';
import {
  type AttributeContext_PeerSchema,
  type CheckRequestSchema,
  type CheckResponseSchema,
  HeaderAppendAction,
  type HeaderValueOption,
} from '../../proto/gen/ext_authz_pb.js';
import { allowUnchanged, type CheckDecision, type HeaderOperation, isHeader, isProvidersMatter } from './decision.ts';
import { type HttpQuestion, partialBodyHeader, type Question } from './question.ts';

export function checkRequest(question: Question, bodyAsBytes: boolean): MessageInitShape<typeof CheckRequestSchema> {
  const { source, destination, http } = question;
  return {
    attributes: {
      source: peer(source),
      destination: peer(destination),
      ...(http === undefined
        ? {}
        : {
            request: { time: timestamp(http.wallMs), http: httpRequest(http, bodyAsBytes) },
            routeMetadataContext: {},
          }),
      metadataContext: {},
    },
  };
}

export function readCheckResponse(answer: MessageShape<typeof CheckResponseSchema>): CheckDecision {
  const { status, httpResponse } = answer;
  const code = status?.code ?? 0;
  // Envoy takes a missing status for OK as protobuf does; but nobody who decides leaves it out.
  if (status === undefined) return { kind: 'error', reason: 'the answer has no status' };
  if (code === 0) return readOk(httpResponse);
  if (httpResponse.case === 'errorResponse') {
    return { kind: 'error', reason: `the provider says that it failed: ${status.message.slice(0, 256)}` };
  }
  if (httpResponse.case !== 'deniedResponse') return { kind: 'deny', status: 403, headers: [], body: '' };
  const { status: http, headers, body } = httpResponse.value;
  const operations = readHeaders(headers, 'set');
  if (operations === undefined) return brokenHeader;
  const given = http?.code ?? 0;
  return { kind: 'deny', status: given >= 200 && given <= 599 ? given : 403, headers: operations, body };
}

function readOk(response: MessageShape<typeof CheckResponseSchema>['httpResponse']): CheckDecision {
  if (response.case !== 'okResponse') return allowUnchanged;
  const { headers, headersToRemove, responseHeadersToAdd, queryParametersToSet, queryParametersToRemove } =
    response.value;
  const [request, added] = [readHeaders(headers, 'set'), readHeaders(responseHeadersToAdd, 'add')];
  if (request === undefined || added === undefined) return brokenHeader;
  return {
    kind: 'allow',
    request,
    removed: headersToRemove.map((name) => name.toLowerCase()).filter(isProvidersMatter),
    response: added,
    querySet: queryParametersToSet.map(({ key, value }) => [key, value] as const),
    queryRemoved: queryParametersToRemove,
  };
}

const brokenHeader: CheckDecision = { kind: 'error', reason: 'the answer has a header that no message can have' };

/** Undefined: one of them can stand in no message. `otherwise`: what is meant where the provider does not say. */
function readHeaders(
  options: readonly HeaderValueOption[],
  otherwise: 'set' | 'add',
): readonly HeaderOperation[] | undefined {
  const operations: HeaderOperation[] = [];
  for (const { header, append, appendAction } of options) {
    const name = (header?.key ?? '').toLowerCase();
    const raw = header?.rawValue ?? new Uint8Array();
    const value = raw.length > 0 ? Buffer.from(raw).toString('latin1') : latin1(header?.value ?? '');
    if (!name.startsWith(':') && !isHeader(name, value)) return undefined;
    // Of cookies there may be several.
    const unsaid = name === 'set-cookie' ? 'add' : otherwise;
    if (isProvidersMatter(name))
      operations.push({ name, value, action: actionOf(append?.value, appendAction, unsaid) });
  }
  return operations;
}

/**
 * A request's header is set, whatever the client sent of that name, unless the provider says otherwise: it tells who the
 * client is.
 */
function actionOf(
  append: boolean | undefined,
  action: HeaderAppendAction,
  unsaid: 'set' | 'add',
): HeaderOperation['action'] {
  if (append === false) return 'set';
  if (append === true) return unsaid === 'add' ? 'add' : 'append-to-existing';
  switch (action) {
    case HeaderAppendAction.ADD_IF_ABSENT:
      return 'add-if-absent';
    case HeaderAppendAction.OVERWRITE_IF_EXISTS:
      return 'set-if-present';
    case HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD:
      return 'set';
    default:
      return unsaid;
  }
}

/** Header texts here are bytes, one a character, as they go on the wire. */
function latin1(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function peer({ address, principal }: Question['source']): MessageInitShape<typeof AttributeContext_PeerSchema> {
  return { address: { socketAddress: { address: address.ip, portValue: address.port } }, principal };
}

function httpRequest(http: HttpQuestion, bodyAsBytes: boolean) {
  const { id, method, path, host, protocol, body } = http;
  const headers: Record<string, string> = Object.create(null);
  const add = (name: string, value: string) => {
    const before = headers[name];
    headers[name] = before === undefined ? value : `${before},${value}`;
  };
  for (let i = 0; i < http.headers.length; i += 2) {
    add((http.headers[i] as string).toLowerCase(), utf8(http.headers[i + 1] as string));
  }
  headers[':authority'] = host;
  headers[':method'] = method;
  headers[':path'] = path;
  headers[':scheme'] = 'http';
  if (body !== undefined) headers[partialBodyHeader] = String(!body.complete);
  const length = http.bodyless ? '0' : headerValue(http.headers, 'content-length');
  const held = body === undefined ? {} : bodyAsBytes ? { rawBody: body.bytes } : { body: body.bytes.toString() };
  const size = length !== undefined && /^\d{1,15}$/.test(length) ? BigInt(length) : -1n;
  return { id, method, headers, path, host, scheme: 'http', size, protocol, ...held };
}

function utf8(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString();
}

function timestamp(wallMs: number) {
  const seconds = Math.floor(wallMs / 1000);
  return { seconds: BigInt(seconds), nanos: Math.floor((wallMs - seconds * 1000) * 1_000_000) };
}
