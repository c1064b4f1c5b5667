/** Names of gRPC's statuses, in the two forms that logs use. */

const camel = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];

export function grpcStatusText(status: number, form: 'CAMEL_STRING' | 'SNAKE_STRING'): string {
  const name = camel[status];
  if (name === undefined) return String(status);
  if (form === 'CAMEL_STRING') return name;
  return status === 1 ? 'CANCELLED' : name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
}
