/** Devices: creates, addresses and raises what a plan lists; removes what it created and lowers what it raised. */
import { AmbitError } from '../base/errors.ts';
import type { ApplyContext } from './context.ts';
import { command, type Runner, runOrThrow } from './runner.ts';
import type { LinkStep, TunnelLink } from './step.ts';

interface Device {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: { readonly id?: number; readonly remote?: string; readonly port?: number };
  };
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[];
}

/** Number of changes made. Throws when a required device is missing or a device of that name is another one. */
export async function ensureLinks(context: ApplyContext, steps: readonly LinkStep[]): Promise<number> {
  if (steps.length === 0) return 0;
  const devices = await readDevices(context.runner);
  refuseOddDevices(devices, steps);
  const missing = steps.filter((step) => step.kind !== 'device' && !isPresent(devices.get(step.device), step));
  if (missing.length === 0) return 0;
  for (const step of missing) if (step.kind === 'up') context.saved.set(`up:${step.device}`, 'down');
  await context.persist();
  context.undo.push(() => withdrawLinks(context, missing).then(() => {}));
  await runBatch(context.runner, missing.map(addLine));
  return missing.length;
}

export async function withdrawLinks(context: ApplyContext, steps: readonly LinkStep[]): Promise<number> {
  if (steps.length === 0) return 0;
  const devices = await readDevices(context.runner);
  const made = new Set(steps.filter((step) => step.kind === 'link').map((step) => step.device));
  const lines: string[] = [];
  for (const step of steps.toReversed()) {
    const device = devices.get(step.device);
    if (device === undefined || step.kind === 'device') continue;
    if (step.kind === 'link' && isPresent(device, step)) lines.push(`link del ${step.device}`);
    if (made.has(step.device)) continue;
    if (step.kind === 'up' && context.saved.get(`up:${step.device}`) === 'down')
      lines.push(`link set ${step.device} down`);
    if (step.kind === 'address' && isPresent(device, step))
      lines.push(`address del ${step.address} dev ${step.device}`);
  }
  if (lines.length > 0) await runBatch(context.runner, lines);
  for (const step of steps) if (step.kind === 'up') context.saved.delete(`up:${step.device}`);
  return lines.length;
}

export async function presentDevices(runner: Runner): Promise<ReadonlySet<string>> {
  return new Set((await readDevices(runner)).keys());
}

/** The arguments of `ip` that make the step so. */
export function addLine(step: LinkStep): string {
  switch (step.kind) {
    case 'link':
      return `link add name ${step.device} mtu ${step.tunnel.mtu} type ${tunnelText(step.tunnel)}`;
    case 'device':
      return `link show dev ${step.device}`;
    case 'address':
      return `address add ${step.address} dev ${step.device}`;
    case 'up':
      return `link set ${step.device} up`;
  }
}

function tunnelText(tunnel: TunnelLink): string {
  return `${tunnel.kind} id ${tunnel.id} remote ${tunnel.remote} dstport ${tunnel.port}`;
}

async function readDevices(runner: Runner): Promise<Map<string, Device>> {
  const text = await runOrThrow(runner, command('ip', ['-json', '-details', 'address', 'show']));
  const devices = JSON.parse(text) as Device[];
  return new Map(devices.map((device) => [device.ifname, device]));
}

function isPresent(device: Device | undefined, step: LinkStep): boolean {
  if (device === undefined) return false;
  switch (step.kind) {
    case 'device':
      return true;
    case 'link':
      return isTunnel(device, step.tunnel);
    case 'address':
      return (device.addr_info ?? []).some(({ local, prefixlen }) => `${local}/${prefixlen}` === step.address);
    case 'up':
      return device.flags.includes('UP');
  }
}

function isTunnel({ linkinfo }: Device, tunnel: TunnelLink): boolean {
  const data = linkinfo?.info_data;
  return (
    linkinfo?.info_kind === tunnel.kind &&
    data?.id === tunnel.id &&
    data.remote === tunnel.remote &&
    data.port === tunnel.port
  );
}

function refuseOddDevices(devices: ReadonlyMap<string, Device>, steps: readonly LinkStep[]): void {
  for (const step of steps) {
    const device = devices.get(step.device);
    if (step.kind === 'device' && device === undefined) {
      throw new AmbitError(`there is no network device ${step.device} here: ${step.why}`, {
        code: 'REDIRECT_DEVICE_MISSING',
        origin: 'local',
      });
    }
    if (step.kind === 'link' && device !== undefined && !isTunnel(device, step.tunnel)) {
      throw new AmbitError(
        `a device ${step.device} exists and is not \`${tunnelText(step.tunnel)}\`: remove it, or choose another name`,
        { code: 'REDIRECT_NAME_TAKEN', origin: 'local' },
      );
    }
  }
}

async function runBatch(runner: Runner, lines: readonly string[]): Promise<void> {
  await runOrThrow(runner, command('ip', ['-batch', '-'], `${lines.join('\n')}\n`));
}
