/** `--view` of both proxies: which view of which running one is meant, asking its admin port or socket, and printing it. */
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { splitHostPort } from '../base/address.ts';
import { errorText } from '../base/errors.ts';
import { requestHttp } from '../base/node-http.ts';
import type { Environment } from '../config/environment.ts';

const deadlineMs = 10_000;
const views = ['listeners', 'clusters', 'endpoints', 'destinations', 'effective', 'telemetry', 'certs', 'dump'];

export interface ViewRequest {
  readonly view: string;
  /** host:port, or a unix socket's path. */
  readonly from: string;
  /** Only what concerns this one. */
  readonly source: string | undefined;
}

/** `words`: what stands beside the options. Without `from` the proxy is where this environment would have one listen. */
export function readViewRequest(
  words: readonly string[],
  { from, source }: { readonly from?: string | undefined; readonly source?: string | undefined },
  environment: Environment,
):
  | { readonly kind: 'view'; readonly request: ViewRequest }
  | { readonly kind: 'problems'; readonly problems: string[] } {
  const [view = 'listeners', ...rest] = words;
  if (!views.includes(view) || rest.length > 0) {
    return { kind: 'problems', problems: [`--view ${words.join(' ')}: one of ${views.join(', ')}`] };
  }
  const own = environment.AMBIT_ADMIN_SOCKET || `127.0.0.1:${environment.AMBIT_ADMIN_PORT || 15000}`;
  return { kind: 'view', request: { view, from: from ?? own, source } };
}

/** 0 when it was printed, 1 when nobody answered or the answer was no. Never rejects. */
export async function printAdminView(program: string, { view, from, source }: ViewRequest): Promise<number> {
  const query = new URLSearchParams(
    view === 'dump' ? {} : { view: `${view}.txt`, ...(source === undefined ? {} : { source }) },
  );
  try {
    const { status, body } = await get(from, `/config_dump?${query.toString()}`);
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
    const asked = requestHttp({ ...where, path, headers: { host: 'localhost' }, timeout: deadlineMs }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    asked.on('timeout', () => asked.destroy(new Error('it took too long')));
    asked.on('error', reject);
    asked.end();
  });
}
