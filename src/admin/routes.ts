/** What each path of the three ports answers: small tables from path to handler, without sockets. */
import type { IncomingMessage } from 'node:http';
import type { AdminDependencies, View } from './interfaces.ts';

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Handler = (query: URLSearchParams, request: IncomingMessage) => Reply | Promise<Reply>;

interface Methods {
  readonly get?: Handler;
  readonly post?: Handler;
}

export type Routes = ReadonlyMap<string, Methods>;

export function readinessRoutes(deps: AdminDependencies): Routes {
  return new Map<string, Methods>([['/healthz/ready', { get: () => readiness(deps) }]]);
}

export function metricsRoutes(deps: AdminDependencies): Routes {
  const get: Handler = async (_, request) => {
    const openMetrics = request.headers.accept?.includes('application/openmetrics-text') ?? false;
    return { status: 200, ...(await deps.metrics.render(openMetrics)) };
  };
  return new Map<string, Methods>([
    ['/metrics', { get }],
    ['/stats/prometheus', { get }],
  ]);
}

export function adminRoutes(deps: AdminDependencies): Routes {
  return new Map<string, Methods>([
    ['/', { get: () => text(200, index(deps.views)) }],
    ['/config_dump', { get: (query) => dump(deps.views, query) }],
    ['/logging', { get: () => text(200, deps.levels.current()), post: (query) => setLevels(deps, query) }],
    ['/healthz/ready', { get: () => readiness(deps) }],
    ['/quitquitquit', { post: () => quit(deps) }],
  ]);
}

function readiness(deps: AdminDependencies): Reply {
  const pending = deps.readiness.pending();
  return pending.length === 0 ? text(200, 'ready') : text(500, `not ready, pending: ${pending.join(', ')}`);
}

function dump(views: readonly View[], query: URLSearchParams): Reply {
  const name = query.get('view') ?? '';
  const view = views.find((candidate) => candidate.name === name);
  if (view === undefined)
    return text(404, `no view ${JSON.stringify(name)}; there are: ${viewNames(views).join(', ')}`);
  return { status: 200, contentType: view.contentType, body: view.render(query) };
}

/** `level` sets, with `reset` it replaces; without it the current levels are told. */
function setLevels(deps: AdminDependencies, query: URLSearchParams): Reply {
  const level = query.get('level');
  if (level !== null) deps.levels.set(level, query.has('reset'));
  return text(200, `current log level is ${deps.levels.current()}`);
}

function quit(deps: AdminDependencies): Reply {
  setImmediate(deps.quit);
  return text(200, 'shutdown now');
}

function index(views: readonly View[]): string {
  return [
    'GET  /config_dump            the whole state',
    ...viewNames(views).map((name) => `GET  /config_dump?view=${name}`),
    'GET  /logging                current log levels',
    'POST /logging?level=LEVELS   set them: info,hbone=debug (&reset replaces)',
    'GET  /healthz/ready          readiness',
    'POST /quitquitquit           drain and leave',
  ].join('\n');
}

function viewNames(views: readonly View[]): string[] {
  return views.map((view) => view.name).filter((name) => name !== '');
}

function text(status: number, body: string): Reply {
  return { status, contentType: 'text/plain; charset=utf-8', body: `${body}\n` };
}
