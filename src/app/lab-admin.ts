/** Asks a proxy's admin port over its unix socket, which works across network namespaces. */
import { request } from 'node:http';

const deadlineMs = 5000;
const maxBytes = 64 << 20;

/** Rejects when nobody listens, at the deadline, or when the answer is out of all proportion. */
export function askSocket(
  socketPath: string,
  target: string,
  method: 'GET' | 'POST' = 'GET',
): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({
      socketPath,
      path: target,
      method,
      agent: false,
      timeout: deadlineMs,
      headers: { host: 'localhost' },
    });
    sent.on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error(`no answer from ${socketPath} within ${deadlineMs} ms`)));
    sent.on('response', (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > maxBytes) response.destroy(new Error(`an answer of over ${maxBytes} bytes`));
        else chunks.push(chunk);
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    sent.end();
  });
}
