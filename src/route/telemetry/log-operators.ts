/**
 * The commands of access log formats: Envoy's, by its names. One that is not here is a problem of the format, never a
 * silent blank; one that is about something Ambit does not have is said to be so.
 */
import { formatSocketAddress, type SocketAddress } from '../../base/address.ts';
import { compileExpression } from '../cel/expression.ts';
import { CelError, textOf } from '../cel/values.ts';
import { requestHeader, trafficAttributes } from './attributes.ts';
import type { TrafficFacts } from './facts.ts';
import { grpcStatusText } from './grpc-status.ts';
import { timeFormat } from './log-time.ts';
import { longFlags } from './response-flags.ts';

/** Undefined: there is none. */
export type LogValue = string | number | boolean | undefined;
type Read = (facts: TrafficFacts) => LogValue;
/** A text says what is wrong with the argument. */
type Make = (argument: string) => Read | string;

/** The command's reader, or what is wrong. */
export function formatOperator(name: string, argument: string | undefined): Read | string {
  if (Object.hasOwn(plain, name)) {
    return argument === undefined ? (plain[name] as Read) : 'takes no argument';
  }
  const make = Object.hasOwn(withArgument, name) ? withArgument[name] : undefined;
  return make === undefined ? 'no such command here' : make(argument ?? '');
}

const plain: Readonly<Record<string, Read>> = {
  PROTOCOL: ({ request }) => request && protocolText(request.version),
  UPSTREAM_PROTOCOL: ({ upstream }) => upstream?.protocol,
  RESPONSE_CODE: ({ status }) => status,
  CONNECTION_TERMINATION_DETAILS: ({ tcp, details, flags }) => (tcp && flags !== '-' ? details : undefined),
  RESPONSE_FLAGS: ({ flags }) => flags,
  RESPONSE_FLAGS_LONG: ({ flags }) => longFlags(flags),
  BYTES_RECEIVED: ({ requestBytes }) => requestBytes,
  BYTES_SENT: ({ responseBytes }) => responseBytes,
  DOWNSTREAM_WIRE_BYTES_RECEIVED: ({ requestWireBytes }) => requestWireBytes,
  DOWNSTREAM_WIRE_BYTES_SENT: ({ responseWireBytes }) => responseWireBytes,
  DOWNSTREAM_HEADER_BYTES_RECEIVED: (facts) => facts.requestWireBytes - facts.requestBytes,
  DOWNSTREAM_HEADER_BYTES_SENT: (facts) => facts.responseWireBytes - facts.responseBytes,
  DURATION: ({ timings }) => Math.floor(timings.endMs),
  REQUEST_DURATION: ({ timings }) => floor(timings.requestEndMs),
  RESPONSE_DURATION: ({ timings }) => floor(timings.responseStartMs),
  RESPONSE_TX_DURATION: ({ timings: { endMs, responseStartMs } }) =>
    responseStartMs === undefined ? undefined : Math.floor(endMs - responseStartMs),
  UPSTREAM_HOST: ({ upstream }) => upstream?.host,
  UPSTREAM_HOST_NAME: ({ upstream }) => upstream?.workload.name,
  UPSTREAM_CLUSTER: ({ cluster }) => cluster,
  UPSTREAM_CLUSTER_RAW: ({ cluster }) => cluster,
  UPSTREAM_TRANSPORT_FAILURE_REASON: ({ failure }) => failure,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: ({ tries }) => tries,
  UPSTREAM_PEER_URI_SAN: ({ upstream }) => upstream?.workload.identity,
  UPSTREAM_LOCAL_URI_SAN: ({ localIdentity }) => localIdentity,
  DOWNSTREAM_PEER_URI_SAN: ({ clientIdentity }) => clientIdentity,
  DOWNSTREAM_LOCAL_URI_SAN: ({ localIdentity }) => localIdentity,
  DOWNSTREAM_TLS_VERSION: () => 'TLSv1.3',
  REQUESTED_SERVER_NAME: ({ serverName }) => serverName,
  ROUTE_NAME: ({ route }) => route,
  GRPC_STATUS_NUMBER: (facts) => grpcNumber(facts),
  TRACE_ID: ({ traceId }) => traceId,
  SPAN_ID: ({ spanId }) => spanId,
  STREAM_ID: ({ request }) => request?.requestId,
  ...addresses('UPSTREAM', 'LOCAL', ({ upstream }) => upstream?.local),
  ...addresses('UPSTREAM', 'REMOTE', ({ upstream }) => upstream?.remote),
  ...addresses('DOWNSTREAM', 'LOCAL', ({ destination }) => destination),
  ...addresses('DOWNSTREAM', 'DIRECT_LOCAL', ({ local }) => local),
  ...addresses('DOWNSTREAM', 'REMOTE', ({ client }) => client),
  ...addresses('DOWNSTREAM', 'DIRECT_REMOTE', ({ client }) => client),
};

const withArgument: Readonly<Record<string, Make>> = {
  START_TIME: (argument) => time(argument, ({ startWallMs }) => startWallMs),
  EMIT_TIME: (argument) => time(argument, ({ startWallMs, timings }) => startWallMs + timings.endMs),
  REQ: requestHeaderReader,
  REQUEST_HEADER: requestHeaderReader,
  RESP: (argument) => headerReader(argument, responseHeader),
  RESPONSE_HEADER: (argument) => headerReader(argument, responseHeader),
  TRAILER: (argument) => headerReader(argument, ({ responseTrailers }, name) => responseTrailers.first(name)),
  RESPONSE_TRAILER: (argument) => headerReader(argument, ({ responseTrailers }, name) => responseTrailers.first(name)),
  REQ_WITHOUT_QUERY: (argument) => {
    const read = requestHeaderReader(argument);
    return typeof read === 'string' ? read : (facts) => String(read(facts) ?? '').split('?', 1)[0] || undefined;
  },
  PATH: pathReader,
  RESPONSE_CODE_DETAILS: (argument) => {
    if (argument === 'ALLOW_WHITESPACES') return ({ tcp, details }) => (tcp ? undefined : details);
    if (argument !== '') return 'takes ALLOW_WHITESPACES or nothing';
    return ({ tcp, details }) => (tcp ? undefined : details?.replace(/\s/g, '_'));
  },
  GRPC_STATUS: (argument) => {
    const form = argument === '' ? 'CAMEL_STRING' : argument;
    if (form === 'NUMBER') return grpcNumber;
    if (form !== 'CAMEL_STRING' && form !== 'SNAKE_STRING') return 'takes CAMEL_STRING, SNAKE_STRING or NUMBER';
    return (facts) => {
      const status = grpcNumber(facts);
      return status === undefined ? undefined : grpcStatusText(status, form);
    };
  },
  COMMON_DURATION: commonDuration,
  CEL: (argument) => {
    const expression = compileExpression(argument, trafficAttributes);
    if ('problem' in expression) return expression.problem;
    return (facts) => {
      const value = expression.evaluate(facts);
      if (typeof value === 'number' || typeof value === 'boolean') return value;
      return value instanceof CelError ? undefined : textOf(value);
    };
  },
  FILTER_STATE: (argument) => {
    const [object, form, field] = argument.split(':');
    const name = `filter_state.${object}.${field}`;
    const attribute = form === 'FIELD' && Object.hasOwn(trafficAttributes, name) ? trafficAttributes[name] : undefined;
    if (attribute === undefined) return 'only downstream_peer:FIELD:… and upstream_peer:FIELD:… are known';
    return (facts) => textOf(attribute(facts) ?? null);
  },
};

function addresses(
  side: 'UPSTREAM' | 'DOWNSTREAM',
  end: string,
  read: (facts: TrafficFacts) => SocketAddress | undefined,
): Record<string, Read> {
  const name = `${side}_${end}`;
  return {
    [`${name}_ADDRESS`]: (facts) => {
      const address = read(facts);
      return address && formatSocketAddress(address);
    },
    [`${name}_ADDRESS_WITHOUT_PORT`]: (facts) => read(facts)?.ip,
    [`${name}_PORT`]: (facts) => read(facts)?.port,
  };
}

function floor(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.floor(ms);
}

export function protocolText(version: '1.0' | '1.1' | '2'): string {
  return version === '2' ? 'HTTP/2' : `HTTP/${version}`;
}

/** `X?Y`: the second where the first is missing. */
function headerReader(
  argument: string,
  read: (facts: TrafficFacts, name: string) => string | undefined,
): Read | string {
  const [first, second, more] = argument.toLowerCase().split('?');
  if (first === undefined || first === '' || more !== undefined) return 'takes a header, or two with ? between';
  if (second === undefined) return (facts) => read(facts, first);
  return (facts) => read(facts, first) ?? read(facts, second);
}

function requestHeaderReader(argument: string): Read | string {
  return headerReader(argument, ({ request }, name) => request && requestHeader(request, name));
}

/** What Envoy puts into the response for its log, we only log. */
function responseHeader({ responseHeaders, timings, status }: TrafficFacts, name: string): string | undefined {
  if (name === ':status') return status === 0 ? undefined : String(status);
  const value = responseHeaders.first(name);
  if (value !== undefined || name !== 'x-envoy-upstream-service-time') return value;
  const { requestEndMs, responseStartMs } = timings;
  if (requestEndMs === undefined || responseStartMs === undefined || requestEndMs > responseStartMs) return undefined;
  return String(Math.floor(responseStartMs - requestEndMs));
}

/** `PATH(WQ:ORIG)`: with or without query; of the original path, of the forwarded one, or of the one there is. */
function pathReader(argument: string): Read | string {
  const [query = 'WQ', which = 'ORIG_OR_PATH'] = argument === '' ? [] : argument.split(':');
  if (!/^(?:WQ|NQ)$/.test(query) || !/^(?:ORIG|PATH|ORIG_OR_PATH)$/.test(which)) {
    return 'takes WQ or NQ, and ORIG, PATH or ORIG_OR_PATH';
  }
  return ({ request }) => {
    const original = which === 'PATH' ? undefined : request?.originalPath;
    const path = original ?? (which === 'ORIG' ? undefined : request?.path);
    return query === 'NQ' ? path?.split('?', 1)[0] : path;
  };
}

function grpcNumber({ request, grpcStatus }: TrafficFacts): number | undefined {
  if (request?.grpc !== true || grpcStatus === undefined) return undefined;
  return /^\d{1,9}$/.test(grpcStatus) ? Number(grpcStatus) : undefined;
}

function time(argument: string, read: (facts: TrafficFacts) => number): Read | string {
  const format = timeFormat(argument);
  return typeof format === 'string' ? format : (facts) => format(read(facts));
}

/** Points in time that are known here, and units. */
const points: Readonly<Record<string, (facts: TrafficFacts) => number | undefined>> = {
  DS_RX_BEG: () => 0,
  DS_RX_END: ({ timings }) => timings.requestEndMs,
  US_RX_BEG: ({ timings }) => timings.responseStartMs,
  DS_TX_BEG: ({ timings }) => timings.responseStartMs,
  DS_TX_END: ({ timings }) => timings.endMs,
};
const perMs: Readonly<Record<string, number>> = { ms: 1, us: 1e3, ns: 1e6 };

function commonDuration(argument: string): Read | string {
  const [from, to, unit = 'ms'] = argument.split(':');
  const begin = points[from ?? ''];
  const end = points[to ?? ''];
  const factor = perMs[unit];
  if (begin === undefined || end === undefined || factor === undefined) {
    return `takes two of ${Object.keys(points).join(', ')} and ms, us or ns`;
  }
  return (facts) => {
    const [a, b] = [begin(facts), end(facts)];
    return a === undefined || b === undefined ? undefined : Math.floor((b - a) * factor);
  };
}
