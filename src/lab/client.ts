/** Runs requests from inside a namespace by starting the client program there, and returns its answers. */
import { AmbitError } from '../base/errors.ts';
import { ownFile } from '../base/own-files.ts';
import { mustRun } from './command.ts';
import { inNamespace, type LabNamespace } from './namespace.ts';
import type { LabAnswer, LabRequest, RequestBatch } from './request.ts';

// The same suffix as this file: .ts from the repository, .js from dist.
const program = ownFile('src/lab/request-main');

/** Performs the batch and returns one answer for each request, in order. The client's own failure throws. */
export async function requestMany(namespace: LabNamespace, batch: RequestBatch): Promise<readonly LabAnswer[]> {
  const argv = inNamespace(namespace, [process.execPath, program]);
  const output = await mustRun(argv, { stdin: JSON.stringify(batch), timeoutMs: 120_000, outputBytes: 64 << 20 });
  return JSON.parse(output) as LabAnswer[];
}

export async function requestOne(namespace: LabNamespace, request: LabRequest): Promise<LabAnswer> {
  const [answer] = await requestMany(namespace, { requests: [request] });
  if (answer === undefined)
    throw new AmbitError('the lab’s client said nothing', { code: 'LAB_CLIENT', origin: 'local' });
  return answer;
}
