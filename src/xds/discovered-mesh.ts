/**
 * A mesh from a control plane whose rules come from a folder: holds back what was discovered until the rules have been
 * compiled with it, so that no service is served by rules that do not know it yet.
 *
 * I1: a service, or a change of one, is in the store only after the model that was compiled with it is in force.
 * I2: before the first complete state, and the first compilation with it, the store has nothing and is not complete.
 * I3: what waits is names alone, and never more of them than the mesh has records.
 */
import type { Clock, Timer } from '../base/clock.ts';
import type { ConfigObject } from '../compile/object.ts';
import type { GatewayAddress, MeshChange, Service } from '../mesh/model.ts';
import type { MeshStore } from '../mesh/store.ts';
import { DiscoveredObjects, type OwnGatewayFacts } from './discovered-objects.ts';

export interface DiscoveredMeshOptions {
  /** What the control plane says, as it says it. */
  readonly discovered: MeshStore;
  /** What is served by. */
  readonly store: MeshStore;
  readonly gateway: OwnGatewayFacts;
  readonly clusterDomain: string;
  /** Whether an object of this waypoint field is bound to this waypoint. */
  readonly isOwn: (waypoint: GatewayAddress | undefined) => boolean;
  readonly clock: Clock;
}

/** Services seldom come alone. */
const gatherMs = 100;
/** As long as compiling took, so that it takes at most half of the time however much changes; but not longer than this. */
const longestGatherMs = 1000;

export class DiscoveredMesh {
  readonly #options: DiscoveredMeshOptions;
  readonly #objects: DiscoveredObjects;
  readonly #services = new Set<string>();
  readonly #workloads = new Set<string>();
  readonly #stop: () => void;
  /** Asks for a compilation; set by whoever compiles. */
  #compile = () => {};
  #timer: Timer | undefined;
  #gatherMs = gatherMs;
  #begun = false;
  /** Compiled, and on its way into the store. */
  #settling = false;

  constructor(options: DiscoveredMeshOptions) {
    this.#options = options;
    this.#objects = new DiscoveredObjects(options.gateway, options.clusterDomain);
    this.#stop = options.discovered.onChange((change) => this.#changed(change));
  }

  /** Nothing is to be compiled before. */
  get complete(): boolean {
    return this.#options.discovered.complete;
  }

  /** Something waits for a compilation. */
  get waiting(): boolean {
    return !this.#begun || this.#services.size > 0;
  }

  get gateway(): OwnGatewayFacts {
    return this.#options.gateway;
  }

  onWaiting(compile: () => void): void {
    this.#compile = compile;
  }

  objects(): readonly ConfigObject[] {
    const { discovered, isOwn } = this.#options;
    const serves = ({ waypoint, weightedWaypoints }: Service) =>
      isOwn(waypoint) || weightedWaypoints.some(({ destination }) => isOwn(destination));
    return [...this.#objects.of(discovered.services(), serves)];
  }

  /**
   * What the store lacks, to be put into it once the model is in force; in the same turn as `objects`. `settled` is to be
   * called when all of it is in. `compiledMs`: how long compiling took.
   */
  take(compiledMs: number): MeshChange {
    const { discovered } = this.#options;
    this.#gatherMs = Math.min(Math.max(gatherMs, compiledMs), longestGatherMs);
    if (!this.#begun) {
      for (const { key } of discovered.services()) this.#services.add(key);
      for (const { uid } of discovered.workloads()) this.#workloads.add(uid);
    }
    this.#begun = true;
    this.#settling = true;
    return this.#drain();
  }

  settled(): void {
    this.#settling = false;
    this.#go();
  }

  close(): void {
    this.#stop();
    this.#timer?.cancel();
  }

  #changed({ services, workloads, removedServices, removedWorkloads }: MeshChange): void {
    if (this.#begun) {
      for (const { key } of services) this.#services.add(key);
      for (const key of removedServices) this.#services.add(key);
      for (const { uid } of workloads) this.#workloads.add(uid);
      for (const uid of removedWorkloads) this.#workloads.add(uid);
    }
    this.#go();
  }

  /** Workloads alone need no compilation: rules do not name them. */
  #go(): void {
    if (this.#settling || !this.complete) return;
    if (this.waiting) {
      this.#timer ??= this.#options.clock.after(this.#begun ? this.#gatherMs : 0, () => {
        this.#timer = undefined;
        this.#compile();
      });
    } else if (this.#workloads.size > 0) this.#options.store.apply(this.#drain());
  }

  #drain(): MeshChange {
    const { discovered } = this.#options;
    const services = [...this.#services].map((key) => discovered.service(key) ?? key);
    const workloads = [...this.#workloads].map((uid) => discovered.workload(uid) ?? uid);
    this.#services.clear();
    this.#workloads.clear();
    return {
      policies: [],
      removedPolicies: [],
      services: services.filter((each) => typeof each !== 'string'),
      workloads: workloads.filter((each) => typeof each !== 'string'),
      removedServices: services.filter((each) => typeof each === 'string'),
      removedWorkloads: workloads.filter((each) => typeof each === 'string'),
    };
  }
}
