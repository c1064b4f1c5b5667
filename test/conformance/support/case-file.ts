/**
 * The form of `cases.yaml`: what is asked of the waypoint of a folder, and what has to come of it. README.md beside the
 * suites explains every key to those who write cases; an unknown key is a mistake and fails the folder.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import * as z from 'zod';

/** A text, or `~` and a regular expression. */
const expectedText = z.coerce.string();
const headerMap = z.record(z.string(), expectedText);
const headerList = z.union([
  z.record(z.string(), z.coerce.string()),
  z.array(z.tuple([z.string(), z.coerce.string()])),
]);
const share = z.tuple([z.number().min(0).max(1), z.number().min(0).max(1)]);

const token = z.strictObject({
  key: z.string().default('main'),
  claims: z.record(z.string(), z.unknown()),
  /** From now; negative: expired. */
  expiresInSec: z.number().default(3600),
});

const request = z.strictObject({
  from: z.string().optional(),
  to: z.string().optional(),
  authority: z.string().optional(),
  protocol: z.enum(['http1', 'h2', 'tcp']).default('http1'),
  method: z.string().default('GET'),
  path: z.string().default('/'),
  host: z.string().optional(),
  headers: headerList.default({}),
  body: z.string().optional(),
  raw: z.string().optional(),
  grpc: z.strictObject({ service: z.string(), method: z.string(), message: z.string().default('') }).optional(),
  token: token.optional(),
  times: z.int().min(1).max(5000).default(1),
  concurrent: z.union([z.boolean(), z.int().min(1)]).default(false),
});

const expectation = z.strictObject({
  status: z.union([z.int(), z.array(z.int())]).optional(),
  headers: headerMap.default({}),
  absentHeaders: z.array(z.string()).default([]),
  location: expectedText.optional(),
  body: expectedText.optional(),
  grpc: z.strictObject({ status: z.int(), message: expectedText.optional() }).optional(),
  backend: z.string().optional(),
  notForwarded: z.boolean().default(false),
  attempts: z.int().optional(),
  mirrored: z.array(z.string()).optional(),
  seen: z
    .strictObject({
      method: expectedText.optional(),
      path: expectedText.optional(),
      host: expectedText.optional(),
      version: z.enum(['1.1', '2.0']).optional(),
      headers: headerMap.default({}),
      absentHeaders: z.array(z.string()).default([]),
      body: expectedText.optional(),
    })
    .optional(),
  shares: z.record(z.string(), share).optional(),
  refused: z.int().optional(),
  closed: z.boolean().optional(),
  log: z.record(z.string(), expectedText).optional(),
  atLeastMs: z.number().optional(),
  atMostMs: z.number().optional(),
});

const save = z.record(z.string(), z.strictObject({ header: z.string(), match: z.string().default('(.*)') }));
const step = z.strictObject({
  request: request.prefault({}),
  expect: expectation.prefault({}),
  save: save.default({}),
});

const caseForm = z
  .strictObject({
    name: z.string(),
    rule: z.string().optional(),
    ...step.partial().shape,
    steps: z.array(step).optional(),
  })
  .transform(({ name, rule, steps, ...only }) => ({ name, rule, steps: steps ?? [step.parse(only)] }));

const file = z.strictObject({
  rule: z.string(),
  mesh: z.enum(['base', 'own']).default('base'),
  preset: z.enum(['modern', 'legacy']).default('modern'),
  gateway: z.string().default('gateway-conformance-mesh/waypoint'),
  client: z.string().default('gateway-conformance-mesh/client'),
  service: z.string().default('gateway-conformance-mesh/echo:80'),
  settings: z.record(z.string(), z.unknown()).default({}),
  down: z.array(z.string()).default([]),
  diagnostics: z.array(z.string()).default([]),
  cases: z.array(caseForm).min(1),
});

export type CaseFile = z.output<typeof file>;
export type ConformanceCase = CaseFile['cases'][number];
export type Step = ConformanceCase['steps'][number];
export type CaseRequest = Step['request'];
export type Expectation = Step['expect'];

/** Throws with every mistake of the file, each with its path. */
export function readCaseFile(text: string, name: string): CaseFile {
  const read = file.safeParse(parse(text));
  if (read.success) return read.data;
  throw new Error(`${name}: ${z.prettifyError(read.error)}`);
}

export function loadCaseFile(name: string): CaseFile {
  return readCaseFile(readFileSync(name, 'utf8'), name);
}
