/**
 * Secrets with certificates and ConfigMaps with authorities, in the two forms that Istio reads: `tls.crt`, `tls.key`, `ca.crt`,
 * `ca.crl`, or `cert`, `key`, `cacert`, `crl`. Others are left alone without a word. A diagnostic never shows a value.
 */
import * as z from 'zod';
import { SecretText } from '../base/secret-text.ts';
import type { TlsCredential } from '../route/upstream-tls.ts';
import { type ConfigObject, type Parsed, perObject } from './object.ts';

export interface CredentialSpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly name: string;
  readonly credential: TlsCredential;
}

export interface AuthoritiesSpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly name: string;
  /** PEM. */
  readonly authorities: string;
}

const textsSchema = z.record(z.string(), z.string()).nullish();
const secretSchema = z.object({ data: textsSchema, stringData: textsSchema });
const configMapSchema = z.object({ data: textsSchema });

export const parseCredential = perObject((object: ConfigObject): Parsed<CredentialSpec> => {
  const parsed = secretSchema.safeParse(object.content);
  if (!parsed.success) return { value: undefined, diagnostics: [] };
  const { data, stringData } = parsed.data;
  const text = (...keys: readonly string[]): string | undefined => {
    for (const key of keys) {
      const plain = stringData?.[key];
      if (plain !== undefined && plain !== '') return plain;
      const encoded = data?.[key];
      if (encoded !== undefined && encoded !== '') return Buffer.from(encoded, 'base64').toString('utf8');
    }
    return undefined;
  };
  const key = text('tls.key', 'key');
  const credential: TlsCredential = {
    certificate: text('tls.crt', 'cert'),
    key: key === undefined ? undefined : new SecretText(key),
    authorities: text('ca.crt', 'cacert'),
    revocations: text('ca.crl', 'crl'),
  };
  const { namespace, name } = object.metadata;
  const empty = Object.values(credential).every((part) => part === undefined);
  return { value: empty ? undefined : { object, namespace, name, credential }, diagnostics: [] };
});

export const parseAuthorities = perObject((object: ConfigObject): Parsed<AuthoritiesSpec> => {
  const parsed = configMapSchema.safeParse(object.content);
  const authorities = parsed.data?.data?.['ca.crt'];
  const { namespace, name } = object.metadata;
  return { value: authorities === undefined ? undefined : { object, namespace, name, authorities }, diagnostics: [] };
});
