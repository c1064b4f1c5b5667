/** `loadBalancer` of a DestinationRule: balancers, consistent hashing, warm-up and locality settings. */
import * as z from 'zod';
import type {
  HashKey,
  HashTable,
  LoadBalancerPolicy,
  LocalityBalancing,
  LocalityPattern,
  SimpleBalancer,
  Warmup,
} from '../route/destination.ts';
import { durationSchema, listOf } from './values.ts';

const defaultRingSize = 1024;
/** A larger minimum is this: points beyond make nothing more even. */
const maxRingSize = 1024 * 1024;
const defaultMaglevSize = 65_537;
const maxMaglevSize = 5_000_011;

const simpleBalancers: Readonly<Record<string, SimpleBalancer>> = {
  UNSPECIFIED: 'least-request',
  LEAST_CONN: 'least-request',
  LEAST_REQUEST: 'least-request',
  RANDOM: 'random',
  ROUND_ROBIN: 'round-robin',
  PASSTHROUGH: 'passthrough',
};

/** A size may be written as a text, as protobuf's JSON does with 64 bits. */
const sizeSchema = z
  .union([z.number().int().min(0), z.string().regex(/^\d{1,15}$/)])
  .transform(Number)
  .nullish();

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

const hashSchema = z
  .strictObject({
    httpHeaderName: z.string().regex(token, 'is no name of a header').nullish(),
    httpCookie: z
      .strictObject({
        name: z.string().regex(token, 'is no name of a cookie'),
        path: z
          .string()
          .regex(/^[\x21-\x3a\x3c-\x7e]*$/, 'is no path of a cookie')
          .default(''),
        ttl: durationSchema.nullish(),
      })
      .nullish(),
    useSourceIp: z.boolean().nullish(),
    httpQueryParameterName: z.string().min(1).nullish(),
    ringHash: z.strictObject({ minimumRingSize: sizeSchema }).nullish(),
    maglev: z.strictObject({ tableSize: sizeSchema }).nullish(),
    minimumRingSize: sizeSchema,
  })
  .transform((hash, context): LoadBalancerPolicy['choice'] => {
    const keys: HashKey[] = [];
    if (hash.httpHeaderName != null) keys.push({ kind: 'header', name: hash.httpHeaderName.toLowerCase() });
    if (hash.httpCookie != null) {
      const { name, path, ttl } = hash.httpCookie;
      keys.push({ kind: 'cookie', name, path, ttlMs: ttl ?? undefined });
    }
    if (hash.useSourceIp === true) keys.push({ kind: 'source-ip' });
    if (hash.httpQueryParameterName != null) keys.push({ kind: 'query', name: hash.httpQueryParameterName });
    const [key] = keys;
    const table = hashTable(hash);
    const fail = (message: string) => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    if (key === undefined || keys.length > 1) return fail('name exactly one key to hash');
    if (hash.ringHash != null && hash.maglev != null) return fail('give one of ringHash and maglev');
    if (table.kind === 'maglev' && (table.size >= maxMaglevSize || !isPrime(table.size))) {
      return fail(`tableSize is not a prime below ${maxMaglevSize}: ${table.size}`);
    }
    return { kind: 'hash', key, table };
  });

function hashTable(hash: {
  readonly ringHash?: { readonly minimumRingSize?: number | null | undefined } | null | undefined;
  readonly maglev?: { readonly tableSize?: number | null | undefined } | null | undefined;
  readonly minimumRingSize?: number | null | undefined;
}): HashTable {
  if (hash.maglev != null) return { kind: 'maglev', size: hash.maglev.tableSize || defaultMaglevSize };
  const minimum = (hash.ringHash?.minimumRingSize ?? hash.minimumRingSize) || defaultRingSize;
  return { kind: 'ring', minimumSize: Math.min(minimum, maxRingSize) };
}

const warmupSchema = z
  .strictObject({
    duration: durationSchema.refine((ms) => ms > 0, 'is no time'),
    minimumPercent: z.number().min(0).max(100).nullish(),
    aggression: z.number().min(1).nullish(),
  })
  .transform(
    ({ duration, minimumPercent, aggression }): Warmup => ({
      durationMs: duration,
      minimumPercent: minimumPercent ?? 10,
      aggression: aggression ?? 1,
    }),
  );

const patternSchema = z.string().transform((text, context): LocalityPattern => {
  const parts = text.split('/');
  const end = parts.indexOf('*');
  if (parts.length > 3 || parts.some((part) => part === '') || (end >= 0 && end < parts.length - 1)) {
    context.addIssue({ code: 'custom', message: `not a locality: ${text}` });
    return z.NEVER;
  }
  const [region, zone, subzone] = parts.map((part) => (part === '*' ? undefined : part));
  return { region, zone, subzone };
});

const localitySchema = z
  .strictObject({
    enabled: z.boolean().nullish(),
    distribute: listOf(
      z.strictObject({
        from: patternSchema,
        to: z.record(z.string(), z.number().int().min(1).max(100)),
      }),
    ),
    failover: listOf(z.strictObject({ from: z.string().min(1), to: z.string().min(1) })),
    failoverPriority: listOf(z.string().min(1)),
  })
  .transform(({ enabled, distribute, failover, failoverPriority }, context): LocalityBalancing => {
    const fail = (message: string) => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    if (distribute.length > 0 && failover.length + failoverPriority.length > 0) {
      return fail('distribute excludes failover and failoverPriority');
    }
    const distributed: LocalityBalancing['distribute'][number][] = [];
    for (const { from, to } of distribute) {
      const shares: { readonly to: LocalityPattern; readonly weight: number }[] = [];
      for (const [text, weight] of Object.entries(to)) {
        const pattern = patternSchema.safeParse(text);
        if (!pattern.success) return fail(`not a locality: ${text}`);
        shares.push({ to: pattern.data, weight });
      }
      const sum = shares.reduce((total, { weight }) => total + weight, 0);
      if (sum !== 100) return fail(`the weights of distribute make ${sum}, not 100`);
      distributed.push({ from, to: shares });
    }
    if (failover.some(({ from, to }) => from === to)) return fail('a failover leads to where it comes from');
    return {
      enabled: enabled !== false,
      distribute: distributed,
      failover,
      failoverPriority: failoverPriority.map((text) => {
        const [label = '', value] = text.split('=', 2);
        return { label, value };
      }),
    };
  });

export const loadBalancerSchema = z
  .strictObject({
    simple: z.string().nullish(),
    consistentHash: hashSchema.nullish(),
    localityLbSetting: localitySchema.nullish(),
    warmupDurationSecs: durationSchema.nullish(),
    warmup: warmupSchema.nullish(),
  })
  .transform((settings, context): LoadBalancerPolicy => {
    const { simple, consistentHash, localityLbSetting, warmupDurationSecs, warmup } = settings;
    const fail = (message: string) => {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    };
    if (simple != null && consistentHash != null) return fail('give one of simple and consistentHash');
    const balancer = simpleBalancers[simple ?? 'UNSPECIFIED'];
    if (balancer === undefined) return fail(`there is no load balancer ${simple ?? ''}`);
    const older = warmupDurationSecs
      ? { durationMs: warmupDurationSecs, minimumPercent: 10, aggression: 1 }
      : undefined;
    return {
      choice: consistentHash ?? { kind: 'simple', balancer },
      warmup: warmup ?? older,
      locality: localityLbSetting ?? undefined,
    };
  });

function isPrime(number: number): boolean {
  if (number < 2) return false;
  for (let divisor = 2; divisor * divisor <= number; divisor++) if (number % divisor === 0) return false;
  return true;
}
