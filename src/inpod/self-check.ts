/**
 * Asked once at start: whether this process may do what in-pod mode consists of, making marked sockets in other network
 * namespaces (ztunnel.md §1.3). Without it every pod would fail on its own, later, and less clearly.
 */
import { errorText } from '../base/errors.ts';
import { nativeSockets } from '../net/native-sockets.ts';

const remedy =
  'give the container the capabilities NET_ADMIN, SYS_ADMIN and NET_RAW, as deploy/ztunnel/daemonset.yaml does, and a seccomp profile that allows setns';

/** Undefined: it may. Else what the kernel refused, and what to do. `mark` undefined: sockets are not marked. */
export function inpodProblem(mark: number | undefined): string | undefined {
  const native = nativeSockets();
  let namespace: number | undefined;
  try {
    namespace = native.openNamespace('/proc/self/ns/net');
    native.closeFd(native.createSocket({ family: 4, netnsFd: namespace, mark }));
    return undefined;
  } catch (error) {
    return `sockets cannot be made in pods' network namespaces: ${errorText(error)}; ${remedy}`;
  } finally {
    if (namespace !== undefined) native.closeFd(namespace);
  }
}
