/**
 * The example of docs/extensions.md: tells the application which tenant a request is of, refuses what names none, and takes
 * secrets out of JSON answers.
 */
import type { CreateExtension } from 'ambit/extension';

interface Config {
  /** Tenant by service account of the client. */
  readonly tenants: Readonly<Record<string, string>>;
  /** Names of fields whose values the client is not to see. */
  readonly secretFields: readonly string[];
}

export const createExtension: CreateExtension = (given, { log }) => {
  const { tenants, secretFields } = readConfig(given);
  log('info', `${Object.keys(tenants).length} clients have a tenant`);
  return {
    requestHeaders(_request, { client }) {
      const tenant = tenants[client.serviceAccount];
      if (tenant === undefined) return { respond: { status: 403, body: `${client.serviceAccount} has no tenant` } };
      return { headers: { set: { 'x-tenant': tenant } } };
    },

    responseHeaders(response) {
      const json = response.headers.get('content-type')?.startsWith('application/json') === true;
      return { body: json && response.hasBody ? 'hold' : 'skip' };
    },

    responseBody({ bytes }) {
      const whole: unknown = JSON.parse(Buffer.from(bytes).toString());
      return { replace: JSON.stringify(whole, (name, value: unknown) => (secretFields.includes(name) ? '…' : value)) };
    },
  };
};

/** Throws what the operator is to read. */
function readConfig(given: unknown): Config {
  const { tenants, secretFields = [] } = (given ?? {}) as Partial<Config>;
  if (typeof tenants !== 'object') throw new Error('config.tenants must say which client belongs to which tenant');
  return { tenants, secretFields };
}
