/** BackendTLSPolicy: TLS from the waypoint to the pods of a Service (Gateway API, GEP-1897). */
import * as z from 'zod';
import { type ConfigObject, type Parsed, type Path, parseContent, perObject } from './object.ts';
import { listOf } from './values.ts';

export interface BackendTlsPolicySpec {
  readonly object: ConfigObject;
  readonly namespace: string;
  readonly targets: readonly {
    readonly group: string;
    readonly kind: string;
    readonly name: string;
    /** Name of a port; undefined: all. */
    readonly sectionName: string | undefined;
    readonly path: Path;
  }[];
  readonly hostname: string;
  readonly names: readonly { readonly kind: 'dns' | 'uri'; readonly value: string }[];
  /** Empty: the authorities of the system. */
  readonly authorityRefs: readonly { readonly group: string; readonly kind: string; readonly name: string }[];
}

const hostname = z
  .string()
  .regex(/^(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/, 'not a host name');

const schema = z.object({
  spec: z.object({
    targetRefs: z
      .array(
        z.object({
          group: z.string().default(''),
          kind: z.string(),
          name: z.string(),
          sectionName: z.string().nullish(),
        }),
      )
      .min(1)
      .max(16),
    validation: z
      .object({
        hostname,
        caCertificateRefs: listOf(z.object({ group: z.string().default(''), kind: z.string(), name: z.string() })),
        wellKnownCACertificates: z.literal('System').nullish(),
        subjectAltNames: listOf(
          z.discriminatedUnion('type', [
            z.object({ type: z.literal('Hostname'), hostname }),
            z.object({ type: z.literal('URI'), uri: z.string().min(1) }),
          ]),
        ),
      })
      .refine(
        ({ caCertificateRefs, wellKnownCACertificates }) =>
          caCertificateRefs.length > 0 !== (wellKnownCACertificates === 'System'),
        'give one of caCertificateRefs and wellKnownCACertificates',
      ),
  }),
});

export const parseBackendTlsPolicy = perObject((object: ConfigObject): Parsed<BackendTlsPolicySpec> => {
  const parsed = parseContent(object, schema);
  if (parsed.value === undefined) return { value: undefined, diagnostics: parsed.diagnostics };
  const { targetRefs, validation } = parsed.value.spec;
  return {
    value: {
      object,
      namespace: object.metadata.namespace,
      targets: targetRefs.map(({ group, kind, name, sectionName }, i) => ({
        group,
        kind,
        name,
        sectionName: sectionName ?? undefined,
        path: ['spec', 'targetRefs', i],
      })),
      hostname: validation.hostname,
      names: validation.subjectAltNames.map((name) =>
        name.type === 'URI'
          ? ({ kind: 'uri', value: name.uri } as const)
          : ({ kind: 'dns', value: name.hostname } as const),
      ),
      authorityRefs: validation.caCertificateRefs,
    },
    diagnostics: [],
  };
});
