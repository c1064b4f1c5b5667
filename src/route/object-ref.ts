/** The user's object a decision came from, for reasons, logs and the effective-configuration view. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** Names the object among all kinds and namespaces: policies on routes are kept by it. */
export function objectKey({ kind, namespace, name }: ObjectRef): string {
  return `${kind}/${namespace}/${name}`;
}
