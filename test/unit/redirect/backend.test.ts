/** Which iptables is chosen, by what the tools say. */
import { test } from 'tap';
import { chooseBackend } from '../../../src/redirect/iptables-backend.ts';
import type { CommandResult, Runner } from '../../../src/redirect/runner.ts';

const empty = '*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n';
const rules = '*nat\n:DOCKER - [0:0]\n-A DOCKER -j RETURN\nCOMMIT\n';
const kubelet = '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n';
const missing: CommandResult = { status: 127, stdout: '', stderr: 'command not found' };
const denied: CommandResult = { status: 4, stdout: '', stderr: 'Permission denied (you must be root)' };
const noModule: CommandResult = {
  status: 1,
  stdout: '',
  stderr: 'Could not fetch rule set generation id: Invalid argument',
};

function host(answers: Readonly<Record<string, string | CommandResult>>): Runner {
  return {
    async run({ program, arguments: args }) {
      const answer = answers[[program, ...args].join(' ')] ?? missing;
      return typeof answer === 'string' ? { status: 0, stdout: answer, stderr: '' } : answer;
    },
  };
}

test('the backend with kubelet’s hint wins over one with rules, rules over none, nft when both are empty', async (t) => {
  const choose = async (nft: string | CommandResult, legacy: string | CommandResult) =>
    (await chooseBackend(host({ 'iptables-nft-save': nft, 'iptables-legacy-save': legacy }), 'auto')).kind;
  t.equal(await choose(rules, kubelet), 'legacy');
  t.equal(await choose(kubelet, rules), 'nft');
  t.equal(await choose(empty, rules), 'legacy');
  t.equal(await choose(rules, rules), 'nft');
  t.equal(await choose(empty, empty), 'nft');
  t.equal(await choose(noModule, empty), 'legacy');
  t.equal(await choose(missing, rules), 'legacy');
});

test('a host with one unnamed iptables is asked for its kind', async (t) => {
  const runner = host({ 'iptables --version': 'iptables v1.8.10 (nf_tables)\n', 'iptables-save': empty });
  t.same(await chooseBackend(runner, 'auto'), { kind: 'nft', infix: '' });
  await t.rejects(chooseBackend(runner, 'legacy'), { code: 'REDIRECT_NO_IPTABLES' });
});

test('when none is usable the error names the remedy in one line', async (t) => {
  const both = (answer: CommandResult) => host({ 'iptables-nft-save': answer, 'iptables-legacy-save': answer });
  await t.rejects(chooseBackend(both(missing), 'auto'), { message: /\nRemedy: install iptables.*$/ });
  await t.rejects(chooseBackend(both(noModule), 'auto'), { message: /\nRemedy: `modprobe nf_tables`.*$/ });
  await t.rejects(chooseBackend(both(denied), 'auto'), {
    code: 'REDIRECT_NOT_PERMITTED',
    message: /\nRemedy: run as root, or give the container CAP_NET_ADMIN\.$/,
  });
});
