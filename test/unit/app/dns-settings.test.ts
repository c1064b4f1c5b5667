/** Settings of DNS and SOCKS5: ztunnel's names and rules. */
import t from 'tap';
import { readZtunnelCommand } from '../../../src/app/ztunnel-command.ts';

const dedicated = { PROXY_MODE: 'dedicated', PROXY_WORKLOAD_INFO: 'shop/web/web', LOCAL_XDS_PATH: '/mesh.yaml' };

function dnsOf(environment: Readonly<Record<string, string>>) {
  const command = readZtunnelCommand([], { ...dedicated, ...environment });
  if (command.kind === 'problems') return command.problems;
  return command.kind === 'run' ? command.settings.dns : command.kind;
}

t.test('DNS is on unless something other than true is said', async (t) => {
  const everywhere = { ips: ['127.0.0.1', '::1'], port: 15053 };
  t.same(dnsOf({}), everywhere);
  t.same(dnsOf({ ISTIO_META_DNS_CAPTURE: 'true' }), everywhere);
  for (const off of ['false', 'TRUE', '1', 'no']) t.same(dnsOf({ ISTIO_META_DNS_CAPTURE: off }), undefined, off);
});

t.test('DNS listens where its settings say; a place that cannot be is a problem', async (t) => {
  t.same(dnsOf({ IPV6_ENABLED: 'false' }), { ips: ['127.0.0.1'], port: 15053 });
  t.same(dnsOf({ ISTIO_META_DNS_PROXY_ADDR: '127.0.0.53:53' }), { ips: ['127.0.0.53'], port: 53 });
  t.same(dnsOf({ ISTIO_META_DNS_PROXY_ADDR: '127.0.0.53:53', AMBIT_DNS_PORT: '0' }), { ips: ['127.0.0.53'], port: 0 });
  t.match(dnsOf({ ISTIO_META_DNS_PROXY_ADDR: 'dns.example:53', AMBIT_SOCKS_PORT: 'x' }), [/AMBIT_SOCKS_PORT="x"/]);
  t.match(dnsOf({ ISTIO_META_DNS_PROXY_ADDR: 'dns.example:53' }), [/ISTIO_META_DNS_PROXY_ADDR="dns\.example:53": say/]);
});
