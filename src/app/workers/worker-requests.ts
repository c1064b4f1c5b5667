/** What the supervisor asks a worker over its unix sockets: views and metrics. Bounded in time and length. */
import { errorText } from '../../base/errors.ts';
import { requestHttp } from '../../base/node-http.ts';

const timeoutMs = 5_000;
const maxBytes = 64 * 1024 * 1024;

/** Sockets of a worker, in a folder that only its owner may enter. */
export function workerSockets(folder: string, number: number): { readonly admin: string; readonly metrics: string } {
  const admin = `${folder}/worker-${number}.sock`;
  return { admin, metrics: `${admin}.metrics` };
}

/** Rejects with an Error that says why there is no answer. */
export function askWorker(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const fail = (reason: string) => {
      outgoing.destroy();
      reject(new Error(`the worker did not answer: ${reason}`));
    };
    const outgoing = requestHttp({ socketPath, path, headers: { host: 'localhost' }, agent: false }, (response) => {
      response.on('error', (error) => fail(errorText(error)));
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes > maxBytes) fail('its answer is too long');
      });
      response.once('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString());
        else fail(`status ${response.statusCode ?? 0}`);
      });
    });
    outgoing.setTimeout(timeoutMs, () => fail('too slow'));
    outgoing.on('error', (error) => fail(errorText(error)));
    outgoing.end();
  });
}
