/**
 * Envoy with what istiod gives a waypoint's HTTP chain for the rules of `mesh/rules.yaml`: settings of its connection
 * manager, order of filters, and forms of routes (waypoint.md §2.5, §3.2, §3.5, §3.6). It listens in clear.
 */

import { cluster, socketAddress, typed } from '../../../bench/systems/envoy-config.ts';
import type { SocketAddress } from '../../../src/base/address.ts';
import { type EnvoyConfig, envoyListener } from '../../support/envoy-config.ts';

export interface EnvoyWaypointOptions {
  readonly v1: SocketAddress;
  readonly v2: SocketAddress;
  readonly jwks: string;
}

export function envoyWaypoint({ v1, v2, jwks }: EnvoyWaypointOptions): EnvoyConfig {
  const manager = typed('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'waypoint',
    codec_type: 'AUTO',
    server_name: 'istio-envoy',
    use_remote_address: false,
    skip_xff_append: true,
    normalize_path: true,
    path_with_escaped_slashes_action: 'KEEP_UNCHANGED',
    stream_idle_timeout: '0s',
    forward_client_cert_details: 'SANITIZE',
    upgrade_configs: [{ upgrade_type: 'websocket' }],
    http_filters: [
      { name: 'jwt', typed_config: jwtFilter(jwks) },
      { name: 'rbac', typed_config: denyFilter() },
      { name: 'router', typed_config: typed('envoy.extensions.filters.http.router.v3.Router', {}) },
    ],
    route_config: { virtual_hosts: [{ name: 'inbound|http|80', domains: ['*'], routes: routes() }] },
  });
  const listener = {
    name: envoyListener,
    address: socketAddress('127.0.0.1', 0),
    filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }],
  };
  // Without limits, as in Istio: Envoy's own would drop the fourth of the retries that are under way at a time.
  const clusters = Object.entries({ v1, v2 }).map(([name, { ip, port }]) => cluster(name, socketAddress(ip, port)));
  return { static_resources: { listeners: [listener], clusters } };
}

function routes(): object[] {
  const to = (name: string, more: object = {}) => ({ route: { cluster: name, timeout: '0s', ...more } });
  const below = (prefix: string) => ({ path_separated_prefix: prefix });
  const retryOn = 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes';
  const retry = (count: number, more: object = {}) => ({
    retry_policy: { retry_on: retryOn, num_retries: count, retriable_status_codes: [503], ...more },
  });
  return [
    { match: { path: '/exact' }, ...to('v2') },
    { match: below('/prefix'), ...to('v1', { prefix_rewrite: '/new' }) },
    {
      match: below('/strip'),
      ...to('v1', { regex_rewrite: { pattern: { regex: '^/strip(/?)(.*)' }, substitution: '/\\2' } }),
    },
    { match: below('/redirect'), redirect: { prefix_rewrite: '/moved', response_code: 'FOUND' } },
    { match: below('/away'), redirect: { scheme_redirect: 'https', host_redirect: 'away.example' } },
    {
      match: below('/headers'),
      ...to('v1'),
      request_headers_to_add: [set('x-set'), add('x-add')],
      request_headers_to_remove: ['x-gone'],
      response_headers_to_add: [set('x-set'), add('x-add')],
      response_headers_to_remove: ['x-gone'],
    },
    { match: below('/per-try'), ...to('v1', { timeout: '5s', ...retry(1, { per_try_timeout: '0.4s' }) }) },
    { match: below('/timeout'), ...to('v1', { timeout: '0.4s' }) },
    { match: below('/retry'), ...to('v1', retry(2)) },
    { match: { prefix: '/', headers: [{ name: ':method', string_match: { exact: 'DELETE' } }] }, ...to('v2') },
    { match: { prefix: '/', headers: [{ name: 'x-version', string_match: { exact: 'two' } }] }, ...to('v2') },
    { match: { prefix: '/', query_parameters: [{ name: 'a', string_match: { exact: '1' } }] }, ...to('v2') },
    { match: { prefix: '/' }, ...to('v1') },
  ];
}

function set(key: string): object {
  return { header: { key, value: 'ours' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' };
}

function add(key: string): object {
  return { header: { key, value: 'ours' }, append_action: 'APPEND_IF_EXISTS_OR_ADD' };
}

function denyFilter(): object {
  const header = (name: string, matcher: object) => ({ header: { name, string_match: matcher } });
  const path = (matcher: object) => ({ url_path: { path: matcher } });
  return typed('envoy.extensions.filters.http.rbac.v3.RBAC', {
    rules: {
      action: 'DENY',
      policies: {
        'ns[gateway-conformance-mesh]-policy[deny]-rule[0]': {
          permissions: [
            {
              or_rules: {
                rules: [
                  path({ exact: '/denied' }),
                  path({ prefix: '/denied/' }),
                  header(':authority', { exact: 'denied.example', ignore_case: true }),
                  header(':method', { exact: 'PATCH' }),
                ],
              },
            },
          ],
          principals: [{ any: true }],
        },
        'ns[gateway-conformance-mesh]-policy[deny]-rule[1]': {
          permissions: [{ any: true }],
          principals: [header('x-deny', { exact: 'yes' })],
        },
      },
    },
  });
}

function jwtFilter(jwks: string): object {
  return typed('envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication', {
    bypass_cors_preflight: true,
    providers: {
      'origins-0': {
        issuer: 'issuer@test',
        audiences: ['ours'],
        local_jwks: { inline_string: jwks },
        payload_in_metadata: 'payload',
      },
    },
    rules: [
      {
        match: { prefix: '/' },
        requires: { requires_any: { requirements: [{ provider_name: 'origins-0' }, { allow_missing: {} }] } },
      },
    ],
  });
}
