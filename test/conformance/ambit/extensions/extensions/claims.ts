/** Tells what it knows of who asks, and refuses what the application must not see. */
import type { CreateExtension } from 'ambit/extension';

export const createExtension: CreateExtension = () => ({
  requestHeaders({ path }, { client, claims, route, service, port }) {
    if (path === '/secret') return { respond: { status: 451, body: 'not for you' } };
    const subject = typeof claims?.sub === 'string' ? claims.sub : '-';
    const known = [client.namespace, client.serviceAccount, service, port, route ?? '-', subject];
    return { headers: { set: { 'x-known': known.join(' ') } } };
  },
});
