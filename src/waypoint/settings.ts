/** What an operator may choose about a waypoint, as plain data: `app/` reads it from the environment. */

import type { Cidr } from '../base/address.ts';
import { defaultOverloadSettings, type OverloadSettings } from './protection/overload.ts';

export type ClientAddressHeader = 'x-forwarded-for' | 'forwarded';

export interface WaypointSettings {
  readonly network: string;
  /** How long a connection of undeclared protocol may be silent before it is taken for one where the server speaks first. */
  readonly sniffTimeoutMs: number;
  /** How long a body may take that is gathered before the request goes on, for a provider or an extension that asked to see it. */
  readonly bodyTimeoutMs: number;
  /** CONNECT streams of one client session: more than a ztunnel opens (100), since an ended one counts until Node lets it go. */
  readonly maxStreamsPerSession: number;
  /** CONNECT streams one client identity may have open in all; more are refused with 503 (design rule 10). */
  readonly maxTunnelsPerIdentity: number;
  /** Tunnel port of endpoints. */
  readonly hbonePort: number;
  /** Origins of key servers that may be called without TLS or at addresses that are not public. */
  readonly jwksOrigins: readonly string[];
  /** Another process may listen on the same port: one that takes over. */
  readonly reusePort: boolean;
  /** Headers by which applications are told the client's address. */
  readonly clientAddressHeaders: readonly ClientAddressHeader[];
  /** Where modules of extensions are; undefined: nowhere. */
  readonly extensionsDirectory: string | undefined;
  readonly overload: OverloadSettings;
  /** HTTP/1.0 is served, as with Istio's PILOT_HTTP10; otherwise it is refused with 426. */
  readonly http10: boolean;
  /** Addresses that names and endpoints may lead to, whatever they are. */
  readonly egressAddresses: readonly Cidr[];
}

export const defaultWaypointSettings: WaypointSettings = {
  network: '',
  sniffTimeoutMs: 1_000,
  bodyTimeoutMs: 60_000,
  maxStreamsPerSession: 200,
  maxTunnelsPerIdentity: 10_000,
  hbonePort: 15008,
  jwksOrigins: [],
  reusePort: false,
  clientAddressHeaders: [],
  extensionsDirectory: undefined,
  overload: defaultOverloadSettings,
  http10: false,
  egressAddresses: [],
};
