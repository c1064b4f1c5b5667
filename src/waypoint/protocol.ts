/** Which chain a port's declared protocol leads to; an undeclared one is told by its first bytes. */
import type { AppProtocol } from '../mesh/model.ts';

export function declaredKind(protocol: AppProtocol): 'http' | 'tcp' | 'unknown' {
  switch (protocol) {
    case 'http11':
    case 'http2':
    case 'grpc':
      return 'http';
    case 'tcp':
    case 'tls':
      return 'tcp';
    case 'unknown':
      return 'unknown';
  }
}
