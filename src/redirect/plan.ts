/**
 * From a program and its parameters to the ordered steps that make it, and those that make one pod a member.
 * Pure: nothing is read from the machine, the same parameters always give the same plan.
 */
import { AmbitError } from '../base/errors.ts';
import { hostCaptures, planHost } from './host-program.ts';
import { planInpod } from './inpod-program.ts';
import { captureMemberSteps, type MemberCapture } from './member-capture.ts';
import { nodeCaptures, planNode } from './node-program.ts';
import {
  type HostParameters,
  type Member,
  memberProblems,
  type NodeParameters,
  type ProgramName,
  type ProgramParameters,
  parameterProblems,
  refuseProblems,
} from './parameters.ts';
import type { Step } from './step.ts';
import { planZtunnel } from './ztunnel-program.ts';

export interface Plan {
  readonly program: ProgramName;
  readonly parameters: ProgramParameters;
  readonly steps: readonly Step[];
}

/** Throws `REDIRECT_BAD_PARAMETER`, with all problems, on parameters that cannot be meant. */
export function planProgram(parameters: ProgramParameters): Plan {
  refuseProblems(parameterProblems(parameters));
  return { program: parameters.program, parameters, steps: programSteps(parameters) };
}

/**
 * The effects of making one pod a member: its address is captured, traffic to it is led to ztunnel (program `node`), and
 * its device admits packets with borrowed source addresses. Throws for programs that have no members.
 */
export function planMember(parameters: ProgramParameters, member: Member): Step[] {
  if (parameters.program !== 'node' && parameters.program !== 'host') {
    throw new AmbitError(`program ${parameters.program} has no members: it redirects the whole namespace it runs in`, {
      code: 'REDIRECT_NO_MEMBERS',
      origin: 'local',
    });
  }
  refuseProblems(memberProblems(member));
  return [
    { kind: 'device', device: member.hostVeth, why: 'the node’s end of the pod’s veth' },
    {
      kind: 'sysctl',
      path: `net/ipv4/conf/${member.hostVeth}/rp_filter`,
      value: '0',
      why: 'the pod receives packets with borrowed source addresses',
    },
    ...(parameters.program === 'node' ? [inboundRoute(parameters, member)] : []),
    ...captureSteps(parameters, member),
  ];
}

function programSteps(parameters: ProgramParameters): Step[] {
  switch (parameters.program) {
    case 'node':
      return planNode(parameters);
    case 'ztunnel':
      return planZtunnel(parameters);
    case 'host':
      return planHost(parameters);
    case 'inpod':
      return planInpod(parameters);
  }
}

function inboundRoute({ constants: c, hostAddress }: NodeParameters, { ip }: Member): Step {
  return {
    kind: 'route',
    family: 'ipv4',
    table: c.node.tables.inbound,
    to: ip,
    via: c.tunnels.inbound.podAddress,
    device: c.tunnels.inbound.nodeDevice,
    source: hostAddress,
    why: 'traffic to the pod goes to ztunnel first',
  };
}

function captureSteps(parameters: NodeParameters | HostParameters, { ip, comment }: Member): Step[] {
  const program = parameters.constants[parameters.program];
  if (parameters.membership === 'rules') return captureMemberSteps(capturesOf(parameters), ip);
  return [
    {
      kind: 'set-member',
      set: program.set,
      ip,
      ...(comment === undefined ? {} : { comment }),
      why: 'the pod is captured',
    },
  ];
}

function capturesOf(parameters: NodeParameters | HostParameters): MemberCapture[] {
  return parameters.program === 'node' ? nodeCaptures(parameters) : hostCaptures(parameters);
}
