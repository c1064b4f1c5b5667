/**
 * Certificates from a CA over the wire: istiod's or `ambit control`'s, which speak the same service.
 * The identity goes both into the request and into `ImpersonatedIdentity`: a node asks for its pods.
 */

import { IstioCertificateService } from '../proto/gen/certificate_pb.js';
import type { RpcChannel } from '../rpc/channel.ts';
import type { CaAnswer, CaClient } from './ca-client.ts';

/** The channel is closed with the client. `impersonate`: false for a waypoint, which asks for itself. */
export function createIstioCaClient(channel: RpcChannel, impersonate: boolean): CaClient {
  return {
    async sign({ identity, requestPem, ttlSeconds }, signal): Promise<CaAnswer> {
      const request = {
        csr: requestPem,
        validityDuration: BigInt(ttlSeconds),
        ...(impersonate ? { metadata: { ImpersonatedIdentity: identity } } : {}),
      };
      const result = await channel.unary(IstioCertificateService.method.createCertificate, request, { signal });
      if (result.kind === 'error') {
        const reason = `${result.code}: ${result.message}`;
        return { kind: result.retryable ? 'unreachable' : 'refused', reason };
      }
      return answerFromChain(result.message.certChain);
    },
    close: () => channel.close(),
  };
}

/** The last element holds the roots, what is before it the chain. An answer too short fails later checks. */
export function answerFromChain(certChain: readonly string[]): Extract<CaAnswer, { kind: 'issued' }> {
  return { kind: 'issued', chainPem: certChain.slice(0, -1), rootsPem: certChain.at(-1) ?? '' };
}
