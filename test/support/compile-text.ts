/** Compiling YAML as a test writes it. */

import { type Compilation, compile } from '../../src/compile/compile.ts';
import type { ConfigObject } from '../../src/compile/object.ts';
import { type CompileOptions, defaultCompileOptions } from '../../src/compile/options.ts';
import { presetByName } from '../../src/config/preset.ts';
import { readConfigFile } from '../../src/xds/config-file.ts';

export function presetOptions(name: 'legacy' | 'modern'): CompileOptions {
  const preset = presetByName(name);
  if (preset === undefined) throw new Error(`no preset ${name}`);
  return { ...defaultCompileOptions, preset };
}

/** Throws when the text is no list of Kubernetes objects. */
export function objectsOf(text: string): readonly ConfigObject[] {
  const file = readConfigFile(text, 'test.yaml', undefined);
  const [problem] = file.diagnostics;
  if (problem !== undefined) throw new Error(problem.message);
  return file.objects;
}

export function compileText(text: string, preset: 'legacy' | 'modern' = 'modern'): Compilation {
  return compile(objectsOf(text), presetOptions(preset));
}

/** `CODE line` of each diagnostic, in order of line. */
export function codesOf({ diagnostics }: Compilation): readonly string[] {
  return [...diagnostics]
    .sort((a, b) => (a.position?.line ?? 0) - (b.position?.line ?? 0))
    .map(({ code, position }) => `${code} ${position?.line ?? '-'}`);
}

/** A namespace of the mesh. */
export const ambientDefault = `
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio.io/dataplane-mode: ambient}}
`;

export function podText(
  name: string,
  ip: string,
  fields: { account?: string; labels?: string; namespace?: string } = {},
): string {
  const { account = 'default', labels = `app: ${name}`, namespace = 'default' } = fields;
  return `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: {${labels}}}
spec: {serviceAccountName: ${account}, nodeName: node-a}
status: {podIP: ${ip}}
`;
}

export function serviceText(name: string, vip: string, labels = ''): string {
  return `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: default, labels: {${labels}}}
spec: {clusterIP: ${vip}, selector: {app: ${name}}, ports: [{name: http, port: 80, targetPort: 8080}]}
`;
}

export function documents(...texts: readonly string[]): string {
  return texts.join('---');
}
