/** A parsed route of any kind. */
import type { HttpRouteSpec } from './http-route.ts';
import type { TcpRouteSpec } from './tcp-route.ts';
import type { TlsRouteSpec } from './tls-route.ts';
import type { VirtualServiceSpec } from './virtual-service.ts';

export type RouteKind = 'grpc' | 'http' | 'tls' | 'tcp' | 'virtual';

export type RouteSpec = HttpRouteSpec | TlsRouteSpec | TcpRouteSpec | VirtualServiceSpec;

export interface RouteOfKind {
  readonly kind: RouteKind;
  readonly spec: RouteSpec;
}
