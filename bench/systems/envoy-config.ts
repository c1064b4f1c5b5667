/**
 * Pieces of Envoy's configuration as Istio writes them for its proxies: no limits of its own on connections and requests,
 * windows in which bulk is not held up, mutual TLS 1.3 with P-256.
 */
import type { CertificateFiles } from './certificate.ts';
import { trustDomain } from './certificate.ts';

/** Settings of HTTP/2 in tunnels: the windows that ztunnel has by default. */
export const tunnelWindows = { initial_stream_window_size: 4 << 20, initial_connection_window_size: 16 << 20 } as const;

/** A bootstrap without its admin section. */
export interface EnvoyConfig {
  readonly static_resources: { readonly listeners: readonly object[]; readonly clusters: readonly object[] };
  readonly bootstrap_extensions?: readonly object[];
}

export function typed(type: string, fields: object = {}): object {
  return { '@type': `type.googleapis.com/${type}`, ...fields };
}

export function extension(name: string, type: string, fields: object = {}): object {
  return { name, typed_config: typed(type, fields) };
}

export function socketAddress(address: string, port: number): object {
  return { socket_address: { address, port_value: port } };
}

/** A cluster of one endpoint. */
export function cluster(name: string, address: object, more: object = {}): object {
  const most = 0xffff_ffff;
  return {
    name,
    type: 'STATIC',
    connect_timeout: '10s',
    circuit_breakers: {
      thresholds: [{ max_connections: most, max_pending_requests: most, max_requests: most, max_retries: most }],
    },
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    ...more,
  };
}

/** For a cluster: which HTTP is spoken to it. */
export function upstreamHttp(protocol: object): object {
  const options = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  return { typed_extension_protocol_options: { [options]: typed(options, { explicit_http_config: protocol }) } };
}

export function upstreamTls(files: CertificateFiles, peer: string): object {
  const context = { common_tls_context: commonTls(files, { exact: peer }) };
  return extension('tls', 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', context);
}

export function downstreamTls(files: CertificateFiles): object {
  return extension('tls', 'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
    require_client_certificate: true,
    common_tls_context: commonTls(files, { prefix: `spiffe://${trustDomain}/` }),
  });
}

function commonTls({ chain, key, roots }: CertificateFiles, matcher: object): object {
  return {
    alpn_protocols: ['h2'],
    tls_params: {
      tls_minimum_protocol_version: 'TLSv1_3',
      tls_maximum_protocol_version: 'TLSv1_3',
      ecdh_curves: ['P-256'],
    },
    tls_certificates: [{ certificate_chain: { filename: chain }, private_key: { filename: key } }],
    validation_context: {
      trusted_ca: { filename: roots },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher }],
    },
  };
}

export function connectionManager(statPrefix: string, fields: object): object {
  const type = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
  return extension('http', type, { stat_prefix: statPrefix, ...fields });
}

/** A connection manager that ends CONNECT tunnels. */
export function tunnelManager(statPrefix: string, virtualHosts: readonly object[], filters: readonly object[]): object {
  return connectionManager(statPrefix, {
    codec_type: 'HTTP2',
    stream_idle_timeout: '0s',
    http2_protocol_options: { allow_connect: true, ...tunnelWindows },
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    http_filters: [...filters, router],
    route_config: { virtual_hosts: virtualHosts },
  });
}

/** A virtual host whose tunnels all lead to a cluster. */
export function tunnelHost(authority: string, clusterName: string): object {
  const connect = { upgrade_type: 'CONNECT', connect_config: {} };
  const route = { cluster: clusterName, timeout: '0s', upgrade_configs: [connect] };
  return { name: clusterName, domains: [authority], routes: [{ match: { connect_matcher: {} }, route }] };
}

export const router = extension('router', 'envoy.extensions.filters.http.router.v3.Router');
