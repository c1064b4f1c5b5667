/** The story's requests, how long it waits for them, and how their answers are told. */
import type { LabAnswer, LabRequest } from '../../lab/request.ts';
import type { LabMesh } from '../lab-mesh.ts';
import type { DemoConsole } from './console.ts';

export const client = 'sleep';
export const stranger = 'notsleep';
export const server = 'productpage';
export const port = 9080;

/** Once something has failed, or when a proxy was ended on purpose, what hangs is not waited for at length. */
export function patienceMs(mesh: LabMesh, say: DemoConsole): number {
  const whole = mesh.proxies.length === mesh.plan.topology.nodes.length + mesh.plan.waypoints.length;
  return whole && say.failures.length === 0 ? 10_000 : 2_000;
}

export function get(url: string, timeoutMs: number, headers: Readonly<Record<string, string>> = {}): LabRequest {
  return { kind: 'http', url, headers, timeoutMs };
}

export function statusOf(answer: LabAnswer | undefined): number | undefined {
  return answer?.kind === 'http' ? answer.status : undefined;
}

export function isDenied(answer: LabAnswer): boolean {
  return answer.kind === 'http' && answer.status === 403 && answer.body.includes('RBAC: access denied');
}

export function describeAnswer(answer: LabAnswer | undefined): string {
  if (answer === undefined) return 'no answer';
  if (answer.kind === 'failed') return `${answer.phase}: ${answer.end} (${answer.message})`;
  if (answer.kind === 'tcp') return `${answer.bodyBytes} bytes, ${answer.end}`;
  const body = answer.bodyBytes <= 60 ? JSON.stringify(answer.body.trim()) : `${answer.bodyBytes} bytes`;
  return `${answer.status}, ${body}, ${answer.durationMs.toFixed(0)} ms`;
}

export function serviceVip(mesh: LabMesh, name: string): string {
  return mesh.plan.topology.services.find((service) => service.name === name)?.vip ?? '';
}
