/** One port of a Service or ServiceEntry, and what it speaks by Istio's protocol selection. */
import type { AppProtocol } from '../mesh/model.ts';

export interface ServicePortSpec {
  readonly name: string;
  readonly port: number;
  /** A name is resolved per pod. */
  readonly targetPort: number | string;
  readonly appProtocol: AppProtocol;
}

/** By `appProtocol`, else by the port's name up to its first dash (Istio's protocol selection). */
export function appProtocolOf(appProtocol: string | undefined, portName: string): AppProtocol {
  const word = (appProtocol ?? portName.split('-', 1)[0] ?? '').toLowerCase();
  switch (word) {
    case 'http':
    case 'kubernetes.io/ws':
      return 'http11';
    case 'http2':
    case 'kubernetes.io/h2c':
      return 'http2';
    case 'grpc':
    case 'grpc-web':
      return 'grpc';
    case 'tcp':
    case 'mongo':
    case 'mysql':
    case 'redis':
      return 'tcp';
    case 'https':
    case 'tls':
    case 'kubernetes.io/wss':
      return 'tls';
    default:
      return 'unknown';
  }
}
