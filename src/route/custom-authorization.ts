/** What AuthorizationPolicies with action CUSTOM ask for at one service or gateway, of one provider. */
import type { ServiceKey } from '../mesh/model.ts';
import type { L7Policy } from './l7-policy.ts';
import type { GrpcExtAuthz, HttpExtAuthz } from './mesh-config.ts';

export interface CustomAuthorization {
  readonly providerName: string;
  /** Undefined: there is no such provider, or it is unusable; what the rules match is denied. */
  readonly provider: HttpExtAuthz | GrpcExtAuthz | undefined;
  /** With action `deny`: what they would deny is asked about. */
  readonly policies: readonly L7Policy[];
}

/** Keyed as policies are. */
export interface CustomAuthorizations {
  readonly services: ReadonlyMap<ServiceKey, readonly CustomAuthorization[]>;
  readonly gateways: ReadonlyMap<string, readonly CustomAuthorization[]>;
}
