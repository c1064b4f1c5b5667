/** Which traces are recorded: OTEL_TRACES_SAMPLER and its argument, with OpenTelemetry's names and default. */

export interface Sampler {
  /** `parentSampled` undefined: this span begins its trace. The same answer for the same trace, wherever it is asked. */
  samples(traceId: string, parentSampled: boolean | undefined): boolean;
}

export const samplerNames = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

export type SamplerName = (typeof samplerNames)[number];

/** `ratio` from 0 to 1; only for the two that go by it. */
export function createSampler(name: SamplerName, ratio: number): Sampler {
  const root = rootSampler(name.replace('parentbased_', ''), ratio);
  if (!name.startsWith('parentbased_')) return { samples: (traceId) => root(traceId) };
  return { samples: (traceId, parentSampled) => parentSampled ?? root(traceId) };
}

function rootSampler(name: string, ratio: number): (traceId: string) => boolean {
  switch (name) {
    case 'always_off':
      return () => false;
    case 'traceidratio': {
      // The last 52 bits, which are random in every kind of id and which a number holds exactly.
      const below = ratio * 2 ** 52;
      return (traceId) => Number.parseInt(traceId.slice(-13), 16) < below;
    }
    default:
      return () => true;
  }
}
