/** `/debug/pprof/…`: ztunnel's paths and parameters (ztunnel.md §8.4), and the CPU profile in V8's own form beside them. */
import type { IncomingMessage } from 'node:http';
import { systemClock } from '../base/clock.ts';
import { type CpuOptions, type OnGone, type ProfileOutcome, Profiler } from './profiler.ts';
import { type Methods, type Reply, textReply } from './reply.ts';

export function profileRoutes(clock = systemClock): readonly (readonly [string, Methods])[] {
  const profiler = new Profiler(clock);
  const cpu = (form: CpuOptions['form']) => async (query: URLSearchParams, request: IncomingMessage) => {
    const seconds = whole(query, 'seconds', 10, 300);
    const frequency = whole(query, 'frequency', 100, 1000);
    if (typeof seconds === 'string') return textReply(400, seconds);
    if (typeof frequency === 'string') return textReply(400, frequency);
    return reply(await profiler.cpu({ seconds, frequency, form }, leaving(request)), `cpu.${form}`);
  };
  return [
    [
      '/debug/pprof/profile',
      { about: 'CPU profile for pprof: ?seconds=10 (1-300) &frequency=100 (1-1000)', get: cpu('pprof') },
    ],
    ['/debug/pprof/profile.cpuprofile', { about: 'the same for Chrome and VS Code', get: cpu('cpuprofile') }],
    [
      '/debug/pprof/heap',
      {
        about: 'heap profile for pprof, of allocations since profiling was activated, else of ?seconds=10 from now',
        get: async (query, request) => {
          const seconds = whole(query, 'seconds', 10, 300);
          if (typeof seconds === 'string') return textReply(400, seconds);
          return reply(await profiler.heap(seconds, leaving(request)), 'heap.pprof');
        },
      },
    ],
    [
      '/debug/pprof/heap/profiling',
      {
        about: 'whether allocations are sampled; POST ?activate=true or false',
        get: () => textReply(200, profiler.samplesHeap ? 'active' : 'inactive'),
        post: async (query) => {
          const activate = query.get('activate');
          if (activate === 'true') await profiler.activateHeap();
          else if (activate === 'false') await profiler.deactivateHeap();
          else return textReply(400, 'activate: true or false');
          return textReply(200, profiler.samplesHeap ? 'active' : 'inactive');
        },
      },
    ],
  ];
}

function reply(outcome: ProfileOutcome, name: string): Reply {
  switch (outcome.kind) {
    case 'busy':
      return textReply(409, 'a profile is being taken already');
    case 'gone':
      return textReply(408, 'gone');
    case 'profile':
      return {
        status: 200,
        contentType: name.endsWith('.cpuprofile') ? 'application/json' : 'application/octet-stream',
        body: outcome.bytes,
        headers: { 'content-disposition': `attachment; filename="${name}"` },
      };
  }
}

/** From 1 to `most`; a text says what is wrong. */
function whole(query: URLSearchParams, name: string, fallback: number, most: number): number | string {
  const given = query.get(name);
  if (given === null) return fallback;
  const value = /^\d{1,6}$/.test(given) ? Number(given) : 0;
  return value >= 1 && value <= most ? value : `${name}: a whole number from 1 to ${most}`;
}

function leaving(request: IncomingMessage): OnGone {
  return (callback) => request.socket.once('close', callback);
}
