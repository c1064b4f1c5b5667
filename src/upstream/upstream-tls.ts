/**
 * TLS that this waypoint originates towards a backend: inside the tunnel to a pod, or over a socket to what is not in the
 * mesh. The server is known by its names, not by SPIFFE ids.
 *
 * I1: never resumes a session: Node skips every check of the peer then.
 * I2: the stream is handed out only after chain, names and protocol were checked; only `skipVerify` leaves the first two out.
 */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorCode, errorText } from '../base/errors.ts';
import type { UpstreamProtocol } from './protocol.ts';
import type { TlsMaterial } from './tls-material.ts';

export type ServerName =
  | { readonly kind: 'any'; readonly value: string }
  | { readonly kind: 'dns' | 'uri'; readonly value: string };

export interface UpstreamTls {
  /** Part of the profile's key. */
  readonly key: string;
  /** Server name to ask for; undefined: none. */
  readonly sni: string | undefined;
  /** One of them the certificate must carry. */
  readonly names: readonly ServerName[];
  readonly skipVerify: boolean;
  readonly material: TlsMaterial;
}

/** Owns `raw` from now on. Rejects with an AmbitError, `raw` then destroyed. */
export async function secureUpstream(
  raw: Duplex,
  tls: UpstreamTls,
  protocol: UpstreamProtocol | undefined,
  clock: Clock,
  timeoutMs: number,
): Promise<TLSSocket> {
  // TLS has no half-closed connection; left on, a peer's FIN would leave the session hanging.
  raw.allowHalfOpen = false;
  const material = await tls.material.context();
  if (material.kind === 'failed') {
    raw.destroy();
    throw tlsError(`no certificates for TLS to the backend: ${material.reason}`);
  }
  return await new Promise((resolve, reject) => {
    const socket = connect({
      socket: raw,
      secureContext: material.context,
      servername: tls.sni !== undefined && isIP(tls.sni) === 0 ? tls.sni : '',
      ...(protocol === undefined ? {} : { ALPNProtocols: [alpnOf[protocol]] }),
      rejectUnauthorized: !tls.skipVerify,
      // Names are checked below: OpenSSL has checked the chain by then.
      checkServerIdentity: () => undefined,
    });
    const fail = (error: AmbitError) => {
      timer.cancel();
      socket.destroy();
      raw.destroy();
      reject(error);
    };
    const timer = clock.after(timeoutMs, () => fail(tlsError(`the TLS handshake did not end in ${timeoutMs} ms`)));
    socket.on('error', (error) => fail(handshakeError(error)));
    socket.once('close', () => fail(tlsError('the backend closed during the TLS handshake')));
    socket.once('secureConnect', () => {
      const problem = problemOf(socket, tls, protocol);
      if (problem !== undefined) {
        fail(tlsError(problem));
        return;
      }
      timer.cancel();
      resolve(socket);
    });
  });
}

const alpnOf: Readonly<Record<UpstreamProtocol, string>> = { h1: 'http/1.1', h2c: 'h2' };

function problemOf(socket: TLSSocket, tls: UpstreamTls, protocol: UpstreamProtocol | undefined): string | undefined {
  const chosen = socket.alpnProtocol || undefined;
  // A server that knows no ALPN speaks HTTP/1.1.
  if (protocol === 'h2c' && chosen !== 'h2') return `the backend does not speak HTTP/2 (ALPN ${chosen ?? 'none'})`;
  if (protocol === 'h1' && chosen === 'h2') return 'the backend wants to speak HTTP/2';
  if (tls.skipVerify) return undefined;
  if (!socket.authorized) return 'the certificate of the backend was not verified';
  const certificate = socket.getPeerX509Certificate();
  if (certificate !== undefined && tls.names.some((name) => carries(certificate, name))) return undefined;
  const wanted = tls.names.map(({ value }) => value).join(' or ');
  const found = certificate?.subjectAltName ?? 'none';
  return `the certificate of the backend is not for ${wanted || 'any name that was asked for'} (subject alternative names: ${found})`;
}

/** By the subject alternative names alone: what stands in the subject is no name of a server (RFC 9525 §2). */
export function carries(certificate: X509Certificate, { kind, value }: ServerName): boolean {
  if (isIP(value) !== 0) return certificate.checkIP(value) !== undefined;
  const options = { subject: 'never', wildcards: true, partialWildcards: false } as const;
  if (kind !== 'uri' && certificate.checkHost(value, options) !== undefined) return true;
  return kind !== 'dns' && uriNames(certificate).includes(value);
}

function uriNames(certificate: X509Certificate): readonly string[] {
  const text = certificate.subjectAltName ?? '';
  // node:crypto puts in quotes what could be taken for two names: such a certificate has none that is trusted as a URI.
  if (text.includes('"')) return [];
  return text.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice('URI:'.length)] : []));
}

function handshakeError(error: Error): AmbitError {
  return tlsError(`the TLS handshake with the backend failed (${errorCode(error) ?? errorText(error)})`, error);
}

function tlsError(message: string, cause?: unknown): AmbitError {
  const code = 'UPSTREAM_TLS_FAILED';
  return new AmbitError(message, { code, origin: 'upstream', retry: 'unsent', flag: 'TLS_FAILURE', cause });
}
