/** What was expected against what was seen: pure, and every difference is said in words. */
import type { Expectation } from './case-file.ts';
import type { Arrival } from './echo-pods.ts';
import type { Observation } from './exchange.ts';

type Headers = readonly (readonly [name: string, value: string])[];
type LogLine = ReadonlyMap<string, string | number | undefined>;

/** Empty: as expected. */
export function differences(expected: Expectation, seen: Observation): string[] {
  const found: string[] = [];
  const say = (what: string, wanted: unknown, got: unknown) =>
    found.push(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
  if (expected.refused !== undefined || seen.refused !== undefined) {
    if (expected.refused !== seen.refused) say('answer to CONNECT', expected.refused ?? 200, seen.refused ?? 200);
    return found;
  }
  const statuses = expected.status === undefined ? undefined : [expected.status].flat();
  if (statuses !== undefined && !statuses.includes(seen.status)) say('status', expected.status, seen.status);
  if (expected.closed !== undefined && expected.closed !== seen.closed) say('closed', expected.closed, seen.closed);
  compareHeaders('response header', expected.headers, expected.absentHeaders, seen.headers, say);
  if (expected.location !== undefined)
    compareText('location', expected.location, valueIn(seen.headers, 'location'), say);
  if (expected.body !== undefined) compareText('body', expected.body, seen.body, say);
  if (expected.grpc !== undefined) {
    const status = valueIn(seen.trailers, 'grpc-status');
    if (status !== String(expected.grpc.status)) say('grpc-status', expected.grpc.status, status);
    if (expected.grpc.message !== undefined)
      compareText('grpc-message', expected.grpc.message, valueIn(seen.trailers, 'grpc-message'), say);
  }
  if (expected.backend !== undefined) {
    const pod = backendOf(seen);
    if (pod === undefined || !pod.startsWith(expected.backend)) say('backend', expected.backend, pod);
  }
  if (expected.notForwarded && seen.arrivals.length > 0)
    say(
      'pods that were asked',
      [],
      seen.arrivals.map(({ pod }) => pod),
    );
  if (expected.attempts !== undefined && expected.attempts !== seen.arrivals.length)
    say('attempts', expected.attempts, seen.arrivals.length);
  if (expected.mirrored !== undefined) compareMirrors(expected.mirrored, seen, say);
  if (expected.seen !== undefined) compareArrival(expected.seen, answering(seen), say);
  if (expected.atLeastMs !== undefined && seen.tookMs < expected.atLeastMs)
    say('took at least ms', expected.atLeastMs, seen.tookMs);
  if (expected.atMostMs !== undefined && seen.tookMs > expected.atMostMs)
    say('took at most ms', expected.atMostMs, seen.tookMs);
  return found;
}

/** Shares of many exchanges by who answered, and by status where nobody did. */
export function shareDifferences(expected: NonNullable<Expectation['shares']>, seen: readonly Observation[]): string[] {
  const counts = new Map<string, number>();
  for (const one of seen) {
    const label = backendOf(one) ?? String(one.status);
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  const found: string[] = [];
  const taken = new Set<string>();
  for (const [label, [least, most]] of Object.entries(expected)) {
    let count = 0;
    for (const [got, times] of counts) {
      if (got !== label && !(Number.isNaN(Number(label)) && got.startsWith(label))) continue;
      taken.add(got);
      count += times;
    }
    const part = count / seen.length;
    if (part < least || part > most) found.push(`share of ${label}: expected ${least} to ${most}, got ${part}`);
  }
  for (const [got, times] of counts)
    if (!taken.has(got)) found.push(`${times} of ${seen.length} were answered by ${got}`);
  return found;
}

export function logDifferences(expected: NonNullable<Expectation['log']>, lines: readonly LogLine[]): string[] {
  const found: string[] = [];
  const say = (what: string, wanted: unknown, got: unknown) =>
    found.push(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
  for (const [field, wanted] of Object.entries(expected)) {
    const got = lines.map((line) => String(line.get(field) ?? '-'));
    if (!got.some((one) => matches(wanted, one))) say(`access log ${field}`, wanted, got);
  }
  return found;
}

/** The pod whose answer came back: of several attempts the last, mirrors aside. */
function answering(seen: Observation): Arrival | undefined {
  const pod = valueIn(seen.headers, 'x-echo-pod');
  return seen.arrivals.findLast((one) => pod === undefined || one.pod === pod);
}

function backendOf(seen: Observation): string | undefined {
  return valueIn(seen.headers, 'x-echo-pod') ?? /^([\w-]+)(?:: | speaks first)/.exec(seen.body)?.[1];
}

function compareMirrors(expected: readonly string[], seen: Observation, say: Say): void {
  const rest = seen.arrivals.map(({ pod }) => pod);
  const answered = backendOf(seen);
  if (answered !== undefined) rest.splice(rest.indexOf(answered), 1);
  const wanted = [...expected].sort();
  if (rest.length !== wanted.length || rest.sort().some((pod, i) => !pod.startsWith(wanted[i] ?? '')))
    say('mirrored to', wanted, rest);
}

function compareArrival(expected: NonNullable<Expectation['seen']>, got: Arrival | undefined, say: Say): void {
  if (got === undefined) {
    say('request at the backend', expected, undefined);
    return;
  }
  for (const field of ['method', 'path', 'host', 'body', 'version'] as const) {
    const wanted = expected[field];
    if (wanted !== undefined) compareText(`${field} at the backend`, wanted, got[field], say);
  }
  compareHeaders('header at the backend', expected.headers, expected.absentHeaders, got.headers, say);
}

type Say = (what: string, wanted: unknown, got: unknown) => void;

function compareHeaders(
  what: string,
  expected: Readonly<Record<string, string>>,
  absent: readonly string[],
  got: Headers,
  say: Say,
): void {
  for (const [name, wanted] of Object.entries(expected))
    compareText(`${what} ${name}`, wanted, valueIn(got, name), say);
  for (const name of absent) {
    const value = valueIn(got, name);
    if (value !== undefined) say(`${what} ${name}`, undefined, value);
  }
}

function compareText(what: string, expected: string, got: string | undefined, say: Say): void {
  if (got === undefined || !matches(expected, got)) say(what, expected, got);
}

/** `~` begins a pattern. */
function matches(expected: string, got: string): boolean {
  return expected.startsWith('~') ? new RegExp(expected.slice(1), 's').test(got) : expected === got;
}

/** Repeated headers as one, as HTTP reads them. */
function valueIn(headers: Headers, name: string): string | undefined {
  const values = headers.filter(([other]) => other.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  return values.length === 0 ? undefined : values.join(', ');
}
