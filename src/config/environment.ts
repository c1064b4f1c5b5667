/**
 * Settings from environment variables, checked against one zod shape per program: all problems are found at once, each
 * named by its variable. A variable that is set but empty counts as not set, except for `text`, where empty has a meaning
 * (XDS_ADDRESS= turns xDS off). Names and defaults are ztunnel's where it has them; ours start with AMBIT_.
 */
import * as z from 'zod';

export type Environment = Readonly<Record<string, string | undefined>>;

export type EnvironmentOutcome<T> =
  | { readonly kind: 'read'; readonly settings: T }
  /** One sentence each, opening with the variable's name. */
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

/** Reads the variables that are keys of `shape`; others are ignored. */
export function readEnvironment<Shape extends z.ZodRawShape>(
  shape: Shape,
  environment: Environment,
): EnvironmentOutcome<z.output<z.ZodObject<Shape>>> {
  const picked = Object.fromEntries(Object.keys(shape).map((name) => [name, environment[name]]));
  const result = z.object(shape).safeParse(picked);
  if (result.success) return { kind: 'read', settings: result.data };
  const problems = result.error.issues.map((issue) => {
    const name = String(issue.path[0]);
    return `${name}=${JSON.stringify(environment[name] ?? '')}: ${issue.message}`;
  });
  return { kind: 'problems', problems };
}

/** Variables with a common prefix, by what follows it: `XDS_HEADER_*`, `ISTIO_META_*`. */
export function environmentWithPrefix(environment: Environment, prefix: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && name.startsWith(prefix) && name.length > prefix.length) {
      found.set(name.slice(prefix.length), value);
    }
  }
  return found;
}

/** Any text, empty included. */
export function text(fallback: string) {
  return z.string().default(fallback);
}

/** Text that was set, empty included, or was not. */
export function setText() {
  return z.string().optional();
}

/** Text that is there or is not; empty is not. */
export function optionalText() {
  return unset(z.string().optional());
}

export function flag(fallback: boolean) {
  return unset(
    z
      .enum(['true', 'false'], { error: 'must be true or false' })
      .transform((value) => value === 'true')
      .default(fallback),
  );
}

/** A flag whose absence is a third answer. */
export function optionalFlag() {
  return unset(
    z
      .enum(['true', 'false'], { error: 'must be true or false' })
      .transform((value) => value === 'true')
      .optional(),
  );
}

export function choice<const Values extends readonly [string, ...string[]]>(values: Values, fallback: Values[number]) {
  const schema = z.enum(values, { error: `must be one of ${values.join(', ')}` });
  return unset(schema.default(fallback as z.output<typeof schema>));
}

export function integer(fallback: number, least: number, most: number) {
  return unset(whole(least, most).default(fallback));
}

export function optionalInteger(least: number, most: number) {
  return unset(whole(least, most).optional());
}

/** A TCP port; 0 lets the kernel choose. */
export function port(fallback: number) {
  return integer(fallback, 0, 65_535);
}

/** `250ms`, `10s`, `1h30m`, or plain seconds; milliseconds. */
export function duration(fallbackMs: number) {
  return unset(milliseconds().default(fallbackMs));
}

export function optionalDuration() {
  return unset(milliseconds().optional());
}

/** Milliseconds of `250ms`, `10s`, `1h30m` or plain seconds; undefined for anything else. */
export function parseDuration(value: string): number | undefined {
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  if (!/^(\d{1,9}(ms|s|m|h|d))+$/.test(value)) return undefined;
  let total = 0;
  for (const [, amount, unit] of value.matchAll(/(\d+)(ms|s|m|h|d)/g)) {
    total += Number(amount) * (unitMs[unit as keyof typeof unitMs] as number);
  }
  return total;
}

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function unset<Schema extends z.ZodType>(schema: Schema) {
  return z.preprocess((value) => (value === '' ? undefined : value), schema);
}

function whole(least: number, most: number) {
  const error = `must be a whole number from ${least} to ${most}`;
  return z
    .string()
    .regex(/^(0x[0-9a-fA-F]{1,8}|\d{1,15})$/, { error })
    .transform(Number)
    .refine((value) => value >= least && value <= most, { error });
}

function milliseconds() {
  return z.string().transform((value, context) => {
    const parsed = parseDuration(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: 'must be a duration such as 250ms, 10s or 1h30m' });
    return z.NEVER;
  });
}
