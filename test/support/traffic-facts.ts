/** Facts of one request and of one TCP connection, for tests of what is told about them. */

import type { RequestFacts, TrafficFacts } from '../../src/route/telemetry/facts.ts';
import { headerFacts } from '../../src/waypoint/telemetry/header-facts.ts';
import { makeService, makeWorkload } from './mesh-records.ts';

const common = {
  startWallMs: Date.UTC(2026, 0, 5, 10, 20, 30, 123),
  timings: { requestEndMs: 2.4, responseStartMs: 32.5, endMs: 42.9 },
  responseHeaders: headerFacts([]),
  responseTrailers: headerFacts([]),
  requestBytes: 5,
  responseBytes: 11,
  requestWireBytes: 205,
  responseWireBytes: 111,
  tries: 1,
  audited: [],
  service: makeService({ name: 'reviews', namespace: 'shop' }),
  client: { ip: '10.9.0.2', port: 51544 },
  clientIdentity: 'spiffe://td/ns/shop/sa/web',
  clientWorkload: makeWorkload({ name: 'web-1', namespace: 'shop', workloadName: 'web', addresses: ['10.9.0.2'] }),
  destination: { ip: '10.96.0.7', port: 9080 },
  local: { ip: '10.9.0.3', port: 15008 },
  localIdentity: 'spiffe://td/ns/shop/sa/waypoint',
  serverName: undefined,
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
} as const;

export const requestFacts: TrafficFacts & { readonly request: RequestFacts } = {
  ...common,
  tcp: false,
  request: {
    method: 'GET',
    path: '/new?q=1',
    originalPath: '/old?q=1',
    authority: 'reviews:9080',
    version: '1.1',
    headers: headerFacts(['user-agent', 'curl/8', 'x-forwarded-for', '10.0.0.9']),
    requestId: 'id-1',
    grpc: false,
  },
  status: 200,
  responseHeaders: headerFacts(['x-b', 'b']),
  responseTrailers: headerFacts(['grpc-status', '5']),
  grpcStatus: '5',
  flags: '-',
  details: 'via_upstream',
  failure: undefined,
  route: 'shop/route/0/0',
  cluster: 'inbound-vip|9080|http|reviews.shop.svc',
  upstream: {
    host: 'envoy://connect_originate/10.9.0.7:9080',
    address: { ip: '10.9.0.7', port: 9080 },
    workload: makeWorkload({ name: 'reviews-1', namespace: 'shop', workloadName: 'reviews', addresses: ['10.9.0.7'] }),
    remote: { ip: '10.9.0.7', port: 15008 },
    local: { ip: '10.9.0.3', port: 4444 },
    protocol: 'HTTP/2',
  },
};

export const tcpFacts: TrafficFacts = {
  ...common,
  timings: { requestEndMs: undefined, responseStartMs: undefined, endMs: 42.9 },
  tcp: true,
  request: undefined,
  status: 0,
  grpcStatus: undefined,
  flags: 'UF',
  details: 'upstream_connect_failure',
  failure: 'no route',
  route: undefined,
  cluster: 'inbound-vip|9080|tcp|reviews.shop.svc',
  upstream: undefined,
};
