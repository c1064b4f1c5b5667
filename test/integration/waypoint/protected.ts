/** A waypoint before a Service that TrafficProtections protect, compiled from the YAML that a user writes. */
import type { RequestListener } from 'node:http';
import type { Test } from 'tap';
import { emptyL7Model } from '../../../src/route/model.ts';
import { compileText, documents, serviceText } from '../../support/compile-text.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { type RateLimitServer, startRateLimitServer } from '../../support/rate-limit-server.ts';
import { createHarness, type Harness, type HarnessOptions } from './harness.ts';

/** Answers `hello`, with the headers it saw. */
export const hello: RequestListener = (request, response) => {
  request.resume().once('end', () => {
    response.setHeader('x-seen', JSON.stringify(request.headers));
    response.end('hello');
  });
};

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;

/** `objects`: what to compile beside the Services `productpage` and `ratelimit`. */
export async function protectedBy(t: Test, objects: string, options: Partial<HarnessOptions> = {}): Promise<Harness> {
  const harness = await createHarness(t, { pods: [hello], ...options });
  const compilation = compileText(
    documents(
      gateway,
      serviceText('productpage', '10.1.0.1', 'istio.io/use-waypoint: wp'),
      serviceText('ratelimit', '10.1.0.2'),
      objects,
    ),
  );
  const errors = compilation.diagnostics.filter(({ severity }) => severity === 'error');
  t.same(errors, []);
  harness.model = { ...emptyL7Model, protections: compilation.l7.protections };
  return harness;
}

/** One object on the Service; `spec` is without its target. */
export function onProductpage(spec: string, dryRun = false): string {
  return `
apiVersion: ambit.dev/v1alpha1
kind: TrafficProtection
metadata: {name: limits, namespace: default, annotations: {istio.io/dry-run: "${dryRun}"}}
spec: {targetRefs: [{kind: Service, group: "", name: productpage}], ${spec}}
`;
}

/** The Service `ratelimit` gets a pod, outside the mesh. */
export async function addRateLimitService(t: Test, harness: Harness): Promise<RateLimitServer> {
  const server = await startRateLimitServer(t, '127.0.0.9');
  const key = 'default/ratelimit.default.svc.cluster.local';
  harness.mesh.apply(
    makeChange({
      services: [
        makeService({ name: 'ratelimit', ports: new Map([[80, makePort(80, server.port, { appProtocol: 'grpc' })]]) }),
      ],
      workloads: [
        makeWorkload({
          name: 'ratelimit-0',
          addresses: ['127.0.0.9'],
          services: new Map([[key, new Map([[80, server.port]])]]),
          tunnelProtocol: 'none',
        }),
      ],
    }),
  );
  return server;
}
