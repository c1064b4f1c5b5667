/**
 * Envoy configurations for the two ends of an HBONE tunnel: mutual TLS 1.3, ALPN h2, one HTTP/2 CONNECT stream per TCP
 * connection, SPIFFE ids checked on both sides. What Istio configures in a waypoint's Envoy, kept to what it needs.
 */
import type { SocketAddress } from '../../src/base/address.ts';
import type { IssuedPem } from './test-ca.ts';

/** A bootstrap without its admin section. */
export interface EnvoyConfig {
  readonly static_resources: { readonly listeners: readonly object[]; readonly clusters: readonly object[] };
}

/** Name of the one listener that each configuration has. */
export const envoyListener = 'entry';
const envoyCluster = 'next';

interface EnvoyTls {
  readonly certificate: IssuedPem;
  readonly rootsPem: string;
  /** SPIFFE ids of which the peer must prove one. */
  readonly expectedPeers: readonly string[];
}

export interface EnvoyClientOptions extends EnvoyTls {
  /** The HBONE server. */
  readonly server: SocketAddress;
  readonly authority: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** TCP in, CONNECT over mutual TLS out. */
export function envoyHboneClient(options: EnvoyClientOptions): EnvoyConfig {
  const headers = Object.entries(options.headers ?? {}).map(([key, value]) => ({ header: { key, value } }));
  const proxy = typed('envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', {
    stat_prefix: 'hbone',
    cluster: envoyCluster,
    tunneling_config: { hostname: options.authority, headers_to_add: headers },
  });
  const tls = typed('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
    common_tls_context: commonTls(options),
  });
  return bootstrap(
    { filters: [{ name: 'tcp', typed_config: proxy }] },
    {
      ...clusterTo(options.server),
      transport_socket: { name: 'tls', typed_config: tls },
      typed_extension_protocol_options: {
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': typed(
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
          { explicit_http_config: { http2_protocol_options: {} } },
        ),
      },
    },
  );
}

export interface EnvoyServerOptions extends EnvoyTls {
  /** Where every tunnel ends, whatever its authority. */
  readonly destination: SocketAddress;
  /** Default: 127.0.0.1. */
  readonly listenIp?: string;
  readonly maxConcurrentStreams?: number;
}

/** CONNECT over mutual TLS in, TCP out. */
export function envoyHboneServer(options: EnvoyServerOptions): EnvoyConfig {
  const manager = typed('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'hbone',
    codec_type: 'HTTP2',
    stream_idle_timeout: '0s',
    http2_protocol_options: {
      allow_connect: true,
      ...(options.maxConcurrentStreams === undefined ? {} : { max_concurrent_streams: options.maxConcurrentStreams }),
    },
    upgrade_configs: [{ upgrade_type: 'CONNECT' }],
    http_filters: [{ name: 'router', typed_config: typed('envoy.extensions.filters.http.router.v3.Router', {}) }],
    route_config: {
      virtual_hosts: [
        {
          name: 'any',
          domains: ['*'],
          routes: [
            {
              match: { connect_matcher: {} },
              route: {
                cluster: envoyCluster,
                timeout: '0s',
                upgrade_configs: [{ upgrade_type: 'CONNECT', connect_config: {} }],
              },
            },
          ],
        },
      ],
    },
  });
  const tls = typed('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
    require_client_certificate: true,
    disable_stateless_session_resumption: true,
    common_tls_context: commonTls(options),
  });
  return bootstrap(
    {
      filters: [{ name: 'http', typed_config: manager }],
      transport_socket: { name: 'tls', typed_config: tls },
    },
    clusterTo(options.destination),
    options.listenIp,
  );
}

function bootstrap(filterChain: object, cluster: object, listenIp = '127.0.0.1'): EnvoyConfig {
  const entry = {
    name: envoyListener,
    address: socketAddress({ ip: listenIp, port: 0 }),
    filter_chains: [filterChain],
  };
  return {
    static_resources: { listeners: [entry], clusters: [cluster] },
  };
}

function commonTls({ certificate, rootsPem, expectedPeers }: EnvoyTls): object {
  return {
    alpn_protocols: ['h2'],
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [
      {
        certificate_chain: { inline_string: certificate.certPem },
        private_key: { inline_string: certificate.keyPem },
      },
    ],
    validation_context: {
      trusted_ca: { inline_string: rootsPem },
      match_typed_subject_alt_names: expectedPeers.map((exact) => ({ san_type: 'URI', matcher: { exact } })),
    },
  };
}

function clusterTo(address: SocketAddress): object {
  return {
    name: envoyCluster,
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: {
      cluster_name: envoyCluster,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(address) } }] }],
    },
  };
}

function socketAddress({ ip, port }: SocketAddress): object {
  return { socket_address: { address: ip, port_value: port } };
}

function typed(type: string, fields: object): object {
  return { '@type': `type.googleapis.com/${type}`, ...fields };
}
