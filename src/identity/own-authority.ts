/**
 * A CA client that is its own CA, for a single proxy on a desk (`AMBIT_CA_DIR`) and for tests: the order is checked and
 * signed in this process. Where there is a control plane, no proxy holds a CA key.
 */
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { CertificateAuthority } from './authority.ts';
import type { CaClient } from './ca-client.ts';
import { checkRequest } from './request-check.ts';

export function createOwnAuthorityClient(authority: CertificateAuthority, logger: Logger): CaClient {
  logger.warn('this proxy is its own certificate authority: it can be any workload; use ambit control for a mesh');
  return {
    async sign({ identity, requestPem, ttlSeconds }) {
      const request = await checkRequest(requestPem);
      if (request.kind === 'bad') return { kind: 'refused', reason: request.reason };
      if (request.uri !== identity) return { kind: 'refused', reason: `the request names ${request.uri}` };
      try {
        const leaf = await authority.issue({
          publicKey: request.publicKey,
          names: [{ type: 'url', value: identity }],
          lifeMs: ttlSeconds * 1000,
        });
        return { kind: 'issued', chainPem: leaf.chainPem, rootsPem: authority.rootsPem };
      } catch (error) {
        return { kind: 'unreachable', reason: errorText(error) };
      }
    },
    close() {},
  };
}
