/**
 * What a channel trusts and shows: roots, a client certificate, a bearer token. Files are read again for each call, so
 * that whoever rotates them (the kubelet) needs to tell nobody.
 */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import { type ChannelCredentials, type ChannelOptions, credentials } from '@grpc/grpc-js';

export type TextSource =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'text'; readonly text: string };

export type RootsSource = TextSource | { readonly kind: 'system' };

export interface ClientCertificate {
  readonly keyPem: string | Buffer;
  /** Leaf first. */
  readonly certPem: string;
}

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** `https://host:port`, `http://host:port`, or `host:port` meaning https. Undefined for anything else. */
export function parseServerAddress(text: string): ServerAddress | undefined {
  const url = URL.parse(text.includes('://') ? text : `https://${text}`);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined;
  if (url.hostname === '' || url.username !== '' || (url.pathname !== '/' && url.pathname !== '')) return undefined;
  const tls = url.protocol === 'https:';
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port, tls };
}

/** Rejects when the file cannot be read. */
export async function readText(source: TextSource): Promise<string> {
  return source.kind === 'text' ? source.text : await readFile(source.path, 'utf8');
}

export interface ServerTrust {
  readonly address: ServerAddress;
  /** Undefined: what the system trusts. */
  readonly rootsPem: string | undefined;
  readonly certificate: ClientCertificate | undefined;
  /** Names the server's certificate may carry in place of its host's. */
  readonly alternativeNames: readonly string[];
  /** See `ChannelOptions`. */
  readonly keyExchange?: string | undefined;
}

/** Throws what OpenSSL says about unusable PEM. */
export function tlsCredentials(trust: ServerTrust): ChannelCredentials {
  const { address, rootsPem, certificate, alternativeNames, keyExchange } = trust;
  const context = createSecureContext({
    minVersion: 'TLSv1.3',
    ...(keyExchange === undefined ? {} : { ecdhCurve: keyExchange }),
    ...(rootsPem === undefined ? {} : { ca: rootsPem }),
    ...(certificate === undefined ? {} : { key: certificate.keyPem, cert: certificate.certPem }),
  });
  return credentials.createFromSecureContext(context, {
    // The name that grpc-js passes may be the one it puts into SNI, not the one we dialled.
    checkServerIdentity: (_name, peer) => {
      const problem = checkServerIdentity(address.host, peer);
      if (problem === undefined) return undefined;
      return alternativeNames.some((name) => checkServerIdentity(name, peer) === undefined) ? undefined : problem;
    },
  });
}

/** Node refuses an address as SNI, so a server dialled by address is greeted by a name. */
export function serverNameOptions({ address, alternativeNames }: ServerTrust): ChannelOptions {
  if (isIP(address.host) === 0) return {};
  return { 'grpc.ssl_target_name_override': alternativeNames[0] ?? 'localhost' };
}
