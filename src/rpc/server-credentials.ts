/**
 * TLS of a gRPC server that asks for client certificates without demanding them, and whose own certificate can be
 * replaced while it runs. grpc-js shows a handler a peer's certificate only when OpenSSL found it good.
 */
import { constants } from 'node:crypto';
import { ServerCredentials } from '@grpc/grpc-js';

export interface ServerMaterial {
  readonly keyPem: string | Buffer;
  /** Leaf first. */
  readonly certPem: string;
  /** Whose client certificates are good. */
  readonly clientRootsPem: string;
}

export class ReplaceableServerCredentials extends ServerCredentials {
  /** Without material: plain text. */
  constructor(material: ServerMaterial | undefined) {
    if (material === undefined) super(null);
    else {
      super({ requestCert: true, rejectUnauthorized: false }, contextOptions(material));
    }
  }

  replace(material: ServerMaterial): void {
    this.updateSecureContextOptions(contextOptions(material));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** No tickets: a resumed session would be taken for authorized whatever became of its certificate. */
function contextOptions(material: ServerMaterial) {
  return {
    minVersion: 'TLSv1.3' as const,
    key: material.keyPem,
    cert: material.certPem,
    ca: material.clientRootsPem,
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}
