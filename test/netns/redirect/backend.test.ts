/** The rules go to the rule set where the other agents' are, and are found there again. */
import { test } from 'tap';
import { planProgram } from '../../../src/redirect/plan.ts';
import { probeMembership, probeTunnel } from '../../../src/redirect/probe.ts';
import { makeNode, withoutNamespaces } from './namespace.ts';
import { inpod } from './programs.ts';

const skip = withoutNamespaces;
const kubelet = '*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n';

test('kubelet’s hint decides, before any rules do', { skip }, async (t) => {
  const namespace = await makeNode(t);
  await namespace.run('iptables-legacy-restore --noflush', kubelet);
  await namespace.redirection.apply(planProgram(inpod));
  t.match(await namespace.run('iptables-legacy-save'), /ISTIO_PRERT/);
  t.notMatch(await namespace.run('iptables-nft-save'), /ISTIO_PRERT/);
  t.equal(await namespace.redirection.apply(planProgram(inpod)), 0);
  await namespace.redirection.remove('inpod');
  t.notMatch(await namespace.run('iptables-legacy-save'), /ISTIO_PRERT/);
});

test('rules follow when another backend is chosen', { skip }, async (t) => {
  const namespace = await makeNode(t);
  await namespace.redirectionBy(namespace.runner, 'legacy').apply(planProgram(inpod));
  await namespace.redirectionBy(namespace.runner, 'nft').apply(planProgram(inpod));
  t.match(await namespace.run('iptables-nft-save'), /ISTIO_PRERT/);
  t.notMatch(await namespace.run('iptables-legacy-save'), /ISTIO_PRERT/);
});

test('probes tell what the kernel can do and leave nothing behind', { skip }, async (t) => {
  const namespace = await makeNode(t);
  const before = await namespace.snapshot();
  t.equal(await probeMembership(namespace.runner), 'ipset');
  t.match(await probeTunnel(namespace.runner), { kind: /^(geneve|vxlan|existing)$/ });
  t.equal(await namespace.snapshot(), before);
});
