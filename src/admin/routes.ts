/** What each path of the three ports answers: small tables from path to handler, without sockets. */
import { indexPage } from './index-page.ts';
import type { AdminDependencies, View } from './interfaces.ts';
import { profileRoutes } from './profile-routes.ts';
import { type Handler, type Methods, type Reply, type Routes, textReply } from './reply.ts';

export function readinessRoutes(deps: AdminDependencies): Routes {
  return new Map<string, Methods>([['/healthz/ready', { about: 'readiness', get: () => readiness(deps) }]]);
}

export function metricsRoutes(deps: AdminDependencies): Routes {
  const get: Handler = (_, request) => {
    const openMetrics = request.headers.accept?.includes('application/openmetrics-text') ?? false;
    return { status: 200, ...deps.metrics.render(openMetrics), headers: { vary: 'accept, accept-encoding' } };
  };
  return new Map<string, Methods>([
    ['/metrics', { about: 'metrics', get }],
    ['/stats/prometheus', { about: 'the same', get }],
  ]);
}

export function adminRoutes(deps: AdminDependencies): Routes {
  const routes = new Map<string, Methods>([
    ['/config_dump', { about: 'the whole state; ?view=NAME for one view', get: (query) => dump(deps.views, query) }],
    [
      '/logging',
      {
        about: 'log levels; POST ?level=info,hbone=debug adds, &reset replaces',
        get: () => textReply(200, deps.levels.current()),
        post: (query) => setLevels(deps, query),
      },
    ],
    ['/healthz/ready', { about: 'readiness', get: () => readiness(deps) }],
    ...profileRoutes(),
    ['/quitquitquit', { about: 'POST: drain and leave', post: () => quit(deps) }],
  ]);
  const { drain, renew } = deps;
  if (drain !== undefined) {
    const about = 'POST: stop accepting, tell peers to go elsewhere, be unready; without leaving';
    routes.set('/drain', { about, post: () => started(drain, 'draining') });
  }
  if (renew !== undefined) {
    const about = 'POST: put new processes in the place of the workers, one by one';
    routes.set('/workers/renew', { about, post: () => started(renew, 'renewing') });
  }
  routes.set('/', { about: 'this page', get: (_, request) => indexPage(request, routes, viewNames(deps.views)) });
  return routes;
}

function readiness(deps: AdminDependencies): Reply {
  const pending = deps.readiness.pending();
  return pending.length === 0 ? textReply(200, 'ready') : textReply(500, `not ready, pending: ${pending.join(', ')}`);
}

function dump(views: readonly View[], query: URLSearchParams): Reply {
  const name = query.get('view') ?? '';
  const view = views.find((candidate) => candidate.name === name);
  if (view === undefined)
    return textReply(404, `no view ${JSON.stringify(name)}; there are: ${viewNames(views).join(', ')}`);
  return { status: 200, contentType: view.contentType, body: view.render(query) };
}

/** `level` adds; with `reset` it replaces, and `reset` alone goes back to what was set at the start. */
function setLevels(deps: AdminDependencies, query: URLSearchParams): Reply {
  const level = query.get('level');
  if (level !== null && level !== '') deps.levels.set(level, query.has('reset'));
  else if (query.has('reset')) deps.levels.reset();
  return textReply(200, `current log level is ${deps.levels.current()}`);
}

function quit(deps: AdminDependencies): Reply {
  return started(deps.quit, 'shutdown now');
}

/** The answer first: what follows may close this very port. */
function started(what: () => void, say: string): Reply {
  setImmediate(what);
  return textReply(200, say);
}

function viewNames(views: readonly View[]): string[] {
  return views.map((view) => view.name).filter((name) => name !== '');
}
