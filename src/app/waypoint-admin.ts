/** Where a waypoint's admin, metrics and readiness are to be found, and all ports that it listens on. */
import type { AdminAddresses } from '../admin/server.ts';
import type { WaypointProgramSettings } from './waypoint-settings.ts';
import { wildcard } from './wildcard.ts';

/** A worker's are unix sockets, for its supervisor to ask. */
export function adminAddresses({ variables, worker }: WaypointProgramSettings): AdminAddresses {
  const { AMBIT_ADMIN_SOCKET: path, AMBIT_LISTEN_IP: host = wildcard(true) } = variables;
  const unix = (path: string) => ({ kind: 'unix', path }) as const;
  if (worker !== undefined && path !== undefined)
    return { admin: unix(path), metrics: unix(`${path}.metrics`), readiness: undefined };
  return {
    admin: path === undefined ? { kind: 'tcp', host: '127.0.0.1', port: variables.AMBIT_ADMIN_PORT } : unix(path),
    metrics: { kind: 'tcp', host, port: variables.AMBIT_METRICS_PORT },
    readiness: { kind: 'tcp', host, port: variables.AMBIT_READINESS_PORT },
  };
}

/** Those of a worker's supervisor are as little to be called. */
export function listenPorts({ variables, ports }: WaypointProgramSettings): readonly number[] {
  return [...ports, variables.AMBIT_ADMIN_PORT, variables.AMBIT_METRICS_PORT, variables.AMBIT_READINESS_PORT];
}
