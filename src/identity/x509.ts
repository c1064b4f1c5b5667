/**
 * The door to @peculiar/x509, which wants `reflect-metadata` loaded before it and a crypto provider set. It writes and
 * reads requests and certificates; chains are verified by OpenSSL (`node:tls`, `X509Certificate`), never by this library,
 * whose chain builder looks at neither dates nor constraints.
 *
 * For those who sign: a proxy does not load it, since it takes 4 MiB (`test/unit/architecture/loaded.test.ts`).
 */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

export { x509 };

/** How Ambit signs: requests, leaves and the roots it makes itself. */
export const ecdsaP256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** Extractable, since OpenSSL takes keys as PEM. */
export async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ecdsaP256, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}
