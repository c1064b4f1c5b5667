/**
 * CORS of the route: preflights are answered here, after policies and faults, as at Envoy; other responses get what the
 * browser has to be told.
 */
import { decideCors } from '../../route/cors.ts';
import { type AfterRoute, go } from './stage.ts';

export const corsStage: AfterRoute = (_context, route) => {
  const cors = route?.stages?.cors;
  if (cors === undefined) return undefined;
  return (record) => {
    const decision = decideCors(cors, record.method, record.headers);
    switch (decision.kind) {
      case 'pass':
        return go;
      case 'preflight': {
        const { headers } = decision;
        return { kind: 'reply', status: 200, body: '', flags: '-', details: 'cors_preflight', headers };
      }
      case 'allow':
        record.changeResponse(decision.allowed);
        return go;
    }
  };
};
