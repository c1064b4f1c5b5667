/** AuthorizationPolicy on the gateway and on the service: DENY, then ALLOW; AUDIT and dry-run are noted for the log. */
import { hasServicePolicies } from '../authorize.ts';
import { type BeforeRoute, go, type StageReply } from './stage.ts';

export const policyStage: BeforeRoute = ({ tunnel, model, own }) => {
  if (!hasServicePolicies(model, own, tunnel)) return undefined;
  return (record) => {
    const { verdict, audited } = record.authorizer.service(record.model, record.judged());
    record.audit(audited);
    return verdict.kind === 'deny' ? deniedReply(verdict.reason) : go;
  };
};

/** Istio's words for a request that a policy refuses. */
export const deniedBody = 'RBAC: access denied';

export function deniedReply(reason: string): StageReply {
  return { kind: 'reply', status: 403, body: deniedBody, flags: '-', details: reason };
}
