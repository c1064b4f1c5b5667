/** A folder with many routes: Services of a waypoint, a file each, with a pod outside the mesh and HTTPRoutes of several rules' worth. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export interface RouteFolder {
  readonly directory: string;
  readonly services: number;
  readonly routesPerService: number;
  /** Where the pods' application listens. */
  readonly application: { readonly ip: string; readonly port: number };
}

export const gateway = 'shop/waypoint';
/** Of the Service that is asked while one of its routes changes. */
export const askedVip = '10.96.0.1';
export const askedPath = '/api/v3/items';

export function writeFolder(folder: RouteFolder): void {
  mkdirSync(folder.directory, { recursive: true });
  writeFileSync(path.join(folder.directory, 'mesh.yaml'), meshText);
  for (let i = 0; i < folder.services; i++) writeFileSync(fileOf(folder, i), serviceText(folder, i, 'first'));
}

/** One route of the asked Service says something else, in the file that is returned; `how`: over what is there, or as a new file in its place. */
export function changeRoute(folder: RouteFolder, version: string, how: 'write' | 'rename'): string {
  const text = serviceText(folder, 0, version);
  const file = fileOf(folder, 0);
  if (how === 'write') writeFileSync(file, text);
  else {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }
  return file;
}

function fileOf({ directory }: RouteFolder, i: number): string {
  return path.join(directory, `service-${String(i).padStart(4, '0')}.yaml`);
}

const meshText = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/use-waypoint: waypoint}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop, labels: {istio.io/waypoint-for: service}}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Pod
metadata: {name: waypoint, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: waypoint}}
spec: {serviceAccountName: waypoint}
status: {podIP: 10.244.0.15}
`;

function serviceText({ routesPerService, services, application }: RouteFolder, i: number, version: string): string {
  const documents = [
    `apiVersion: v1
kind: Service
metadata: {name: s${i}, namespace: shop}
spec:
  clusterIP: 10.${96 + (i >> 8)}.${i & 255}.1
  selector: {app: s${i}}
  ports: [{name: http, port: 80, targetPort: ${application.port}}]
`,
    `apiVersion: v1
kind: Pod
metadata: {name: p${i}, namespace: shop, labels: {app: s${i}}}
spec: {serviceAccountName: s${i}, nodeName: n1}
status: {podIP: ${i === 0 ? application.ip : `10.1.${i >> 8}.${i & 255}`}}
`,
  ];
  for (let r = 0; r < routesPerService; r++) documents.push(routeText(i, r, services, r === 3 ? version : 'same'));
  return documents.join('---\n');
}

function routeText(i: number, r: number, services: number, version: string): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: r${i}-${r}
  namespace: shop
  creationTimestamp: "2026-01-0${1 + (r % 9)}T00:00:00Z"
spec:
  parentRefs:
    - group: ""
      kind: Service
      name: s${i}
      port: 80
  rules:
    - matches:
        - path: {type: PathPrefix, value: /api/v${r}}
      filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: x-version, value: "${version}"}]}
      backendRefs:
        - {name: s${i}, port: 80, weight: 100}
        - {name: s${(i + 1) % services}, port: 80, weight: 0}
`;
}
