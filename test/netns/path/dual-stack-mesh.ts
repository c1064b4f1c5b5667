/** A small mesh with both families, as YAML: dual-stack pods and services, a pod and a service of IPv6 alone, a waypoint. */

export const ip = {
  sleep: { v4: '10.244.1.4', v6: 'fd00:10:244:1::4' },
  notsleep: { v4: '10.244.1.5', v6: 'fd00:10:244:1::5' },
  waypoint: { v4: '10.244.1.8', v6: 'fd00:10:244:1::8' },
  control: { v4: '10.244.1.10', v6: 'fd00:10:244:1::ffff' },
  details: { v4: '10.244.2.6', v6: 'fd00:10:244:2::6' },
  ratings: { v6: 'fd00:10:244:2::7' },
  reviews: { v4: '10.244.2.11', v6: 'fd00:10:244:2::11' },
} as const;

export const vip = {
  details: { v4: '10.96.36.10', v6: 'fd00:10:96::10' },
  reviews: { v4: '10.96.36.11', v6: 'fd00:10:96::11' },
  ratings: { v6: 'fd00:10:96::12' },
} as const;

interface PodText {
  readonly name: string;
  readonly account: string;
  readonly node: string;
  readonly ips: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

function pod({ name, account, node, ips, labels }: PodText): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', labels },
    spec: { serviceAccountName: account, nodeName: node },
    status: { phase: 'Running', podIP: ips[0], podIPs: ips.map((each) => ({ ip: each })) },
  };
}

function service(
  name: string,
  vips: readonly string[],
  selector: Readonly<Record<string, string>>,
  more = {},
): unknown {
  const { labels = {}, port = { name: 'http', port: 9080 } } = more as { labels?: object; port?: object };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', labels },
    spec: {
      clusterIP: vips[0],
      clusterIPs: vips,
      ipFamilies: vips.map((each) => (each.includes(':') ? 'IPv6' : 'IPv4')),
      ipFamilyPolicy: vips.length > 1 ? 'RequireDualStack' : 'SingleStack',
      selector,
      ports: [port],
    },
  };
}

const app = (name: string) => ({ app: name, version: 'v1' });
const both = ({ v4, v6 }: { readonly v4: string; readonly v6: string }) => [v4, v6];
const gatewayLabel = { 'gateway.networking.k8s.io/gateway-name': 'waypoint' };
const httpPath = { path: { type: 'PathPrefix', value: '/' } };

const objects = [
  {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'default', labels: { 'istio.io/dataplane-mode': 'ambient' } },
  },
  pod({ name: 'sleep', account: 'sleep', node: 'node-a', ips: both(ip.sleep), labels: app('sleep') }),
  pod({ name: 'notsleep', account: 'notsleep', node: 'node-a', ips: both(ip.notsleep), labels: app('notsleep') }),
  pod({ name: 'waypoint', account: 'waypoint', node: 'node-a', ips: both(ip.waypoint), labels: gatewayLabel }),
  pod({ name: 'details', account: 'bookinfo-details', node: 'node-b', ips: both(ip.details), labels: app('details') }),
  pod({ name: 'ratings', account: 'bookinfo-ratings', node: 'node-b', ips: [ip.ratings.v6], labels: app('ratings') }),
  pod({ name: 'reviews', account: 'bookinfo-reviews', node: 'node-b', ips: both(ip.reviews), labels: app('reviews') }),
  service('details', both(vip.details), { app: 'details' }),
  service('ratings', [vip.ratings.v6], { app: 'ratings' }),
  service('reviews', both(vip.reviews), { app: 'reviews' }, { labels: { 'istio.io/use-waypoint': 'waypoint' } }),
  // A waypoint is reached over IPv6 when that is the address it has.
  service('waypoint', ['fd00:10:96::31'], gatewayLabel, { port: { name: 'mesh', port: 15008, appProtocol: 'hbone' } }),
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'Gateway',
    metadata: { name: 'waypoint', namespace: 'default' },
    spec: { gatewayClassName: 'istio-waypoint', listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }] },
  },
  {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'reviews', namespace: 'default' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'reviews', port: 9080 }],
      rules: [
        {
          matches: [httpPath],
          filters: [
            {
              type: 'RequestHeaderModifier',
              requestHeaderModifier: { set: [{ name: 'x-waypoint', value: 'passed' }] },
            },
          ],
          backendRefs: [{ name: 'reviews', port: 9080 }],
        },
      ],
    },
  },
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'no-upper-half', namespace: 'default' },
    spec: {
      selector: { matchLabels: { app: 'ratings' } },
      action: 'DENY',
      rules: [{ from: [{ source: { ipBlocks: ['fd00:10:244:1::5/128', '10.0.0.0/8'] } }] }],
    },
  },
];

/** JSON is YAML. */
export const dualStackYaml = objects.map((object) => JSON.stringify(object)).join('\n---\n');
