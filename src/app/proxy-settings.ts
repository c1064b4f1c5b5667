/** What both proxies may be told by their environment, by the same names and with the same defaults (docs/environment.md). */
import { choice, duration, integer, optionalText, port, text } from '../config/environment.ts';

export const proxyShape = {
  AMBIT_CONFIG: optionalText(),
  AMBIT_PRESET: choice(['legacy', 'modern'], 'modern'),
  NETWORK: text(''),
  TRUST_DOMAIN: text('cluster.local'),
  AMBIT_TRUST_DOMAIN_ALIASES: text(''),
  CLUSTER_DOMAIN: text('cluster.local'),
  KUBERNETES_SERVICE_HOST: optionalText(),
  CA_ADDRESS: optionalText(),
  CA_ROOT_CA: text('./var/run/secrets/istio/root-cert.pem'),
  ALT_CA_HOSTNAME: optionalText(),
  AUTH_TOKEN: optionalText(),
  SECRET_TTL: duration(86_400_000),
  AMBIT_CA_DIR: optionalText(),
  AMBIT_JOIN_TOKEN: optionalText(),
  AMBIT_STATE_DIR: optionalText(),
  RUST_LOG: text('info'),
  LOG_FORMAT: choice(['plain', 'json'], 'plain'),
  AMBIT_LISTEN_IP: optionalText(),
  AMBIT_ADMIN_PORT: port(15000),
  AMBIT_ADMIN_SOCKET: optionalText(),
  AMBIT_METRICS_PORT: port(15020),
  AMBIT_READINESS_PORT: port(15021),
  AMBIT_METRICS_MAX_LABEL_SETS: integer(10_000, 1, 1_000_000),
  AMBIT_METRICS_EXPIRY: duration(900_000),
};
