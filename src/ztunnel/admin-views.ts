/** What ztunnel shows on its admin port: the whole dump, and the article's views as JSON and as text. */
import type { View } from '../admin/interfaces.ts';
import { slicedText } from '../base/sliced-text.ts';
import type { Workload } from '../mesh/model.ts';
import { configDump, type DumpSources } from './config-dump.ts';
import type { ZtunnelServices } from './context.ts';
import { dumpCertificates } from './dump-certificates.ts';
import { buildViews, viewOptions, type ZtunnelViews } from './view.ts';
import { certificatesText, clustersText, endpointsText, listenersText } from './view-text.ts';

export interface AdminViewOptions {
  readonly services: ZtunnelServices;
  readonly dump: DumpSources;
  /** Workloads this process serves. */
  readonly locals: () => readonly Workload[];
  /** What the listeners are bound to. */
  readonly listenIp: string;
}

/** Names: the empty one is the whole dump; `listeners` is JSON, `listeners.txt` the same as text, and so on. */
export function adminViews(options: AdminViewOptions): readonly View[] {
  const { services, dump, locals, listenIp } = options;
  const build = (query: URLSearchParams) => buildViews(services, locals(), listenIp, viewOptions(query));
  const pair = (
    name: string,
    data: (views: ZtunnelViews) => unknown,
    text: (views: ZtunnelViews) => string,
  ): readonly View[] => [
    json(name, (query) => data(build(query))),
    plain(`${name}.txt`, (query) => text(build(query))),
  ];
  return [
    {
      name: '',
      contentType: 'application/json',
      render: () => slicedText(configDump(dump), { clock: services.clock }),
    },
    ...pair(
      'listeners',
      (views) => views.listeners,
      (views) => listenersText(views.listeners),
    ),
    ...pair(
      'clusters',
      (views) => views.clusters.map((cluster) => ({ ...cluster, endpoints: undefined })),
      (views) => clustersText(views.clusters),
    ),
    ...pair(
      'endpoints',
      (views) => views.clusters.map(({ name, endpoints }) => ({ cluster: name, endpoints })),
      (views) => endpointsText(views.clusters),
    ),
    json('certs', () => dumpCertificates(services.secrets)),
    plain('certs.txt', () => certificatesText(dumpCertificates(services.secrets))),
  ];
}

function json(name: string, data: (query: URLSearchParams) => unknown): View {
  return {
    name,
    contentType: 'application/json',
    render: (query) => `${JSON.stringify(data(query), mapsAsObjects, 2)}\n`,
  };
}

function plain(name: string, render: (query: URLSearchParams) => string): View {
  return { name, contentType: 'text/plain; charset=utf-8', render };
}

function mapsAsObjects(_key: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}
