/** `waypoint --view`: asks a running waypoint for one of its views and prints it. */
import { request } from 'node:http';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { errorText } from '../base/errors.ts';

/** `from`: a unix socket's path or host:port. The value is the exit code. */
export async function printWaypointView(view: string, from: string): Promise<number> {
  const name = view === 'dump' ? '' : `${view}.txt`;
  try {
    const { status, body } = await ask(from, `/config_dump?view=${name}`);
    (status === 200 ? process.stdout : process.stderr).write(body);
    return status === 200 ? 0 : 1;
  } catch (error) {
    process.stderr.write(`waypoint: no answer from ${from}: ${errorText(error)}\n`);
    return 1;
  }
}

function ask(from: string, path: string): Promise<{ readonly status: number; readonly body: string }> {
  const [host = '', port = ''] = from.split(':');
  const where = from.includes('/') ? { socketPath: from } : { host, port: Number(port) };
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...where, path, headers: { host: 'localhost' }, timeout: 10_000 }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('it took too long')));
    outgoing.on('error', reject);
    outgoing.end();
  });
}
