/**
 * A JSON Web Key Set as public keys that may verify (RFC 7517). Only asymmetric signatures: a symmetric key in a document
 * that everybody may read proves nothing, and taking one would let a public key pass for a secret.
 *
 * I1: of a key only its public members are used. I2: keys whose use would be slow (huge moduli or exponents) are left out.
 */
import { type CryptoKey, importJWK, type JWK } from 'jose';

const mostKeys = 64;
/** Of candidates for one token. */
const mostCandidates = 8;

interface PublicKey {
  readonly kid: string | undefined;
  readonly alg: string | undefined;
  readonly jwk: JWK;
  /** Imported for an algorithm; undefined: it cannot be. */
  readonly imported: Map<string, Promise<CryptoKey | undefined>>;
}

/** Algorithms a token may be signed with, and the keys they take. */
const keyTypes: Readonly<Record<string, string | undefined>> = {
  RS256: 'RSA',
  RS384: 'RSA',
  RS512: 'RSA',
  PS256: 'RSA',
  PS384: 'RSA',
  PS512: 'RSA',
  ES256: 'EC P-256',
  ES384: 'EC P-384',
  ES512: 'EC P-521',
  EdDSA: 'OKP Ed25519',
};

export function isAlgorithm(alg: string): boolean {
  return Object.hasOwn(keyTypes, alg);
}

export class KeySet {
  readonly #keys: readonly PublicKey[];

  constructor(keys: readonly PublicKey[]) {
    this.#keys = keys;
  }

  get size(): number {
    return this.#keys.length;
  }

  /** Keys that may have made the signature: by name if the token names one, and those without a name. */
  async candidates(alg: string, kid: string | undefined): Promise<readonly CryptoKey[]> {
    const fitting = this.#keys
      .filter((key) => keyType(key.jwk) === keyTypes[alg] && (key.alg === undefined || key.alg === alg))
      .filter((key) => kid === undefined || key.kid === undefined || key.kid === kid)
      .slice(0, mostCandidates);
    const keys = await Promise.all(
      fitting.map((key) => key.imported.getOrInsertComputed(alg, () => load(key.jwk, alg))),
    );
    return keys.filter((key) => key !== undefined);
  }
}

/** Undefined: it is no key set. */
export function parseKeySet(document: string): KeySet | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(document);
  } catch {
    // JSON.parse has no other way to say no.
    return undefined;
  }
  const keys = typeof parsed === 'object' && parsed !== null && 'keys' in parsed ? parsed.keys : undefined;
  if (!Array.isArray(keys)) return undefined;
  return new KeySet(keys.slice(0, mostKeys).flatMap((key) => publicKey(key) ?? []));
}

function publicKey(value: unknown): PublicKey | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const members = value as Readonly<Record<string, unknown>>;
  const { use, key_ops: operations } = members;
  if (use !== undefined && use !== 'sig') return undefined;
  if (Array.isArray(operations) && !operations.includes('verify')) return undefined;
  const text = (name: string, longest: number) => {
    const member = members[name];
    return typeof member === 'string' && member.length <= longest ? member : undefined;
  };
  const [kty, n, e, crv, x, y] = [
    text('kty', 8),
    text('n', 1400),
    text('e', 8),
    text('crv', 16),
    text('x', 100),
    text('y', 100),
  ];
  let jwk: JWK | undefined;
  if (kty === 'RSA' && n !== undefined && e !== undefined) jwk = { kty, n, e };
  else if (kty === 'EC' && crv !== undefined && x !== undefined && y !== undefined) jwk = { kty, crv, x, y };
  else if (kty === 'OKP' && crv !== undefined && x !== undefined) jwk = { kty, crv, x };
  if (jwk === undefined) return undefined;
  return { kid: text('kid', 1024), alg: text('alg', 16), jwk, imported: new Map() };
}

function keyType({ kty, crv }: JWK): string {
  return crv === undefined ? `${kty}` : `${kty} ${crv}`;
}

async function load(jwk: JWK, alg: string): Promise<CryptoKey | undefined> {
  try {
    const key = await importJWK(jwk, alg);
    return key instanceof Uint8Array ? undefined : key;
  } catch {
    // A key that the engine refuses verifies nothing; another one of the set may.
    return undefined;
  }
}
