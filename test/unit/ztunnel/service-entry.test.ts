/** A host of a ServiceEntry, from YAML to what a ztunnel does with a connection to its address. */
import t from 'tap';
import { decideOutbound } from '../../../src/ztunnel/outbound-decision.ts';
import { ambientDefault, compileText, documents, podText } from '../../support/compile-text.ts';
import { makeChange } from '../../support/mesh-records.ts';
import { at, makeBench, modernPreset } from './bookinfo.ts';

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;

function entry(labels: string): string {
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: default, labels: {${labels}}}
spec:
  hosts: [api.example.com]
  addresses: [240.240.0.9]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}]
`;
}

function decide(labels: string) {
  const yaml = documents(
    ambientDefault,
    gateway,
    podText('egress-0', '10.0.0.9', { labels: 'gateway.networking.k8s.io/gateway-name: egress' }),
    podText('client', '10.0.0.1'),
    entry(labels),
  );
  const { workloads, services } = compileText(yaml);
  const change = makeChange({ workloads: [...workloads.values()], services: [...services.values()] });
  const { outbound } = makeBench(change, modernPreset);
  const source = [...workloads.values()].find(({ name }) => name === 'client');
  return decideOutbound({ source, client: at('10.0.0.1:40000'), destination: at('240.240.0.9:80') }, outbound);
}

t.test('bound to a waypoint, its address goes there; else its name is looked up', async (t) => {
  t.match(decide('istio.io/use-waypoint: egress'), {
    kind: 'waypoint',
    request: { authority: '240.240.0.9:80', target: { peer: at('10.0.0.9:15008') } },
  });
  t.match(decide(''), { kind: /hostname|name|resolve/ });
});
