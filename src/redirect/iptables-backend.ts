/**
 * Which iptables to use. A host has two rule sets, nft and legacy, and rules in one of them do not come before kube-proxy's
 * in the other; so ours go where the other agents' are. The evidence is kubelet's hint chains, then any rules at all.
 */
import { AmbitError } from '../base/errors.ts';
import type { Family } from './rule.ts';
import { command, commandError, isDenied, type Runner } from './runner.ts';

export type BackendKind = 'nft' | 'legacy';
export type BackendChoice = 'auto' | BackendKind;

export interface IptablesBackend {
  readonly kind: BackendKind;
  /** Infix of the tools: `iptables-nft-save`; empty on hosts that have one flavour only, as `iptables-save`. */
  readonly infix: '-nft' | '-legacy' | '';
}

export function saveProgram(backend: IptablesBackend, family: Family): string {
  return `${stem(backend, family)}-save`;
}

export function restoreProgram(backend: IptablesBackend, family: Family): string {
  return `${stem(backend, family)}-restore`;
}

function stem(backend: IptablesBackend, family: Family): string {
  return `${family === 'ipv4' ? 'iptables' : 'ip6tables'}${backend.infix}`;
}

interface Candidate {
  readonly backend: IptablesBackend;
  readonly rules: number;
  /** kubelet marks the backend it uses. */
  readonly hinted: boolean;
}

type Probe = { readonly kind: 'usable'; readonly candidate: Candidate } | { readonly kind: 'no'; readonly why: string };

/** Throws `REDIRECT_NO_IPTABLES` or `REDIRECT_NOT_PERMITTED`, with the remedy. */
export async function chooseBackend(runner: Runner, choice: BackendChoice): Promise<IptablesBackend> {
  const kinds: BackendKind[] = choice === 'auto' ? ['nft', 'legacy'] : [choice];
  const probes = await Promise.all(kinds.map((kind) => probeKind(runner, kind)));
  const usable = probes.flatMap((probe) => (probe.kind === 'usable' ? [probe.candidate] : []));
  const best =
    usable.find((candidate) => candidate.hinted) ?? usable.find((candidate) => candidate.rules > 0) ?? usable[0];
  if (best !== undefined) return best.backend;
  const reasons = probes.flatMap((probe) => (probe.kind === 'no' ? [probe.why] : []));
  throw new AmbitError(
    `no usable iptables (AMBIT_IPTABLES=${choice}):\n${reasons.map((reason) => `  ${reason}`).join('\n')}\n${remedy(choice, reasons)}`,
    { code: reasons.some(isDenied) ? 'REDIRECT_NOT_PERMITTED' : 'REDIRECT_NO_IPTABLES', origin: 'local' },
  );
}

function remedy(choice: BackendChoice, reasons: readonly string[]): string {
  if (reasons.some(isDenied)) return 'Remedy: run as root, or give the container CAP_NET_ADMIN.';
  if (reasons.every((reason) => reason.includes('not found') || reason.includes('No such file'))) {
    return 'Remedy: install iptables (`apt-get install iptables`, `apk add iptables`, `dnf install iptables-nft`).';
  }
  if (choice === 'legacy') return 'Remedy: `modprobe ip_tables` on the host, or AMBIT_IPTABLES=nft.';
  return 'Remedy: `modprobe nf_tables` (or `modprobe ip_tables` for the legacy kind) on the host.';
}

async function probeKind(runner: Runner, kind: BackendKind): Promise<Probe> {
  const infix = `-${kind}` as const;
  const named = await probeTool(runner, { kind, infix });
  if (named.kind === 'usable' || !named.missing) return named;
  const plain = await runner.run(command('iptables', ['--version']));
  const flavour = plain.stdout.includes('nf_tables') ? 'nft' : 'legacy';
  if (plain.status !== 0 || flavour !== kind) return named;
  return probeTool(runner, { kind, infix: '' });
}

async function probeTool(runner: Runner, backend: IptablesBackend): Promise<Probe & { readonly missing?: boolean }> {
  const wanted = command(saveProgram(backend, 'ipv4'), []);
  const result = await runner.run(wanted);
  if (result.status !== 0) {
    const [why = ''] = commandError(wanted, result).message.split('\n');
    return { kind: 'no', why, missing: result.status === 127 };
  }
  const lines = result.stdout.split('\n');
  return {
    kind: 'usable',
    candidate: {
      backend,
      rules: lines.filter((line) => line.startsWith('-A ')).length,
      hinted: lines.some((line) => /^:KUBE-(IPTABLES-HINT|KUBELET-CANARY) /.test(line)),
    },
  };
}
