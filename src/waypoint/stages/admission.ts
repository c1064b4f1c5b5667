/**
 * The first stage of all: whether the waypoint, near its limits, takes one more request, and of this client. Counted from
 * here to the end of the exchange.
 */
import type { AdmissionVerdict } from '../protection/admission.ts';
import { type BeforeRoute, go, type StageAnswer } from './stage.ts';

export const admissionStage: BeforeRoute = ({ services: { admission }, tunnel: { clientIdentity } }) => {
  return (record) => {
    const verdict = admission.request(clientIdentity, record.path);
    if (verdict.kind === 'refuse') return shed(verdict.reason);
    record.exchange.onClosed(() => admission.requestEnded(clientIdentity));
    return go;
  };
};

function shed(reason: Extract<AdmissionVerdict, { kind: 'refuse' }>['reason']): StageAnswer {
  const headers = ['retry-after', '1', 'x-envoy-overloaded', 'true'];
  const details = `overload{${reason}}`;
  return { kind: 'reply', status: 503, body: `overloaded: ${reason}`, flags: 'OM', details, headers };
}
