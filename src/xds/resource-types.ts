/** The types a ztunnel subscribes to; there are no others (ztunnel.md §6.2). */
export const addressType = 'type.googleapis.com/istio.workload.Address';
export const authorizationType = 'type.googleapis.com/istio.security.Authorization';

export type ResourceType = typeof addressType | typeof authorizationType;
