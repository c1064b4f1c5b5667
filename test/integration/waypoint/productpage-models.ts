/** Models of policies, as a user writes them, on the Service that stands behind the harness. */
import type { L7Model } from '../../../src/route/model.ts';
import { ambientDefault, compileText, documents } from '../../support/compile-text.ts';
import { vip } from './harness.ts';

export const productpage = documents(
  ambientDefault,
  `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`,
  `
apiVersion: v1
kind: Service
metadata: {name: productpage, namespace: default, labels: {istio.io/use-waypoint: wp}}
spec: {clusterIP: ${vip}, selector: {app: productpage}, ports: [{name: http, port: 9080}]}
`,
);

/** Throws when anything is wrong with the objects. */
export function modelOf(...objects: string[]): L7Model {
  const { l7, diagnostics } = compileText(documents(productpage, ...objects));
  const wrong = diagnostics.filter(({ code }) => code !== 'GATEWAY_NO_ENDPOINTS');
  if (wrong.length > 0) throw new Error(wrong.map(({ message }) => message).join('; '));
  return l7;
}

/** `jwtRules`: as JSON has them. */
export function requestAuthentication(jwtRules: readonly unknown[]): string {
  return `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: default}
spec: {targetRefs: [{kind: Service, group: "", name: productpage}], jwtRules: ${JSON.stringify(jwtRules)}}
`;
}

/** An AuthorizationPolicy; `spec` without its targetRefs. */
export function authorizationPolicy(name: string, spec: string): string {
  return `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: default}
spec: {targetRefs: [{kind: Service, group: "", name: productpage}], ${spec}}
`;
}
