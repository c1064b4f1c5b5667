/** The user's object a decision came from, for reasons, logs and the effective-configuration view. */
export interface ObjectRef {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}
