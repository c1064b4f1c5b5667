#!/usr/bin/env node
/**
 * The container image's entry point: one image, three programs. Istio's charts say `proxy ztunnel` and `proxy waypoint`;
 * people say `ztunnel`, `waypoint` or `ambit` followed by that program's own arguments.
 */
import process from 'node:process';

const programs: Readonly<Record<string, () => Promise<unknown>>> = {
  ztunnel: () => import('./ztunnel.ts'),
  waypoint: () => import('./waypoint.ts'),
  ambit: () => import('./ambit.ts'),
};

const [first = '', second = ''] = process.argv.slice(2);
const name = first === 'proxy' ? second : first;
const load = Object.hasOwn(programs, name) ? programs[name] : undefined;
if (load === undefined) {
  const asked = first === '--help' || first === '';
  const say = asked ? process.stdout : process.stderr;
  say.write('usage: [proxy] ztunnel|waypoint|ambit [ARG ...]\nEach program explains itself with --help.\n');
  process.exitCode = asked ? 0 : 2;
} else {
  // The program reads its arguments as if it had been started by its own name.
  process.argv.splice(2, first === 'proxy' ? 2 : 1);
  await load();
}
