/** How the endpoints of a service that is not of the cluster (ServiceEntry) are found. Compiled; read by waypoints. */

export interface Egress {
  /** `dynamic-dns`: by the name that the request itself gives, within `host`. */
  readonly resolution: 'static' | 'dns' | 'dns-round-robin' | 'dynamic-dns';
  /** Outside the mesh: what its names resolve to is not trusted to be outside as well. */
  readonly external: boolean;
  /** Lower case; a leading `*.` stands for any beginning. */
  readonly host: string;
  /** Of certificates, where TLS is originated and no others are asked for. Empty: the host. */
  readonly serverNames: readonly string[];
}
