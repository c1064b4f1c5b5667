/**
 * Puts a plan on the machine and takes it off again, pods included. I1: after a failed apply the machine is as before it;
 * I2: a second apply changes nothing and leaves the members; I3: after remove nothing of ours is left and former settings
 * are back. Calls on one object run one after the other.
 */
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { ensureSteps, type Withdrawal, withdrawSteps } from './appliers.ts';
import type { ApplyContext } from './context.ts';
import { type BackendChoice, chooseBackend } from './iptables-backend.ts';
import { presentDevices } from './link-applier.ts';
import type { Member, ProgramName } from './parameters.ts';
import { type Plan, planMember } from './plan.ts';
import type { Runner } from './runner.ts';
import type { RedirectState, StateStore } from './state-store.ts';
import { obsoleteSteps, type Step } from './step.ts';

export interface RedirectionOptions {
  readonly runner: Runner;
  readonly store: StateStore;
  readonly iptables: BackendChoice;
  readonly logger: Logger;
}

export type RemoveOutcome =
  | { readonly kind: 'removed'; readonly changes: number }
  /** No record of an apply, and no plan given to go by. */
  | { readonly kind: 'nothing-recorded' };

export interface Redirection {
  /**
   * Makes the plan so, or changes an earlier plan of the program into it; `members` are captured besides those that are
   * already. Number of changes; 0 the second time.
   */
  apply(plan: Plan, members?: readonly Member[]): Promise<number>;
  /** Undoes the program as recorded; as planned here when there is no record (no former setting is known then). */
  remove(program: ProgramName, planned?: Plan): Promise<RemoveOutcome>;
  /** Captures a pod. Only for pods that are members: never for a waypoint's. */
  addMember(program: ProgramName, member: Member): Promise<number>;
  /** Lets a pod go; no error when it was none, or when its device is gone already. */
  removeMember(program: ProgramName, ip: string): Promise<number>;
  members(program: ProgramName): Promise<readonly Member[]>;
}

export function createRedirection(options: RedirectionOptions): Redirection {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(task: () => Promise<T>): Promise<T> => {
    const turn = last.then(task);
    last = turn.catch(() => {});
    return turn;
  };
  return {
    apply: (plan, members = []) => inTurn(() => apply(options, plan, members)),
    remove: (program, planned) => inTurn(() => remove(options, program, planned)),
    addMember: (program, member) => inTurn(() => addMember(options, program, member)),
    removeMember: (program, ip) => inTurn(() => removeMember(options, program, ip)),
    members: (program) => inTurn(async () => (await options.store.load(program))?.members ?? []),
  };
}

async function apply(options: RedirectionOptions, plan: Plan, added: readonly Member[]): Promise<number> {
  const { runner, store } = options;
  const former = await store.load(plan.program);
  const devices = former === undefined ? new Set<string>() : await presentDevices(runner);
  // A pod whose device is gone is gone, whether or not somebody said so.
  const kept = (former?.members ?? []).filter((member) => devices.has(member.hostVeth));
  const members = [...kept.filter(({ ip }) => !added.some((member) => member.ip === ip)), ...added];
  const steps = members.flatMap((member) => planMember(plan.parameters, member));
  const obsolete = former === undefined ? [] : obsoleteSteps(stepsOf(former), [...plan.steps, ...steps]);
  const backend = await chooseBackend(runner, options.iptables);
  const state: RedirectState = {
    version: 1,
    program: plan.program,
    parameters: plan.parameters,
    backend: backend.kind,
    steps: plan.steps,
    members,
    leftover: [],
    saved: former?.saved ?? {},
  };
  const changes = await transact(options, former, state, obsolete, async (context) => {
    // In the other rule set ours would stay behind, unseen.
    if (former !== undefined && former.backend !== backend.kind) await leaveBackend(context, former);
    const withdrawn = await withdrawObsolete(context, obsolete, former);
    const made = await ensureSteps(context, plan.steps);
    return withdrawn + made + (await ensureSteps({ ...context, ours: true }, steps));
  });
  options.logger.info('redirection applied', { program: plan.program, backend: backend.kind, changes });
  return changes;
}

async function remove(options: RedirectionOptions, program: ProgramName, planned?: Plan): Promise<RemoveOutcome> {
  const { store } = options;
  const state = await store.load(program);
  if (state === undefined && planned === undefined) return { kind: 'nothing-recorded' };
  const context = createContext(options, state?.backend ?? options.iptables, state?.saved);
  const withdrawal = await withdrawSteps(context, state === undefined ? (planned?.steps ?? []) : stepsOf(state));
  if (withdrawal.failures.length > 0) {
    if (state !== undefined) await store.save({ ...state, saved: savedOf(context) });
    throw incompleteError(`program ${program} is only partly removed; run remove again`, withdrawal.failures);
  }
  await store.clear(program);
  options.logger.info('redirection removed', { program, changes: withdrawal.count });
  return { kind: 'removed', changes: withdrawal.count };
}

async function addMember(options: RedirectionOptions, program: ProgramName, member: Member): Promise<number> {
  const former = await loadApplied(options.store, program);
  const steps = planMember(former.parameters, member);
  const others = former.members.filter(({ ip }) => ip !== member.ip);
  const next = { ...former, members: [...others, member] };
  const obsolete = obsoleteSteps(stepsOf(former), stepsOf(next));
  const changes = await transact(options, former, next, obsolete, async (context) => {
    return (await withdrawObsolete(context, obsolete, former)) + (await ensureSteps(context, steps));
  });
  options.logger.debug('member added', { program, ip: member.ip, device: member.hostVeth, changes });
  return changes;
}

async function removeMember(options: RedirectionOptions, program: ProgramName, ip: string): Promise<number> {
  const { store } = options;
  const former = await store.load(program);
  const leaving = former?.members.filter((member) => member.ip === ip) ?? [];
  if (former === undefined || leaving.length === 0) return 0;
  const context = createContext(options, former.backend, former.saved);
  const remaining = { ...former, members: former.members.filter((member) => member.ip !== ip) };
  const withdrawal = await withdrawSteps(context, obsoleteSteps(memberSteps(former, leaving), stepsOf(remaining)));
  const gone = withdrawal.failures.length === 0;
  await store.save({ ...(gone ? remaining : former), saved: savedOf(context) });
  if (!gone) throw incompleteError(`member ${ip} is only partly removed; remove it again`, withdrawal.failures);
  options.logger.debug('member removed', { program, ip, changes: withdrawal.count });
  return withdrawal.count;
}

/**
 * Runs `work`, which withdraws `obsolete`, between two states of the record; on failure undoes what was registered and puts
 * the former record back.
 */
async function transact(
  options: RedirectionOptions,
  former: RedirectState | undefined,
  next: RedirectState,
  obsolete: readonly Step[],
  work: (context: ApplyContext) => Promise<number>,
): Promise<number> {
  const { store } = options;
  const leftover = [...next.leftover, ...obsolete];
  const context: ApplyContext = {
    ...createContext(options, next.backend, next.saved),
    ours: former !== undefined,
    persist: () => store.save({ ...next, leftover, saved: savedOf(context) }),
  };
  await context.persist();
  try {
    const changes = await work(context);
    await store.save({ ...next, saved: savedOf(context) });
    return changes;
  } catch (error) {
    const failures = await undoAll(context);
    if (failures.length > 0) {
      await context.persist();
      throw incompleteError(`${errorText(error)}\nand it could not be undone whole; run remove`, failures, error);
    }
    await (former === undefined ? store.clear(next.program) : store.save(former));
    throw error;
  }
}

async function undoAll(context: ApplyContext): Promise<unknown[]> {
  const failures: unknown[] = [];
  for (const undo of context.undo.splice(0).toReversed()) {
    try {
      await undo();
    } catch (error) {
      failures.push(error);
    }
  }
  return failures;
}

async function withdrawObsolete(
  context: ApplyContext,
  obsolete: readonly Step[],
  former: RedirectState | undefined,
): Promise<number> {
  if (former === undefined || obsolete.length === 0) return 0;
  const savedBefore = [...context.saved];
  context.undo.push(async () => {
    // All of it: with a device go its address, its routes and its settings, obsolete or not.
    await ensureSteps({ ...context, undo: [] }, stepsOf(former));
    for (const [key, value] of savedBefore) context.saved.set(key, value);
  });
  return orThrow(await withdrawSteps(context, obsolete), 'the earlier plan could not be withdrawn');
}

async function leaveBackend(context: ApplyContext, former: RedirectState): Promise<void> {
  const filters = stepsOf(former).filter((step) => step.kind === 'table' || step.kind === 'member-rule');
  const there = { ...context, backend: chosenOnce(context.runner, former.backend) };
  context.undo.push(async () => {
    await ensureSteps({ ...there, undo: [] }, filters);
  });
  orThrow(await withdrawSteps(there, filters), `rules in the ${former.backend} tables could not be withdrawn`);
}

function orThrow(withdrawal: Withdrawal, message: string): number {
  if (withdrawal.failures.length > 0) throw incompleteError(message, withdrawal.failures);
  return withdrawal.count;
}

function createContext(
  options: RedirectionOptions,
  backend: BackendChoice,
  saved: Readonly<Record<string, string>> = {},
): ApplyContext {
  return {
    runner: options.runner,
    backend: chosenOnce(options.runner, backend),
    undo: [],
    saved: new Map(Object.entries(saved)),
    persist: async () => {},
    ours: true,
  };
}

function chosenOnce(runner: Runner, choice: BackendChoice): ApplyContext['backend'] {
  let chosen: ReturnType<ApplyContext['backend']> | undefined;
  return () => {
    chosen ??= chooseBackend(runner, choice);
    return chosen;
  };
}

function savedOf(context: ApplyContext): Record<string, string> {
  return Object.fromEntries(context.saved);
}

function memberSteps(state: RedirectState, members: readonly Member[]): Step[] {
  return members.flatMap((member) => planMember(state.parameters, member));
}

function stepsOf(state: RedirectState): Step[] {
  return [...state.steps, ...memberSteps(state, state.members), ...state.leftover];
}

async function loadApplied(store: StateStore, program: ProgramName): Promise<RedirectState> {
  const state = await store.load(program);
  if (state !== undefined) return state;
  throw new AmbitError(
    `program ${program} is not applied here (no record ${store.location(program)}): apply it first`,
    {
      code: 'REDIRECT_NOT_APPLIED',
      origin: 'local',
    },
  );
}

function incompleteError(message: string, failures: readonly unknown[], cause?: unknown): AmbitError {
  return new AmbitError(`${message}:\n${failures.map(errorText).join('\n')}`, {
    code: 'REDIRECT_INCOMPLETE',
    origin: 'local',
    ...(cause === undefined ? {} : { cause }),
  });
}
