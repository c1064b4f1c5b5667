/** A whole mesh of real programs for tests of the path: the example's folder, optionally with more YAML laid beside it. */
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import type { AccessEntry } from '../../../src/app/lab-access.ts';
import { type LabMesh, type LabMeshOptions, startLabMesh } from '../../../src/app/lab-mesh.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { presetByName } from '../../../src/config/preset.ts';
import type { CapturedPacket } from '../../../src/lab/capture.ts';
import type { HttpAnswer, LabAnswer, LabRequest } from '../../../src/lab/request.ts';
import { eventually } from '../../support/eventually.ts';
import { builtPrograms } from '../../support/program-files.ts';

const examples = path.resolve(import.meta.dirname, '../../../examples/bookinfo');

export const vip = { productpage: '10.96.179.71', details: '10.96.36.10', reviews: '10.96.36.11' } as const;
export const ip = {
  sleep: '10.244.1.4',
  waypoint: '10.244.1.8',
  control: '10.244.1.10',
  productpage: '10.244.2.5',
  details: '10.244.2.6',
  ztunnelA: '10.244.1.2',
} as const;
export const productpageUrl = `http://${vip.productpage}:9080/productpage`;
export const productpageWaypoint = 'bookinfo-productpage-waypoint-proxy';
export const reviewsWaypoint = 'bookinfo-reviews-waypoint-proxy';

export function spiffe(serviceAccount: string): string {
  return `spiffe://cluster.local/ns/default/sa/${serviceAccount}`;
}

export interface PathMeshOptions extends Pick<LabMeshOptions, 'environment' | 'redirection'> {
  readonly preset: 'legacy' | 'modern';
  /** Files beside those of the example, or in place of one of them. */
  readonly files?: Readonly<Record<string, string>>;
}

/** Closed with the test. */
export async function startPathMesh(t: Pick<Test, 'teardown'>, options: PathMeshOptions): Promise<LabMesh> {
  const preset = presetByName(options.preset);
  if (preset === undefined) throw new TypeError(`no preset ${options.preset}`);
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-path-'));
  try {
    cpSync(path.join(examples, options.preset), folder, { recursive: true });
    for (const [name, text] of Object.entries(options.files ?? {})) writeFileSync(path.join(folder, name), text);
    const { environment, redirection } = options;
    const mesh = await startLabMesh({
      ...builtPrograms,
      preset,
      folder,
      logger: silentLogger,
      ...(environment === undefined ? {} : { environment }),
      ...(redirection === undefined ? {} : { redirection }),
    });
    t.teardown(() => mesh.close());
    return mesh;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Puts a file into the running mesh's folder in one piece; undefined removes it. */
export function writeConfig(mesh: LabMesh, name: string, text: string | undefined): void {
  const file = path.join(mesh.folder, name);
  if (text === undefined) {
    rmSync(file);
    return;
  }
  const scratch = path.join(mesh.lab.directory, 'scratch');
  mkdirSync(scratch, { recursive: true });
  writeFileSync(path.join(scratch, name), text);
  renameSync(path.join(scratch, name), file);
}

export function get(url: string, headers: Readonly<Record<string, string>> = {}): LabRequest {
  return { kind: 'http', url, headers };
}

export async function askHttp(mesh: LabMesh, place: string, request: LabRequest): Promise<HttpAnswer> {
  const answer = await mesh.lab.request(place, request);
  if (answer.kind === 'http') return answer;
  throw new Error(`no HTTP answer to ${JSON.stringify(request)}: ${JSON.stringify(answer)}`);
}

/** Asks until the answer is as wanted: a change of configuration is in force a moment after the file was written. */
export async function untilAnswer(
  mesh: LabMesh,
  place: string,
  request: LabRequest,
  wanted: (answer: LabAnswer) => boolean,
): Promise<LabAnswer> {
  let last: LabAnswer | undefined;
  try {
    return await eventually(
      `the wanted answer in ${place}`,
      async () => {
        last = await mesh.lab.request(place, request);
        return wanted(last) ? last : undefined;
      },
      15_000,
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}; the last one: ${JSON.stringify(last)}`);
  }
}

export function statusOf(answer: LabAnswer | undefined): number | undefined {
  return answer?.kind === 'http' ? answer.status : undefined;
}

/** A view of a proxy's admin port, as data. */
export async function view<T>(mesh: LabMesh, proxy: string, query: string): Promise<T> {
  const { status, body } = await mesh.ask(proxy, `/config_dump?${query}`);
  if (status !== 200) throw new Error(`${proxy} answered ${status}: ${body}`);
  return JSON.parse(body) as T;
}

/** Samples of a metric with exactly these label values among others; the sum of them. */
export async function metricSum(
  mesh: LabMesh,
  place: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number> {
  const { body } = await askHttp(mesh, place, get('http://127.0.0.1:15020/metrics'));
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  return body
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && wanted.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

export function isOpening(packet: CapturedPacket): boolean {
  return packet.protocol === 'tcp' && packet.flags.syn && !packet.flags.ack;
}

export function field(name: string, value: string | RegExp): (entry: AccessEntry) => boolean {
  return ({ fields }) => {
    const found = String(fields[name] ?? '');
    return typeof value === 'string' ? found === value : value.test(found);
  };
}
