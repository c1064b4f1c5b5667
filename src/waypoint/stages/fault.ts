/**
 * Faults injected by the route: a delay, an abort, or the one after the other. Before CORS, as at Envoy: an injected abort
 * carries no CORS headers and a preflight waits like any other request.
 */
import { drawFault, httpStatusOfGrpc } from '../../route/fault.ts';
import type { FaultAbort } from '../../route/model.ts';
import { type AfterRoute, go, type StageAnswer } from './stage.ts';

export const faultStage: AfterRoute = ({ services: { clock, random } }, route) => {
  const fault = route?.stages?.fault;
  if (fault === undefined) return undefined;
  return (record) => {
    const { delayMs, abort } = drawFault(fault, random);
    const answer = abort === undefined ? go : abortReply(abort);
    if (delayMs === 0) return answer;
    record.flag('DI');
    return new Promise((resolve) => {
      const timer = clock.after(delayMs, () => resolve(answer));
      record.gone.on(() => timer.cancel());
    });
  };
};

function abortReply(abort: FaultAbort): StageAnswer {
  const grpcStatus = abort.kind === 'grpc' ? abort.grpcStatus : undefined;
  const status = abort.kind === 'grpc' ? httpStatusOfGrpc(abort.grpcStatus) : abort.status;
  const words = { body: 'fault filter abort', flags: 'FI', details: 'fault_filter_abort' };
  return { kind: 'reply', status, ...words, grpcStatus };
}
