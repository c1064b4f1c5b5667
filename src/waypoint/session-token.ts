/**
 * Session tokens: what a client carries to come back to its endpoint. Sealed with AES-256-GCM, so that a token tells its bearer
 * nothing and nobody but who has the key can make one; bound to its scope and name, so that it is good for nothing else.
 *
 * I1: a token that was not made here, for this, is no token: it opens nothing and says nothing.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Session, SessionPersistence } from '../route/session.ts';

const nonceBytes = 12;
const tagBytes = 16;
/** Of the text: no uid and no service name is longer than what Kubernetes allows for both together. */
const longestToken = 2048;
const version = 1;

/** Keys of all replicas: the first seals, any opens. */
export type SessionKeys = readonly [Buffer, ...Buffer[]];

/** From secrets as somebody wrote them, at least 32 characters each. */
export function sessionKeys(secrets: readonly [string, ...string[]]): SessionKeys {
  const [first, ...others] = secrets;
  return [derived(first), ...others.map(derived)];
}

/** Of this process alone. */
export function ownSessionKeys(): SessionKeys {
  return [randomBytes(32)];
}

function derived(secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', 'ambit session persistence 1', 32));
}

export function sealSession([key]: SessionKeys, persistence: SessionPersistence, session: Session): string {
  const { service, port, uid, createdMs, seenMs } = session;
  const text = JSON.stringify([version, service, port, uid, seconds(createdMs), seconds(seenMs)]);
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(boundTo(persistence));
  const sealed = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return sealed.toString('base64url');
}

/** Undefined: it is nobody's token for this. */
export function openSession(keys: SessionKeys, persistence: SessionPersistence, token: string): Session | undefined {
  if (token.length > longestToken || !/^[A-Za-z0-9_-]+$/.test(token)) return undefined;
  const bytes = Buffer.from(token, 'base64url');
  if (bytes.length <= nonceBytes + tagBytes) return undefined;
  for (const key of keys) {
    const text = opened(key, persistence, bytes);
    if (text !== undefined) return readSession(text);
  }
  return undefined;
}

function opened(key: Buffer, persistence: SessionPersistence, bytes: Buffer): string | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(boundTo(persistence));
  decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes));
  const text = decipher.update(bytes.subarray(nonceBytes, bytes.length - tagBytes));
  try {
    return Buffer.concat([text, decipher.final()]).toString('utf8');
  } catch {
    // The only way in which it is told that the tag is another.
    return undefined;
  }
}

/** What was sealed was written by `sealSession`, of this version or of another. */
function readSession(text: string): Session | undefined {
  const [is, service, port, uid, created, seen] = JSON.parse(text) as readonly unknown[];
  if (is !== version) return undefined;
  return {
    service: service as string,
    port: port as number,
    uid: uid as string,
    createdMs: (created as number) * 1000,
    seenMs: (seen as number) * 1000,
  };
}

function boundTo({ scope, name }: SessionPersistence): Buffer {
  return Buffer.from(`${scope}\0${name}`);
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}
