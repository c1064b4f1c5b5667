/**
 * Source ports for many connections from one address to one address and port. Each that ends holds its port for a minute
 * (TIME_WAIT) on the side that closed first; of the usual 28 000 none would be left after seconds.
 */
import { type LabNamespace, setSysctls } from '../../src/lab/namespace.ts';

/**
 * Makes 49 000 of them in a namespace, above all ports that anything of the bench listens on, each free again one second
 * after its connection's end (the peer tells old from new by timestamps). For every namespace that dials: the client's
 * and the proxies'. Ending connections by reset would spare the client all this, and the proxies the work to be measured.
 */
export async function widenSourcePorts(namespace: LabNamespace): Promise<void> {
  await setSysctls(namespace, { 'net.ipv4.ip_local_port_range': '"16384 65535"', 'net.ipv4.tcp_tw_reuse': '1' });
}
