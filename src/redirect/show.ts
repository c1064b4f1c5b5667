/**
 * A plan as the script one would write by hand, one plain command a line, each with its reason. What `apply` does differs
 * only in that it looks first, batches and can go back.
 */

import { jumpText } from './filter-applier.ts';
import { addLine } from './link-applier.ts';
import type { Plan } from './plan.ts';
import { addRoutingLine } from './routing-applier.ts';
import { type Family, ruleText } from './rule.ts';
import { addSetLine } from './set-applier.ts';
import type { Step, TableStep } from './step.ts';

/** The script; `memberSteps` are those of the pods that are captured from the start. */
export function showPlan(plan: Plan, memberSteps: readonly Step[] = []): string {
  const lines = ['#!/bin/sh', `# Ambit redirection, program ${plan.program}`, 'set -e'];
  let why = '';
  for (const step of [...plan.steps, ...memberSteps]) {
    if (step.kind === 'table') {
      lines.push('', `# ${step.family} ${step.table}: ${step.why}`, ...tableLines(step));
      why = '';
      continue;
    }
    if (step.why !== why) lines.push('', `# ${step.why}`);
    why = step.why;
    lines.push(stepLine(step));
  }
  return `${lines.join('\n')}\n`;
}

function stepLine(step: Exclude<Step, TableStep>): string {
  switch (step.kind) {
    case 'link':
    case 'device':
    case 'address':
    case 'up':
      return `ip ${addLine(step)}`;
    case 'sysctl':
      return `sysctl -w ${sysctlName(step.path)}=${step.value}`;
    case 'set':
    case 'set-member':
      return `ipset ${addSetLine(step)}`;
    case 'route':
    case 'policy-rule':
      return `ip ${step.family === 'ipv6' ? '-6 ' : ''}${addRoutingLine(step)}`;
    case 'member-rule':
      return `${iptables(step.family)} -t ${step.table} -A ${step.chain} ${ruleText(step.rule)}`;
  }
}

function tableLines(step: TableStep): string[] {
  const tool = `${iptables(step.family)} -t ${step.table}`;
  return [
    ...step.chains.map((chain) => `${tool} -N ${chain.name}`),
    ...step.jumps.map((jump) => `${tool} -I ${jump.hook} 1 ${jumpText(jump)}`),
    ...step.chains.flatMap((chain) =>
      chain.rules.flatMap((rule) => [`# ${rule.why}`, `${tool} -A ${chain.name} ${ruleText(rule)}`]),
    ),
  ];
}

/** sysctl reads dots as slashes, except in a name written with slashes. */
function sysctlName(path: string): string {
  return path.includes('.') ? path : path.replaceAll('/', '.');
}

function iptables(family: Family): string {
  return family === 'ipv4' ? 'iptables' : 'ip6tables';
}
