/** What a proxy's own metrics say, asked from inside of its namespace. */
import process from 'node:process';
import { runCommand } from '../../src/lab/command.ts';
import { inNamespace, type LabNamespace } from '../../src/lab/namespace.ts';

/** Of the proxy that listens there. Event-loop figures begin anew with every reading. */
export async function readMetrics(namespace: LabNamespace): Promise<string> {
  const script = "process.stdout.write(await (await fetch('http://127.0.0.1:15020/metrics')).text())";
  const argv = inNamespace(namespace, [process.execPath, '--input-type=module', '-e', script]);
  const outcome = await runCommand(argv, { outputBytes: 16 << 20, timeoutMs: 60_000 });
  if (!outcome.ok) throw new Error(`metrics cannot be read: ${outcome.reason} ${outcome.stderr}`);
  return outcome.stdout;
}

/** Of a metric without labels; NaN when it is not there. */
export function metricOf(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
}
