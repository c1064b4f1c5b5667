/** An issuer of tokens, and the key server it has: what RequestAuthentication is tested with. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import type { Test } from 'tap';
import type { JwtRule } from '../../src/route/request-authentication.ts';

export interface TestKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly jwk: Readonly<Record<string, unknown>>;
}

export async function createTestKey(kid: string, alg = 'ES256'): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

export function keySetText(...keys: readonly TestKey[]): string {
  return JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
}

/** Claims beside those given: nothing. `nowMs`: for `exp`, an hour later unless the claims have their own. */
export function signToken(key: TestKey, claims: JWTPayload, nowMs = Date.now()): Promise<string> {
  return new SignJWT({ exp: Math.floor(nowMs / 1000) + 3600, ...claims })
    .setProtectedHeader({ alg: String(key.jwk.alg), kid: key.kid })
    .sign(key.privateKey);
}

export function jwtRule(fields: Partial<JwtRule> & { readonly keys: JwtRule['keys'] }): JwtRule {
  return {
    issuer: 'https://issuer.example',
    audiences: [],
    timeoutMs: 5_000,
    locations: [
      { kind: 'header', name: 'authorization', prefix: 'Bearer ', ignoreCase: true },
      { kind: 'param', name: 'access_token' },
    ],
    forwardOriginalToken: false,
    payloadHeader: undefined,
    claimHeaders: [],
    spaceDelimitedClaims: new Set(['scope', 'permission']),
    ...fields,
  };
}

/** Listens on loopback until the test ends; the origin it is called by. */
export async function serveDocuments(
  t: Test,
  serve: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(serve);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
