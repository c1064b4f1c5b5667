/** Namespace: its labels enrol pods and name waypoints for everything in it. */
import { type ConfigObject, type Parsed, perObject } from './object.ts';

export interface NamespaceSpec {
  readonly object: ConfigObject;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export const parseNamespace = perObject((object: ConfigObject): Parsed<NamespaceSpec> => {
  const { name, labels, annotations } = object.metadata;
  return { value: { object, name, labels, annotations }, diagnostics: [] };
});
