/** `--view` of both proxies: asks a running one's admin port or socket for a view and prints it. */
import { request } from 'node:http';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { splitHostPort } from '../base/address.ts';
import { errorText } from '../base/errors.ts';

const deadlineMs = 10_000;

/**
 * `from`: host:port, or a unix socket's path. 0 when it was printed, 1 when nobody answered or the answer was no. Never
 * rejects.
 */
export async function printAdminView(program: string, from: string, path: string): Promise<number> {
  try {
    const { status, body } = await get(from, path);
    (status === 200 ? process.stdout : process.stderr).write(body);
    return status === 200 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${program}: no answer from ${from}: ${errorText(error)}\n`);
    return 1;
  }
}

function get(from: string, path: string): Promise<{ readonly status: number; readonly body: string }> {
  const address = splitHostPort(from);
  const where = address === undefined ? { socketPath: from } : { host: address.host, port: address.port };
  return new Promise((resolve, reject) => {
    const asked = request({ ...where, path, headers: { host: 'localhost' }, timeout: deadlineMs }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    asked.on('timeout', () => asked.destroy(new Error('it took too long')));
    asked.on('error', reject);
    asked.end();
  });
}
