/**
 * `effective` and `effective.txt`: the effective configuration of the services of a waypoint, made and sent piece by piece.
 * `service=namespace/name` shows one service alone, whoever serves it.
 */
import type { View } from '../admin/interfaces.ts';
import { slicedText } from '../base/sliced-text.ts';
import type { Compilation } from '../compile/compile.ts';
import type { RouteStatus } from '../compile/route-status.ts';
import { statusSteps } from '../compile/route-statuses.ts';
import type { Service } from '../mesh/model.ts';
import type { WaypointServices } from './context.ts';
import {
  type EffectiveGroup,
  type EffectiveIndex,
  type EffectiveRoute,
  type EffectiveService,
  effectiveService,
} from './effective.ts';
import { serves } from './gateway.ts';

export interface EffectiveViewOptions {
  readonly services: WaypointServices;
  /** Undefined until there is a first one. */
  readonly compilation: () => Compilation | undefined;
}

export function effectiveViews(options: EffectiveViewOptions): readonly View[] {
  const { clock } = options.services;
  return [
    {
      name: 'effective',
      contentType: 'application/json',
      render: (query) => slicedText(jsonPieces(options, query), { clock }),
    },
    {
      name: 'effective.txt',
      contentType: 'text/plain; charset=utf-8',
      render: (query) => slicedText(textPieces(options, query), { clock }),
    },
  ];
}

/** Undefined: a pause. */
function* shown(
  { services, compilation }: EffectiveViewOptions,
  query: URLSearchParams,
): Generator<EffectiveService | undefined> {
  const compiled = compilation();
  if (compiled === undefined) return;
  const asked = query.get('service') ?? query.get('source');
  const index = yield* indexOf(compiled);
  for (const service of services.mesh.services()) {
    if (isShown(services, service, asked)) yield effectiveService(services, service, index);
  }
}

function* indexOf({ l7, routes, diagnostics }: Compilation): Generator<undefined, EffectiveIndex> {
  const statuses = new Map<string, RouteStatus[]>();
  for (const status of yield* statusSteps(routes)) {
    for (const { parent } of status.parents) statuses.getOrInsertComputed(parent, () => []).push(status);
  }
  yield;
  return { l7, statuses, diagnostics: Map.groupBy(diagnostics, ({ object = '' }) => object) };
}

function isShown({ mesh, own }: WaypointServices, service: Service, asked: string | null): boolean {
  if (asked !== null) return asked === service.key || asked === `${service.namespace}/${service.name}`;
  const gateway = own();
  return gateway !== undefined && serves(mesh, gateway, service);
}

function* jsonPieces(options: EffectiveViewOptions, query: URLSearchParams): Generator<string> {
  let before = '[\n';
  for (const service of shown(options, query)) {
    if (service === undefined) yield '';
    else {
      yield `${before}${JSON.stringify(service, plain, 2)}`;
      before = ',\n';
    }
  }
  yield before === '[\n' ? '[]\n' : '\n]\n';
}

/** Maps and sets as what they are in JSON. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(value);
  return value instanceof Set ? [...value] : value;
}

function* textPieces(options: EffectiveViewOptions, query: URLSearchParams): Generator<string> {
  let count = 0;
  for (const service of shown(options, query)) {
    if (service !== undefined) count++;
    yield service === undefined ? '' : `${serviceLines(service).join('\n')}\n\n`;
  }
  if (count === 0) yield 'no such service\n';
}

function serviceLines(view: EffectiveService): readonly string[] {
  const { service, addresses, served, ports, policies, tokens, destination, status, diagnostics } = view;
  return [
    `service ${service} ${addresses.join(' ')}${served ? '' : ' (not served by this waypoint)'}`,
    ...tokens.map((text) => `  tokens ${text}`),
    ...policies.map((text) => `  policy ${text}`),
    ...(destination.from.length === 0
      ? []
      : [`  destination ${destination.from.join(', ')}${subsetText(destination.subsets)}`]),
    ...ports.flatMap(({ port, name, protocol, groups }) => [
      `  port ${port} ${name} ${protocol}`,
      ...groups.flatMap((group) => groupLines(group)),
    ]),
    ...(status.length === 0 ? [] : ['  objects']),
    ...status.flatMap(({ object: { kind, namespace, name }, parents }) =>
      parents.map(({ conditions }) => `    ${kind} ${namespace}/${name}: ${conditions.map(conditionText).join('; ')}`),
    ),
    ...(diagnostics.length === 0 ? [] : ['  diagnostics']),
    ...diagnostics.map((line) => `    ${line}`),
  ];
}

function groupLines({ clientsOf, routes, connections }: EffectiveGroup): readonly string[] {
  const whose = clientsOf === undefined ? [] : [`    clients of ${clientsOf}`];
  if (routes.length === 0 && connections.length === 0) return [...whose, '    any → the service itself'];
  return [
    ...whose,
    ...routes.map((route) => `    ${routeText(route)}`),
    ...connections.map((route) => `    connection ${routeText(route)}`),
  ];
}

function routeText({ order, match, to, does, from, name, rule }: EffectiveRoute): string {
  const more = does.length === 0 ? '' : ` (${does.join(', ')})`;
  const origin = from === undefined ? name : `${from}, ${rule === undefined ? '' : `rule ${rule}, `}${name}`;
  return `${order}. ${match} → ${to}${more}  [${origin}]`;
}

function subsetText(subsets: readonly string[]): string {
  return subsets.length === 0 ? '' : ` subsets ${subsets.join(' ')}`;
}

function conditionText({
  type,
  status,
  reason,
  message,
}: {
  type: string;
  status: string;
  reason: string;
  message: string;
}) {
  return `${type}=${status} ${reason}${message === '' ? '' : ` (${message})`}`;
}
