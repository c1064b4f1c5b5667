/** What policies decided, as metric and as lines. */
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { LogLevels } from '../../../src/telemetry/levels.ts';
import { createLogger } from '../../../src/telemetry/log.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import type { PolicyOutcome } from '../../../src/ztunnel/authorization.ts';
import { PolicyReport } from '../../../src/ztunnel/policy-report.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { at } from './bookinfo.ts';

const subject = {
  source: at('10.244.1.4:1000'),
  destination: at('10.244.2.5:15008'),
  identity: 'spiffe://cluster.local/ns/default/sa/sleep',
};
const allowed: PolicyOutcome = {
  action: 'allow',
  cause: 'no-allow-policies',
  policy: undefined,
  rule: undefined,
  dryRun: [],
  dryRunDenial: undefined,
};
const denied: PolicyOutcome = { ...allowed, action: 'deny', cause: 'denied-by-policy', policy: 'shop/no', rule: 2 };

function setup(infoLogging = false) {
  const registry = new CellRegistry();
  const lines: string[] = [];
  const levels = new LogLevels();
  const sink = { write: (line: string) => lines.push(line.slice(28).trim()) };
  const logger = createLogger({ levels, format: 'plain', clock: new FakeClock(), sink });
  const rendered = async () => (await text(Readable.from(registry.render(false).body))).split('\n');
  return { report: new PolicyReport(registry, logger, infoLogging), registry, lines, levels, rendered };
}

t.test('decisions are counted by policy, action, reason and whether they were a trial', async (t) => {
  const { report, rendered } = setup();
  for (let i = 0; i < 3; i++) report.decided(allowed, subject);
  report.decided(denied, subject);
  const dryRunDenial = { reason: 'denied-by-policy', policy: 'shop/trial', rule: 0 } as const;
  report.decided({ ...allowed, dryRun: [{ policy: 'shop/trial', rule: 0, action: 'deny' }], dryRunDenial }, subject);
  report.decided({ ...allowed, dryRunDenial: { ...dryRunDenial, reason: 'not-allowed', policy: undefined } }, subject);
  const name = 'ambit_policy_decisions_total';
  t.strictSame(
    (await rendered()).filter((line) => line.startsWith(name)),
    [
      `${name}{policy="none",action="allow",reason="no-allow-policies",dry_run="false"} 5`,
      `${name}{policy="shop/no",action="deny",reason="denied-by-policy",dry_run="false"} 1`,
      `${name}{policy="shop/trial",action="deny",reason="matched",dry_run="true"} 1`,
      `${name}{policy="none",action="deny",reason="not-allowed",dry_run="true"} 1`,
    ],
  );
});

t.test('a policy that is removed takes its series along; when it comes back they begin anew', async (t) => {
  const { report, rendered } = setup();
  report.decided(denied, subject);
  report.removed(['shop/no', 'shop/never-seen']);
  t.notMatch(await rendered(), [/shop/]);
  report.decided(denied, subject);
  t.ok((await rendered()).some((line) => /policy="shop\/no".* 1$/.test(line)));
});

t.test('lines are at debug, or at info when that was asked for, and name policy and rule', async (t) => {
  const quiet = setup();
  quiet.report.decided(denied, subject);
  t.same(quiet.lines, []);
  quiet.levels.set('ztunnel::rbac=debug', false);
  quiet.report.decided(denied, subject);
  const who =
    'src.addr=10.244.1.4:1000 src.identity="spiffe://cluster.local/ns/default/sa/sleep" dst.addr=10.244.2.5:15008';
  t.same(quiet.lines, [`debug\tpolicy\tdenied\t${who} policy="shop/no" rule=2 reason="denied-by-policy"`]);
  const { report, lines } = setup(true);
  const dryRunDenial = { reason: 'denied-by-policy', policy: 'shop/trial', rule: 1 } as const;
  report.decided({ ...allowed, dryRun: [{ policy: 'shop/trial', rule: 1, action: 'deny' }], dryRunDenial }, subject);
  t.same(lines, [
    `info\tpolicy\tdry run: matched by DENY policy\t${who} policy="shop/trial" rule=1`,
    `info\tpolicy\tdry run: would have been denied\t${who} policy="shop/trial" rule=1 reason="denied-by-policy"`,
    `info\tpolicy\tallowed\t${who} reason="no-allow-policies"`,
  ]);
});
