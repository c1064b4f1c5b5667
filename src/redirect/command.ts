/** `ambit redirect apply|remove|show PROGRAM`: from arguments to one of the three verbs, outcomes as text and exit status. */
import { AmbitError, errorText } from '../base/errors.ts';
import { type Logger, silentLogger } from '../base/logger.ts';
import { parseRedirectArguments, type RedirectArguments } from './arguments.ts';
import { redirectHelp } from './help.ts';
import type { Membership, Tunnel } from './parameters.ts';
import { type Plan, planMember, planProgram } from './plan.ts';
import { probeMembership, probeTunnel } from './probe.ts';
import { createRedirection, type Redirection } from './redirection.ts';
import { createRunner, type Runner } from './runner.ts';
import { showPlan } from './show.ts';
import { createFileStateStore, networkNamespaceId, type StateStore } from './state-store.ts';

export interface RedirectCommandIo {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
  readonly env: NodeJS.ProcessEnv;
  readonly logger?: Logger;
  /** Runs the commands; by default really. */
  readonly runner?: Runner;
}

/** `argv` without `ambit redirect`. Never rejects. Exit status: 0 done, 1 failed at run time, 2 bad arguments. */
export async function runRedirectCommand(argv: readonly string[], io: RedirectCommandIo): Promise<number> {
  const parsed = parseRedirectArguments(argv, io.env);
  if (parsed.kind === 'help') {
    io.stdout.write(redirectHelp);
    return 0;
  }
  if (parsed.kind === 'problems') {
    io.stderr.write(`${parsed.problems.map((problem) => `ambit redirect: ${problem}`).join('\n')}\n`);
    io.stderr.write('`ambit redirect --help` lists programs and options\n');
    return 2;
  }
  try {
    await runVerb(parsed.arguments, io);
    return 0;
  } catch (error) {
    io.stderr.write(`ambit redirect: ${errorText(error)}\n`);
    return error instanceof AmbitError && error.code === 'REDIRECT_BAD_PARAMETER' ? 2 : 1;
  }
}

async function runVerb(args: RedirectArguments, io: RedirectCommandIo): Promise<void> {
  if (args.verb === 'show') {
    const plan = planned(args, fixedTunnel(args), fixedMembership(args));
    const members = args.members.flatMap((member) => planMember(plan.parameters, member));
    io.stdout.write(showPlan(plan, members));
    return;
  }
  const { networkNamespace } = args;
  const runner = io.runner ?? createRunner(networkNamespace === undefined ? {} : { networkNamespace });
  const store = createFileStateStore(args.stateDirectory, await networkNamespaceId(networkNamespace));
  const logger = io.logger ?? silentLogger;
  const redirection = createRedirection({ runner, store, iptables: args.iptables, logger });
  const text = args.verb === 'apply' ? await apply(args, runner, redirection) : await remove(args, redirection, store);
  io.stdout.write(`${text}\n`);
}

async function apply(args: RedirectArguments, runner: Runner, redirection: Redirection): Promise<string> {
  const needsTunnel = args.program === 'node' || args.program === 'ztunnel';
  const tunnel = needsTunnel && args.tunnel === 'auto' ? await probeTunnel(runner, args.mtu) : fixedTunnel(args);
  const needsMembers = args.program === 'node' || args.program === 'host';
  const probe = needsMembers && args.membership === 'auto';
  const membership = probe ? await probeMembership(runner) : fixedMembership(args);
  const plan = planned(args, tunnel, membership);
  const changes = await redirection.apply(plan, args.members);
  return changes === 0 ? `${args.program}: nothing to change` : `${args.program}: applied, ${changes} changes`;
}

async function remove(args: RedirectArguments, redirection: Redirection, store: StateStore): Promise<string> {
  const plan = args.force ? planned(args, fixedTunnel(args), fixedMembership(args)) : undefined;
  const outcome = await redirection.remove(args.program, plan);
  if (outcome.kind === 'removed') return `${args.program}: removed, ${outcome.changes} changes`;
  return (
    `${args.program}: nothing is recorded as applied here (no ${store.location(args.program)}); ` +
    'if the record was lost, add --force and the options of the apply'
  );
}

function planned(args: RedirectArguments, tunnel: Tunnel, membership: Membership): Plan {
  if (args.parameters === undefined) throw new TypeError(`${args.verb} was let through without its options`);
  return planProgram(args.parameters(tunnel, membership));
}

/** What stands where the machine is not asked: the article's kind. */
function fixedTunnel({ tunnel, mtu }: RedirectArguments): Tunnel {
  if (tunnel === 'existing') return { kind: 'existing' };
  return { kind: tunnel === 'vxlan' ? 'vxlan' : 'geneve', mtu };
}

function fixedMembership({ membership }: RedirectArguments): Membership {
  return membership === 'rules' ? 'rules' : 'ipset';
}
