/** An endpoint as its destination's settings have it: TLS, PROXY protocol, times. The same object for the same of both. */
import { proxyHeader } from '../net/proxy-protocol.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import type { UpstreamEndpoint } from '../upstream/endpoint.ts';
import type { UpstreamProfile } from '../upstream/profile.ts';
import type { Tunnel } from './context.ts';
import { tlsForName } from './upstream-tls-settings.ts';

const ofAll = new WeakMap<UpstreamEndpoint, WeakMap<UpstreamProfile, UpstreamEndpoint>>();
const ofClients = new WeakMap<UpstreamEndpoint, WeakMap<Tunnel, UpstreamEndpoint>>();

export function profiled(
  endpoint: UpstreamEndpoint,
  profile: UpstreamProfile | undefined,
  tunnel: Tunnel,
): UpstreamEndpoint {
  if (profile === undefined) return endpoint;
  const own = profiledForAll(endpoint, profile);
  return profile.proxyProtocol === undefined ? own : withHeader(own, profile.proxyProtocol, tunnel);
}

/** Without what is told of one client. */
export function profiledForAll(endpoint: UpstreamEndpoint, profile: UpstreamProfile): UpstreamEndpoint {
  return ofAll
    .getOrInsertComputed(endpoint, newProfiles)
    .getOrInsertComputed(profile, () => withProfile(endpoint, profile));
}

/** The client is told to the endpoint: its connections are nobody else's. */
function withHeader(endpoint: UpstreamEndpoint, version: 'v1' | 'v2', tunnel: Tunnel): UpstreamEndpoint {
  return ofClients.getOrInsertComputed(endpoint, newTunnels).getOrInsertComputed(tunnel, () => {
    const { client, destination } = tunnel;
    const key = `${client.ip} ${client.port} ${destination.address.ip} ${destination.address.port}`;
    return { ...endpoint, preface: { key, bytes: proxyHeader(version, client, destination.address) } };
  });
}

function withProfile(endpoint: UpstreamEndpoint, profile: UpstreamProfile): UpstreamEndpoint {
  const { transport, address } = endpoint;
  if (transport.kind === 'tunnel') return { ...endpoint, profile };
  const socket: SocketProfile = {
    ...transport.socket,
    connectTimeoutMs: profile.connectTimeoutMs ?? transport.socket.connectTimeoutMs,
    ...(profile.tcp === undefined ? {} : { tcp: profile.tcp }),
  };
  if (transport.kind === 'plain') return { ...endpoint, profile, transport: { ...transport, socket } };
  // Of a wildcard each name has a profile of its own: who is asked for, and who must answer, is the name.
  const tls = profile.tls && tlsForName(profile.tls, transport.hostname);
  const own = tls === profile.tls ? profile : { ...profile, tls, key: `${profile.key}|${address.ip}` };
  const everywhere = profile.everywhere && transport.everywhere;
  return { ...endpoint, profile: own, transport: { ...transport, socket, everywhere } };
}

function newProfiles(): WeakMap<UpstreamProfile, UpstreamEndpoint> {
  return new WeakMap();
}

function newTunnels(): WeakMap<Tunnel, UpstreamEndpoint> {
  return new WeakMap();
}
